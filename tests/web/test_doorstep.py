"""Connections in a crowd: idle ones, however many, keep nobody out, and those in service stay."""

import http.client
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from ichd.settings import AccountSettings, Settings
from ichd.web import doorstep
from ichd.web.access.secret import new_token
from tests.intake.certificates import Authority
from tests.web.test_exposed import serving, with_web
from tests.web.test_run_web import free_port, running, settings_for

CAP = 512
TOKEN, TOKEN_HASH = new_token()
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
STUDIES = b"GET /api/studies HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
#: A request that is in service until its last byte has come.
BODY = b"no multipart message"
UPLOAD = (
    b"POST /dicom-web/studies HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    b'Content-Type: multipart/related; type="application/dicom"; boundary=x\r\n'
    b"Content-Length: %d\r\n\r\n" % len(BODY)
)


@pytest.fixture
def crowd() -> Iterator[ExitStack]:
    """Holds connections open until the end of the test."""
    with ExitStack() as stack:
        yield stack


def connect(crowd: ExitStack, port: int, *, source: str = "127.0.0.1") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), 10, source_address=(source, 0))
    return crowd.enter_context(connection)


def is_open(connection: socket.socket) -> bool:
    """Of one that has nothing to read."""
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    finally:
        connection.settimeout(10)


def answers(connection: socket.socket, count: int) -> list[int]:
    """Status codes of the next answers."""
    codes = []
    for _ in range(count):
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        answer.read()
        codes.append(answer.status)
    return codes


def exposed(folder: Path) -> Settings:
    """Beyond loopback, with https and an account."""
    pair = Authority(folder).issue("web")
    account = AccountSettings(name="viewer", secret=TOKEN_HASH)
    settings = settings_for(folder, free_port())
    return with_web(settings, host="0.0.0.0", certificate=pair.certificate, key=pair.key, account=(account,))  # noqa: S104


def trusting_nobody() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def test_hundreds_of_silent_connections_do_not_keep_anybody_out(tmp_path: Path, crowd: ExitStack) -> None:
    with running(settings_for(tmp_path, free_port())) as address:
        port = int(address.rpartition(":")[2])
        silent = [connect(crowd, port) for _ in range(CAP + 100)]
        started = time.monotonic()
        answer = httpx.get(f"{address}/api/studies")
        took_s = time.monotonic() - started
        held = sum(map(is_open, silent))

    assert answer.status_code == 200
    # None of them had been idle for long enough to be dropped for that alone.
    assert took_s < doorstep.HEADERS_WITHIN_S / 2
    assert CAP - 10 <= held <= CAP


def test_who_is_being_answered_stays_in_a_crowd(tmp_path: Path, crowd: ExitStack) -> None:
    with running(settings_for(tmp_path, free_port())) as address:
        port = int(address.rpartition(":")[2])
        busy = connect(crowd, port)
        busy.sendall(UPLOAD + BODY[:5])
        assert httpx.get(f"{address}/healthz").status_code == 200
        for _ in range(CAP + 100):
            connect(crowd, port)
        assert httpx.get(f"{address}/healthz").status_code == 200
        busy.sendall(BODY[5:])
        assert answers(busy, 1) == [400]


def test_a_crowd_from_one_address_drops_nobody_elsewhere(tmp_path: Path, crowd: ExitStack) -> None:
    with serving(exposed(tmp_path)) as port:
        viewer = connect(crowd, port, source="127.0.0.2")
        for _ in range(CAP + 100):
            connect(crowd, port, source="127.0.0.3")
        encrypted = crowd.enter_context(trusting_nobody().wrap_socket(viewer))
        encrypted.sendall(STUDIES.replace(b"\r\n\r\n", f"\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()))
        assert answers(encrypted, 1) == [200]


def test_connections_without_a_handshake_are_counted_and_dropped(
    tmp_path: Path, crowd: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorstep, "HEADERS_WITHIN_S", 3.0)
    with serving(exposed(tmp_path)) as port:
        silent = [connect(crowd, port) for _ in range(CAP)]
        answer = httpx.get(f"https://127.0.0.1:{port}/healthz", verify=False)  # noqa: S501 - a certificate of the test
        held = sum(map(is_open, silent))
        deadline = time.monotonic() + 20
        while any(map(is_open, silent)):
            assert time.monotonic() < deadline
            time.sleep(0.1)

    assert answer.status_code == 200
    assert held <= 64


@pytest.mark.parametrize(("request_", "is_renewed"), [(HEALTH, False), (STUDIES, True)], ids=["health", "studies"])
def test_asking_for_our_health_renews_no_patience(
    tmp_path: Path, crowd: ExitStack, monkeypatch: pytest.MonkeyPatch, request_: bytes, is_renewed: bool
) -> None:
    monkeypatch.setattr(doorstep, "HEADERS_WITHIN_S", 1.5)
    with running(settings_for(tmp_path, free_port())) as address:
        connection = connect(crowd, int(address.rpartition(":")[2]))
        until = time.monotonic() + 4
        try:
            while time.monotonic() < until:
                connection.sendall(request_)
                answers(connection, 1)
                time.sleep(0.1)
            stayed = True
        except (OSError, http.client.HTTPException):
            stayed = False

    assert stayed is is_renewed


def test_a_request_that_was_sent_ahead_is_answered_however_long_it_takes(
    tmp_path: Path, crowd: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorstep, "HEADERS_WITHIN_S", 0.5)
    with running(settings_for(tmp_path, free_port())) as address:
        connection = connect(crowd, int(address.rpartition(":")[2]))
        connection.sendall(STUDIES + UPLOAD + BODY[:5])
        assert answers(connection, 1) == [200]
        time.sleep(1.5)
        connection.sendall(BODY[5:])
        assert answers(connection, 1) == [400]
