"""The units: systemd understands them, and their walls stand where they are meant to stand."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from ichd.settings import Settings
from ichd.settings.mistakes import known_variables
from tests.deploy.tools import DEPLOY, needed, run

UNITS = DEPLOY / "systemd"
PROGRAM = "/opt/ichd/bin/ichd"
#: Daemons, and what systemd-analyze may say of them at most, of 10: a unit without any wall has 9.6.
WORST_EXPOSURE = {
    "ichd.service": 1.5,
    "ichd-listen.service": 1.3,
    "ichd-web.service": 1.3,
    "ichd-worker.service": 1.5,
    "ichd-worker@1.service": 1.5,
    "ichd-run@migrate.service": 1.5,
    "ichd-backup.service": 1.3,
}
#: With the devices of an NVIDIA card.
WORST_WITH_GPU = 1.8
GPU_FOLDERS = ("ichd-worker.service.d", "ichd-worker@.service.d")
DAEMONS = ("ichd.service", "ichd-listen.service", "ichd-web.service", "ichd-worker.service", "ichd-worker@.service")


def installed(folder: Path, *, gpu: bool) -> dict[str, str]:
    """The units in a folder, with a program that exists here; returns the variables that make systemd look there."""
    systemd = folder / "systemd"
    shutil.copytree(UNITS, systemd, symlinks=True)
    if not gpu:
        for name in GPU_FOLDERS:
            shutil.rmtree(systemd / name)
    program = folder / "ichd"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for unit in systemd.glob("*.service"):
        unit.write_text(unit.read_text().replace(PROGRAM, str(program)))
    return os.environ | {"SYSTEMD_UNIT_PATH": f"{systemd}:", "SYSTEMD_LOG_LEVEL": "warning"}


def exposure(analyze: str, unit: str, variables: dict[str, str]) -> tuple[float, dict[str, bool | None]]:
    """Of one unit: the overall figure, and which walls stand, by setting."""
    text = run([analyze, "security", "--offline=true", "--json=short", unit], variables=variables)
    walls = {row["json_field"]: row["set"] for row in json.loads(text)}
    told = run([analyze, "security", "--offline=true", "--no-pager", unit], variables=variables)
    figure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told)
    assert figure is not None, told
    return float(figure[1]), walls


def options_of(unit: Path) -> dict[str, list[str]]:
    """Every option of a unit file, as often as it is there."""
    options: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            options.setdefault(key, []).append(value)
    return options


def seconds(span: str) -> float:
    units = {"s": 1, "min": 60}
    found = re.fullmatch(r"(\d+)(s|min)", span)
    assert found is not None, span
    return float(found[1]) * units[found[2]]


@pytest.mark.parametrize("gpu", [False, True], ids=["processor", "gpu"])
def test_systemd_understands_every_unit_without_a_warning(tmp_path: Path, gpu: bool) -> None:
    analyze = needed("systemd-analyze", "Debian: systemd")
    variables = installed(tmp_path, gpu=gpu)
    units = [unit.name.replace("@.", "@1.") for unit in UNITS.iterdir() if unit.is_file()]
    # A warning, as of an option it does not know, leaves the exit code at 0.
    assert run(["sh", "-c", f"{analyze} verify {' '.join(units)} 2>&1"], variables=variables) == ""


def test_a_unit_with_a_mistake_does_not_pass(tmp_path: Path) -> None:
    analyze = needed("systemd-analyze", "Debian: systemd")
    variables = installed(tmp_path, gpu=False)
    unit = tmp_path / "systemd" / "ichd-web.service"
    unit.write_text(unit.read_text().replace("[Service]", "[Service]\nProtectSistem=strict"))
    assert "ProtectSistem" in run(["sh", "-c", f"{analyze} verify ichd-web.service 2>&1"], variables=variables)


@pytest.mark.parametrize("unit", WORST_EXPOSURE)
def test_exposure_stays_below_its_bar(tmp_path: Path, unit: str) -> None:
    analyze = needed("systemd-analyze", "Debian: systemd")
    figure, walls = exposure(analyze, unit, installed(tmp_path, gpu=False))
    print(f"{unit}: exposure {figure} of 10")
    assert figure <= WORST_EXPOSURE[unit]
    assert walls["PrivateDevices"] is True


@pytest.mark.parametrize("unit", ["ichd-listen.service", "ichd-web.service", "ichd-backup.service"])
def test_what_compiles_nothing_can_not_run_what_it_wrote(tmp_path: Path, unit: str) -> None:
    analyze = needed("systemd-analyze", "Debian: systemd")
    _, walls = exposure(analyze, unit, installed(tmp_path, gpu=True))
    assert walls["MemoryDenyWriteExecute"] is True
    assert walls["SystemCallFilter_resources"] is True
    assert walls["SystemCallFilter_mount"] is True


@pytest.mark.parametrize("unit", ["ichd-worker.service", "ichd-worker@1.service"])
def test_the_gpu_file_opens_devices_and_is_not_overruled(tmp_path: Path, unit: str) -> None:
    analyze = needed("systemd-analyze", "Debian: systemd")
    figure, walls = exposure(analyze, unit, installed(tmp_path, gpu=True))
    assert walls["PrivateDevices"] is False
    assert walls["ProtectKernelModules"] is True
    assert figure <= WORST_WITH_GPU


def test_every_credential_is_a_setting() -> None:
    hardening = options_of(UNITS / "ichd-.service.d" / "10-hardening.conf")
    for line in hardening["LoadCredential"]:
        name, _, source = line.partition(":")
        assert f"ICHD_{name}" in known_variables()
        # Not a path: a credential without a file is then left out, where a path without one stops the unit.
        assert source == f"ichd.{name}"


@pytest.mark.parametrize("name", DAEMONS)
def test_daemons_report_to_systemd_and_come_back_for_ever(name: str) -> None:
    options = options_of(UNITS / name)
    assert options["Type"] == ["notify"]
    assert seconds(options["WatchdogSec"][0]) >= 30
    assert options["Restart"] == ["always"]
    assert options["StartLimitIntervalSec"] == ["0"]
    # A worker that is given less than its grace is killed over the study that it could have finished.
    if name not in {"ichd-listen.service", "ichd-web.service"}:
        assert seconds(options["TimeoutStopSec"][0]) > Settings().worker.grace_s + 5


def test_links_lead_to_files_that_are_there() -> None:
    links = [path for path in UNITS.rglob("*") if path.is_symlink()]
    assert links
    assert [path for path in links if not path.exists() or not path.resolve().is_relative_to(UNITS)] == []


def test_users_and_folders_are_understood(tmp_path: Path) -> None:
    sysusers, tmpfiles = (needed(f"systemd-{name}", "Debian: systemd") for name in ("sysusers", "tmpfiles"))
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    run([sysusers, f"--root={root}", UNITS / "sysusers.d" / "ichd.conf"])
    assert "ichd:" in (root / "etc" / "passwd").read_text()
    if os.geteuid() != 0:
        pytest.skip("folders of another user want root")
    run([tmpfiles, f"--root={root}", "--create", UNITS / "tmpfiles.d" / "ichd.conf"])
    modes = {name: (root / name).stat().st_mode & 0o777 for name in ("etc/ichd", "etc/credstore", "var/backups/ichd")}
    assert modes == {"etc/ichd": 0o750, "etc/credstore": 0o700, "var/backups/ichd": 0o700}


def test_options_come_with_a_reason() -> None:
    """Every block of options is said to be for something: no file has a block of [Service] that nobody explains."""
    for unit in [*UNITS.glob("*.service"), *UNITS.glob("*/*.conf")]:
        assert unit.read_text().startswith("# "), unit
    hardening = (UNITS / "ichd-.service.d" / "10-hardening.conf").read_text().partition("[Service]")[2]
    blocks = [block for block in hardening.strip().split("\n\n") if block.strip()]
    assert [block for block in blocks if not block.startswith("# ")] == []
