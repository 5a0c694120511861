"""TLS at the DIMSE door, with dcmtk's tools and Python's own on the other side."""

import socket
import ssl
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import UID
from structlog.testing import capture_logs

from ichd.domain.errors import UserError
from ichd.domain.reason import Reason
from ichd.intake.dimse.tls import ServerTls, TlsFiles, expiry
from tests.intake.certificates import Authority, Pair
from tests.intake.conftest import House, OpenHouse, now
from tests.intake.images import EXPLICIT, image
from tests.intake.pdus import associate_rq
from tests.intake.test_scp import dcmtk, until


def files(pair: Pair, *, client_ca: Path | None = None) -> TlsFiles:
    return TlsFiles(certificate=pair.certificate, key=pair.key, client_ca=client_ca)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def server(authority: Authority) -> Pair:
    return authority.issue("server")


@contextmanager
def tls_client(house: House, *, ca: Path, version: ssl.TLSVersion | None = None) -> Iterator[ssl.SSLSocket]:
    context = ssl.create_default_context(cafile=ca)
    if version is not None:
        # Below what OpenSSL would do by itself nowadays.
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", house.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        yield connection


def shown(house: House, ca: Path) -> int:
    """The serial number of the certificate that the door shows."""
    with tls_client(house, ca=ca) as connection:
        certificate = connection.getpeercert()
        assert certificate is not None
        return int(str(certificate["serialNumber"]), 16)


def echo(house: House, *options: str) -> int:
    return dcmtk("echoscu", "-to", "5", *options, "-aec", "ICHD", "127.0.0.1", str(house.port)).returncode


def handshakes_refused(house: House) -> int:
    return sum(refusal.reason is Reason.TLS_HANDSHAKE_FAILED for refusal in house.arrivals.refusals())


def test_dcmtk_stores_over_tls(open_house: OpenHouse, authority: Authority, server: Pair, tmp_path: Path) -> None:
    house = open_house(tls=files(server))
    paths = []
    for number in (1, 2, 3):
        ds = image(number)
        ds.ensure_file_meta()
        ds.file_meta.TransferSyntaxUID = UID(EXPLICIT)
        ds.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
        paths.append(str(tmp_path / f"{number}.dcm"))
    trusting = ("--anonymous-tls", "+cf", str(authority.ca))
    assert echo(house, *trusting) == 0
    sent = dcmtk("storescu", *trusting, "-aec", "ICHD", "127.0.0.1", str(house.port), *paths)
    assert sent.returncode == 0, sent.stderr
    assert house.count() == 3
    until(lambda: house.association().ended_at is not None)
    assert house.association().released


def test_a_client_that_does_not_trust_us_stays_away(open_house: OpenHouse, server: Pair, tmp_path: Path) -> None:
    house = open_house(tls=files(server))
    stranger = Authority(tmp_path, "stranger")
    assert echo(house, "--anonymous-tls", "+cf", str(stranger.ca)) != 0
    until(lambda: handshakes_refused(house) == 1)


def test_mutual_tls_asks_for_a_certificate_of_the_right_authority(
    open_house: OpenHouse, authority: Authority, server: Pair, tmp_path: Path
) -> None:
    house = open_house(tls=files(server, client_ca=authority.ca))
    client = authority.issue("client")
    stranger = Authority(tmp_path, "stranger").issue("mallory")
    trusting = ("+cf", str(authority.ca))
    assert echo(house, "+tls", str(client.key), str(client.certificate), *trusting) == 0
    assert handshakes_refused(house) == 0
    assert echo(house, "+tls", str(stranger.key), str(stranger.certificate), *trusting) != 0
    until(lambda: handshakes_refused(house) == 1)
    assert echo(house, "--anonymous-tls", *trusting) != 0


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_are_refused(
    open_house: OpenHouse, authority: Authority, server: Pair, version: ssl.TLSVersion
) -> None:
    house = open_house(tls=files(server))
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"), tls_client(house, ca=authority.ca, version=version):
        pass
    until(lambda: handshakes_refused(house) == 1)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_what_is_agreed_on_is_what_bcp_195_recommends(
    open_house: OpenHouse, authority: Authority, server: Pair, version: ssl.TLSVersion
) -> None:
    house = open_house(tls=files(server))
    with tls_client(house, ca=authority.ca, version=version) as connection:
        cipher = connection.cipher()
    assert cipher is not None
    assert cipher[0].startswith(("ECDHE-", "TLS_"))
    assert any(mode in cipher[0] for mode in ("GCM", "CHACHA20"))


def test_a_suite_without_forward_secrecy_is_refused(open_house: OpenHouse, authority: Authority, server: Pair) -> None:
    house = open_house(tls=files(server))
    context = ssl.create_default_context(cafile=authority.ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES256-SHA:AES128-GCM-SHA256")
    with (
        socket.create_connection(("127.0.0.1", house.port), timeout=10) as plain,
        pytest.raises(ssl.SSLError),
    ):
        context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_a_plain_sender_is_refused_quickly_and_noted(open_house: OpenHouse, server: Pair) -> None:
    house = open_house(tls=files(server))
    started = time.monotonic()
    with capture_logs() as logs, socket.create_connection(("127.0.0.1", house.port), timeout=10) as connection:
        connection.sendall(associate_rq())
        with suppress(ConnectionResetError):
            while connection.recv(4096):
                pass
        assert time.monotonic() - started < 3
        until(lambda: handshakes_refused(house) == 1)
    (record,) = [entry for entry in logs if entry["event"] == "association_rejected"]
    assert (record["reason"], record["address"]) == ("tls_handshake_failed", "127.0.0.1")


def test_silent_clients_do_not_keep_others_waiting(open_house: OpenHouse, authority: Authority, server: Pair) -> None:
    house = open_house(tls=files(server), association_timeout_s=4.0)
    silent = [socket.create_connection(("127.0.0.1", house.port), timeout=10) for _ in range(20)]
    started = time.monotonic()
    assert echo(house, "--anonymous-tls", "+cf", str(authority.ca)) == 0
    assert time.monotonic() - started < 4, "before the silent ones were dropped"
    # A record that announces more than it brings, and then nothing.
    silent[0].sendall(b"\x16\x03\x01\x02\x00\x01")
    for connection in silent:
        with connection, suppress(ConnectionResetError):
            assert connection.recv(64) == b""
    assert time.monotonic() - started < 20


def test_the_limits_of_a_pdu_hold_inside_tls(open_house: OpenHouse, authority: Authority, server: Pair) -> None:
    house = open_house(tls=files(server), network_timeout_s=0.5)
    with tls_client(house, ca=authority.ca) as connection:
        connection.sendall(struct.pack(">BBL", 1, 0, 0xFFFFFFF0))
        assert connection.recv(64)[0] == 7
    with tls_client(house, ca=authority.ca) as connection:
        connection.sendall(struct.pack(">BBL", 1, 0, 200))
        started = time.monotonic()
        with suppress(ssl.SSLEOFError):
            assert connection.recv(64) == b""
        assert time.monotonic() - started < 3


def test_a_renewed_certificate_is_shown_without_a_restart(
    open_house: OpenHouse, authority: Authority, server: Pair
) -> None:
    house = open_house(tls=files(server))
    first = shown(house, authority.ca)
    with capture_logs() as logs:
        server.key.write_text("not yet written to the end")
        until(lambda: shown(house, authority.ca) == first and _events(logs) == ["certificate_not_renewed"])
        authority.issue("server")
        until(lambda: shown(house, authority.ca) != first)
    assert _events(logs) == ["certificate_not_renewed", "certificate_renewed"]


def test_stopping_ends_tls_associations_with_an_abort(
    open_house: OpenHouse, authority: Authority, server: Pair
) -> None:
    house = open_house(tls=files(server))
    with tls_client(house, ca=authority.ca) as connection:
        connection.sendall(associate_rq())
        assert connection.recv(4096)[0] == 2
        house.listener.stop(grace_s=2.0)
        assert connection.recv(4096)[0] == 7


def test_mistakes_are_said_when_the_door_opens(authority: Authority, server: Pair, tmp_path: Path) -> None:
    other = authority.issue("other")
    encrypted = authority.issue("encrypted", passphrase=b"open sesame")
    expired = authority.issue("expired", from_days=-10, to_days=-1)
    early = authority.issue("early", from_days=2)
    (noise := tmp_path / "noise.pem").write_bytes(b"\x30\x82\x01\x0a\xff")
    gone = tmp_path / "gone.pem"
    crt, key = server.certificate, server.key
    for found, words in (
        (TlsFiles(certificate=gone, key=key), "certificate: .*gone.pem can't be read"),
        (TlsFiles(certificate=noise, key=key), "certificate: .*noise.pem holds no certificate"),
        (TlsFiles(certificate=crt, key=gone), "key: .*gone.pem can't be read"),
        (TlsFiles(certificate=crt, key=noise), "key: .*noise.pem holds no private key"),
        (TlsFiles(certificate=crt, key=other.key), "other.key is not the key of .*server.crt"),
        (files(encrypted), "encrypted.key is encrypted; store it without"),
        (files(expired), r"expired.crt expired on \d{4}-\d\d-\d\d; renew it"),
        (files(early), "early.crt is valid from"),
        (TlsFiles(certificate=crt, key=key, client_ca=gone), "client_ca: .*gone.pem can't be read"),
        (TlsFiles(certificate=crt, key=key, client_ca=noise), "client_ca: .*noise.pem holds no certificates"),
    ):
        with pytest.raises(UserError, match=words):
            ServerTls(found, now)


def test_an_expired_certificate_is_shown_on_and_complained_of(
    authority: Authority, server: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ichd.intake.dimse.tls._LOOK_EVERY_S", 0.0)
    clock = [datetime.now(UTC)]
    tls = ServerTls(files(server), lambda: clock[0])
    with capture_logs() as logs:
        context = tls.context()
        assert logs == []
        clock[0] = expiry(files(server), clock[0]) + timedelta(minutes=1)
        assert tls.context() is tls.context() is context
        assert _events(logs) == ["certificate_expired"]
        clock[0] += timedelta(hours=2)
        tls.context()
        authority.issue("server", to_days=60)
        assert tls.context() is not context
    assert _events(logs) == ["certificate_expired", "certificate_expired", "certificate_renewed"]


def _events(logs: Sequence[Mapping[str, Any]]) -> list[str]:
    return [entry["event"] for entry in logs if entry["event"].startswith("certificate_")]
