"""What doctor makes of a listener that does not know us."""

import ssl
from itertools import islice
from pathlib import Path

import pytest

from ichd.app.doctor import Check, examine
from ichd.settings import load_settings
from tests.intake.archiving import running_archive
from tests.intake.certificates import Authority, Pair
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


@pytest.mark.parametrize(
    ("days", "ok", "words"), [(40, True, "39 days left"), (5, True, "renew it soon"), (-0.5, False, "expired on")]
)
def test_the_certificate_of_the_door_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: float, ok: bool, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    pair = Authority(tmp_path).issue("door", to_days=days)
    (tmp_path / "ichd.toml").write_text(
        f'[dicom]\nport = {free_port()}\ntls = {{certificate = "{pair.certificate}", key = "{pair.key}"}}\n'
    )
    listener, certificate = _first(2, tmp_path)
    assert (certificate.name, certificate.ok) == ("certificate", ok)
    assert words in certificate.detail
    assert not listener.ok
    assert "ichd serve" in listener.detail


@pytest.mark.parametrize("demands", [False, True])
def test_the_listener_shows_the_certificate_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, demands: bool
) -> None:
    """Also one that would have us show ours; a renewed file that it does not use is told from the one that it does."""
    monkeypatch.chdir(tmp_path)
    authority = Authority(tmp_path)
    door, renewed = authority.issue("door"), authority.issue("renewed")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.ca)
    context.load_cert_chain(door.certificate, door.key)
    if demands:
        context.verify_mode = ssl.CERT_REQUIRED
    with running_archive([], tls=context) as listener:
        same, other = (_listener_check(tmp_path, listener.port, pair) for pair in (door, renewed))
    assert same.ok
    assert str(door.certificate) in same.detail
    assert not other.ok
    assert "another certificate" in other.detail


def test_who_speaks_no_tls_is_not_our_listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pair = Authority(tmp_path).issue("door")
    with running_archive([]) as plain:
        check = _listener_check(tmp_path, plain.port, pair)
    assert not check.ok
    assert "speaks no TLS" in check.detail


def _listener_check(folder: Path, port: int, pair: Pair) -> Check:
    (folder / "ichd.toml").write_text(
        f'[dicom]\nport = {port}\ntls = {{certificate = "{pair.certificate}", key = "{pair.key}"}}\n'
    )
    return _first(1, folder)[0]


def test_the_door_of_the_web_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pair = Authority(tmp_path).issue("web", from_days=-3, to_days=-1)
    (tmp_path / "ichd.toml").write_text(
        f'[web]\ncertificate = "{pair.certificate}"\nkey = "{pair.key}"\n'
        '[[web.account]]\nname = "viewer"\nsecret = "a password as it is"\n'
    )

    checks = {check.name: check for check in _first(3, tmp_path)}

    assert not checks["web certificate"].ok
    assert "web.certificate" in checks["web certificate"].detail
    assert not checks["web accounts"].ok
    assert "ichd secret" in checks["web accounts"].detail
    assert "as it is" not in checks["web accounts"].detail


def _first(number: int, folder: Path) -> list[Check]:
    return list(islice(examine(load_settings(folder / "ichd.toml")), number))
