"""`ichd serve` ends by itself, with a sentence, when only a person can mend what is wrong."""

import socket
from pathlib import Path

import pytest

from tests.cli.test_main import ichd
from tests.peers.ports import free_port


def settings(folder: Path, extra: str = "", **ports: int) -> Path:
    path = folder / "ichd.toml"
    path.write_text(
        f"[web]\nport = {ports.get('web') or free_port()}\n[dicom]\nport = {ports.get('dicom') or free_port()}\n{extra}"
    )
    return path


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ('allowed_peers = [{address = "10.1.2"}]\n', "dicom.allowed_peers.0.address: is no IP address"),
        ('[model]\nbundle = "absent"\n', "'absent' is neither a shipped model"),
        ('[model]\ndevice = "gpu"\n', "model.device"),
        ("[study]\nmax_slices = 1001\n", "study.max_slices"),
    ],
)
def test_nothing_starts_on_settings_that_can_not_work(tmp_path: Path, extra: str, sentence: str) -> None:
    done = ichd("serve", "--config", str(settings(tmp_path, extra)), cwd=tmp_path)

    assert done.returncode == 2
    assert sentence in done.stderr
    assert "role_started" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_stays_taken_stops_everything(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        done = ichd("serve", "--config", str(settings(tmp_path, dicom=port)), cwd=tmp_path)

    assert done.returncode == 2
    assert str(port) in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ichd: listen can't run")
    assert '"role_stopped"' in done.stderr
