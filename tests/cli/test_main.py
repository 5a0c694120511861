"""The command line itself: options anywhere, errors as one sentence, exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ichd.cli.main import hoist


def ichd(*arguments: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), **(env or {})}
    return subprocess.run(
        [sys.executable, "-m", "ichd", *arguments],
        check=False,
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("given", "ordered"),
    [
        (["status", "--config", "a.toml"], ["--config", "a.toml", "status"]),
        (["status", "--config=a.toml", "--json"], ["--config=a.toml", "status", "--json"]),
        (["predict", "x", "--debug"], ["--debug", "predict", "x"]),
        (["predict", "--", "--debug"], ["predict", "--", "--debug"]),
        (["status", "--config"], ["--config", "status"]),
        ([], []),
    ],
)
def test_global_options_may_stand_anywhere(given: list[str], ordered: list[str]) -> None:
    assert hoist(given) == ordered


def test_help_names_every_command(tmp_path: Path) -> None:
    done = ichd("--help", cwd=tmp_path)
    assert done.returncode == 0
    daemon = ("serve", "listen", "worker", "web", "migrate", "status", "retry", "reprocess")
    tools = ("predict", "send", "phantom", "report", "demo", "doctor", "train", "model")
    for command in daemon + tools:
        assert command in done.stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "sentence"),
    [
        (("status", "--config", "absent.toml"), 2, "absent.toml is not there"),
        (("predict", "absent"), 2, "absent does not exist"),
        (("report", "absent.dcm"), 2, "absent.dcm does not exist"),
        (("send", ".", "--to", "nowhere"), 2, "AET@HOST:PORT"),
        (("phantom", "out", "--bleed", "nosebleed"), 2, "subdural"),
        (("status",), 2, "ichd migrate"),
        (("model", "verify", "absent"), 2, "absent"),
        (("nonsense",), 2, "nonsense"),
    ],
)
def test_a_mistake_is_one_sentence_with_the_mend(
    tmp_path: Path, arguments: tuple[str, ...], exit_code: int, sentence: str
) -> None:
    done = ichd(*arguments, cwd=tmp_path)
    assert done.returncode == exit_code
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = ichd("predict", "absent", "--debug", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_an_unknown_setting_is_an_error_of_every_command(tmp_path: Path) -> None:
    done = ichd("status", cwd=tmp_path, env={"ICHD_DICOM__PROT": "1"})
    assert done.returncode == 2
    assert "ICHD_DICOM__PORT" in done.stderr


def test_migrate_then_an_empty_status(tmp_path: Path) -> None:
    assert ichd("migrate", cwd=tmp_path).returncode == 0
    assert (tmp_path / "var/ichd.db").exists()
    done = ichd("status", "--json", cwd=tmp_path)
    assert done.returncode == 0
    assert json.loads(done.stdout)["studies"] == []
