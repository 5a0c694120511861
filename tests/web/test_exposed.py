"""The web role beyond loopback: https, connections that say nothing, answers that break off."""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from ichd.app.web import run_web
from ichd.domain.errors import UserError
from ichd.settings import AccountSettings, Settings, SpoolSettings, WebSettings
from ichd.web import doorstep
from tests.intake.certificates import Authority
from tests.web.archive import NAMESPACE, Archive, slices
from tests.web.test_run_web import free_port, running, settings_for


def with_web(settings: Settings, **web: object) -> Settings:
    return settings.model_copy(update={"web": WebSettings(port=settings.web.port, **web)})


@contextmanager
def serving(settings: Settings) -> Iterator[int]:
    """The role, whatever it speaks."""
    stop = threading.Event()
    thread = threading.Thread(target=run_web, args=(settings, stop))
    thread.start()
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", settings.web.port), 1).close()
                break
            except ConnectionError:
                assert thread.is_alive()
                assert time.monotonic() < deadline
                time.sleep(0.02)
        yield settings.web.port
    finally:
        stop.set()
        thread.join(10)


def shown_certificate(port: int, trusted: ssl.SSLContext) -> bytes | None:
    with (
        socket.create_connection(("127.0.0.1", port), 5) as plain,
        trusted.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        return connection.getpeercert(binary_form=True)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")  # it is offered to be refused
def test_https_with_a_certificate_that_is_renewed_without_a_restart(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("web")
    settings = with_web(settings_for(tmp_path, free_port()), certificate=pair.certificate, key=pair.key)
    trusted = ssl.create_default_context(cafile=authority.ca)

    with serving(settings) as port:
        answer = httpx.get(f"https://localhost:{port}/dicom-web/studies", verify=trusted)
        first = shown_certificate(port, trusted)
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://localhost:{port}/healthz")
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version, old.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, ssl.TLSVersion.TLSv1_1
        with pytest.raises(ssl.SSLError):
            shown_certificate(port, old)
        authority.issue("web")
        deadline = time.monotonic() + 20
        while shown_certificate(port, trusted) == first:
            assert time.monotonic() < deadline
            time.sleep(0.1)

    assert (answer.status_code, answer.json()) == (200, [])


def test_an_expired_certificate_is_said_before_the_role_starts(tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("web", from_days=-3, to_days=-1)
    settings = with_web(settings_for(tmp_path, free_port()), certificate=pair.certificate, key=pair.key)

    with pytest.raises(UserError, match=r"web\.certificate.* expired"):
        run_web(settings, threading.Event())


def test_a_secret_that_is_no_hash_is_said_before_the_role_starts(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, free_port())
    settings = with_web(settings, account=(AccountSettings(name="viewer", secret="plain"),))  # noqa: S106

    with pytest.raises(UserError, match="ichd secret"):
        run_web(settings, threading.Event())


@pytest.mark.parametrize("said", [b"", b"GET / HT", b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /heal"])
def test_a_connection_that_asks_for_nothing_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(doorstep, "HEADERS_WITHIN_S", 0.5)
    with running(settings_for(tmp_path, free_port())) as address:
        with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))) as silent:
            silent.sendall(said)
            silent.settimeout(10)
            received = b""
            # The end of the connection; without it the test ends by the timeout above.
            while chunk := silent.recv(4096):
                received += chunk
        assert httpx.get(f"{address}/healthz").status_code == 200

    assert (b"200 OK" in received) is (b"\r\n\r\n" in said)


def test_an_answer_with_a_damaged_file_breaks_off(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, free_port())
    archive = Archive(tmp_path)
    facts = [archive.file(content) for content in slices()]
    path = archive.path_of(facts[2])
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)

    with running(settings.model_copy(update={"spool": SpoolSettings(url=str(tmp_path / "spool"))})) as address:
        connection = http.client.HTTPConnection("127.0.0.1", settings.web.port)
        connection.request("GET", f"{NAMESPACE}/studies/{facts[0].study_instance_uid}")
        answer = connection.getresponse()
        with pytest.raises(http.client.IncompleteRead) as cut:
            answer.read()
        assert httpx.get(f"{address}/healthz").status_code == 200

    assert bytes(slices()[1]) in cut.value.partial
    assert bytes(content[-100:]) not in cut.value.partial
