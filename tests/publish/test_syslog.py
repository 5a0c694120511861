"""Syslog frames, and what counts as handed on."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ichd.domain.errors import Transient
from ichd.domain.reason import Reason
from ichd.publish.syslog import Collector, greet, send, syslog_message
from tests.intake.certificates import Authority
from tests.peers.ports import free_port
from tests.publish.collectors import running_collector, running_datagram_collector

AT = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
#: Longer than any buffer on the way.
MANY = [b"%06d " % number + b"x" * 1000 for number in range(5000)]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def server_context(authority: Authority, *, client_ca: Path | None = None) -> ssl.SSLContext:
    pair = authority.issue("collector")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def tcp(port: int, timeout_s: float = 5.0) -> Collector:
    return Collector(host="127.0.0.1", port=port, transport="tcp", timeout_s=timeout_s)


def test_a_message_has_the_header_of_rfc_5424() -> None:
    message = syslog_message("<A n='ü'/>".encode(), at=AT, host="ct-reader")
    assert message == (
        b"<85>1 2026-03-01T12:00:00.123456Z ct-reader ichd - DICOM+RFC3881 - \xef\xbb\xbf" + "<A n='ü'/>".encode()
    )


@pytest.mark.parametrize(("host", "named"), [("", b"-"), ("a b\u00fc\n", b"ab"), ("n" * 300, b"n" * 255)])
def test_a_host_name_that_the_header_has_no_room_for(host: str, named: bytes) -> None:
    assert syslog_message(b"", at=AT, host=host).split(b" ")[2] == named


def test_over_tls_all_arrive_in_order(authority: Authority) -> None:
    with running_collector(context=server_context(authority)) as taken:
        send(replace(tcp(taken.port), transport="tls", ca=authority.ca), MANY)
        assert taken.messages == MANY
    assert taken.connections == 1


def test_over_tcp_all_arrive_in_order() -> None:
    with running_collector() as taken:
        send(tcp(taken.port), MANY)
        assert taken.messages == MANY


def test_over_udp_each_message_is_a_datagram() -> None:
    with running_datagram_collector() as (port, datagrams):
        send(replace(tcp(port), transport="udp"), MANY[:3])
        assert [datagrams.recv(65536) for _ in range(3)] == MANY[:3]


def test_a_collector_may_want_to_know_who_we_are(authority: Authority) -> None:
    ours = authority.issue("ichd")
    with running_collector(context=server_context(authority, client_ca=authority.ca)) as taken:
        collector = replace(tcp(taken.port), transport="tls", ca=authority.ca)
        send(replace(collector, certificate=ours.certificate, key=ours.key), MANY[:2])
        assert taken.messages == MANY[:2]
        # TLS 1.3 lets a client write before the server has looked at its certificate.
        with pytest.raises(Transient) as caught:
            send(collector, MANY[2:4])
        assert caught.value.reason is Reason.COLLECTOR_LOST
        assert taken.messages == MANY[:2]


def test_a_collector_that_we_do_not_trust_gets_nothing(authority: Authority, tmp_path: Path) -> None:
    with running_collector(context=server_context(Authority(tmp_path, "stranger"))) as taken:
        with pytest.raises(Transient, match=r"self-signed|issuer") as caught:
            send(replace(tcp(taken.port), transport="tls", ca=authority.ca), MANY[:2])
        assert caught.value.reason is Reason.COLLECTOR_UNREACHABLE
        assert taken.messages == []


@pytest.mark.parametrize(
    ("wrong", "setting"),
    [({"ca": Path("absent.pem")}, "audit.ca"), ({"certificate": Path("absent.pem")}, "audit.certificate")],
)
def test_a_file_that_can_not_be_used_is_named(wrong: dict[str, Path], setting: str, authority: Authority) -> None:
    with (
        running_collector(context=server_context(authority)) as taken,
        pytest.raises(Transient, match=f"{setting} absent.pem.*No such file"),
    ):
        greet(replace(tcp(taken.port), transport="tls", **({"ca": authority.ca} | wrong)))  # type: ignore[arg-type]


def test_nobody_listens() -> None:
    with pytest.raises(Transient, match="refused") as caught:
        greet(tcp(free_port()))
    assert caught.value.reason is Reason.COLLECTOR_UNREACHABLE


def test_a_collector_that_breaks_off_has_not_taken_them() -> None:
    with running_collector() as taken:
        taken.break_after = 2
        with pytest.raises(Transient) as caught:
            send(tcp(taken.port), MANY[:5])
        assert caught.value.reason is Reason.COLLECTOR_LOST


@contextmanager
def strange_collector(*, close_at_once: bool, buffer: int | None = None) -> Iterator[int]:
    """One that hangs up before it has read anything, or one that never reads nor hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        if buffer is not None:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        done = threading.Event()

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                if not close_at_once:
                    done.wait(20)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            done.set()
            thread.join(20)


def test_a_collector_that_hangs_up_unread_has_not_taken_them() -> None:
    with strange_collector(close_at_once=True) as port, pytest.raises(Transient) as caught:
        send(tcp(port), MANY)
    assert caught.value.reason is Reason.COLLECTOR_LOST


def test_a_collector_that_stops_reading_does_not_hold_us() -> None:
    with strange_collector(close_at_once=False) as port, pytest.raises(Transient, match="timed out"):
        send(tcp(port, timeout_s=0.3), MANY)


def test_what_still_waits_on_our_side_was_not_taken() -> None:
    """A write succeeds as soon as our own machine has taken it."""
    with (
        strange_collector(close_at_once=False, buffer=2048) as port,
        socket.create_connection(("127.0.0.1", port)) as ours,
    ):
        assert ours.send(b"x" * 20_000) == 20_000
    with strange_collector(close_at_once=False, buffer=2048) as port:
        with pytest.raises(Transient, match="timed out") as caught:
            send(tcp(port, timeout_s=0.3), MANY[:20])
        assert caught.value.reason is Reason.COLLECTOR_LOST


def test_a_collector_that_never_says_goodbye_has_what_its_machine_acknowledged() -> None:
    with strange_collector(close_at_once=False) as port:
        send(tcp(port, timeout_s=0.3), MANY[:2])
