"""What doctor makes of a listener that does not know us."""

from pathlib import Path

import pytest

from ichd.app.doctor import examine
from ichd.settings import load_settings
from tests.peers.ports import free_port
from tests.peers.storescp import running_receiver


def test_a_listener_that_rejects_us_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with running_receiver(tmp_path / "r", require_calling_ae_titles=["SCANNER"]) as listener:
        (tmp_path / "ichd.toml").write_text(f"[dicom]\nport = {listener.port}\n")
        check = next(examine(load_settings(tmp_path / "ichd.toml")))
    assert check.ok
    assert "allowed_peers" in check.detail


def test_no_listener_is_not_ok_and_names_the_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ichd.toml").write_text(f"[dicom]\nport = {free_port()}\n")
    check = next(examine(load_settings(tmp_path / "ichd.toml")))
    assert not check.ok
    assert "ichd serve" in check.detail
