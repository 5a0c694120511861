"""Signed results to a webhook, by a real HTTP server on loopback."""

import socket
import ssl
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichd.domain.delivery import ObjectKind, Outgoing, Parcel
from ichd.domain.errors import CodedError, Permanent, Transient
from ichd.domain.reason import Reason
from ichd.publish.web import WebPeer
from ichd.publish.webhook import Webhook, sign, verify
from ichd.tls import ClientTls
from tests.intake.certificates import Authority
from tests.peers.ports import free_port
from tests.peers.web import Reply, in_turn, running_web_server
from tests.report.findings import CREATED_AT, STUDY_UID

SECRET = "a secret of both sides"  # noqa: S105  a test's
BODY = '{"study_uid": "2.25.11111", "triage": "urgent", "word": "Blutung ü"}'.encode()
DELIVERY = "0190-delivery"


@pytest.fixture
def parcel(tmp_path: Path) -> Parcel:
    path = tmp_path / "body.json"
    path.write_bytes(BODY)

    def fetch(kinds: Sequence[ObjectKind]) -> Sequence[Outgoing]:
        return [Outgoing(kind=kind, sop_class_uid="", sop_instance_uid=DELIVERY, path=path) for kind in kinds]

    return Parcel(study_instance_uid=STUDY_UID, wanted=(ObjectKind.JSON,), fetch=fetch)


def webhook(url: str, **options: object) -> Webhook:
    return Webhook(peer=WebPeer(name="hook", url=url, **options), secret=SECRET)  # type: ignore[arg-type]


def outcome(way: Webhook, parcel: Parcel) -> CodedError:
    with pytest.raises(CodedError) as caught:
        way.deliver(parcel, now=CREATED_AT)
    assert "hook (http" in caught.value.detail
    assert "T0KEN" not in caught.value.detail, "what stands in a URL may be a secret"
    return caught.value


def test_the_body_arrives_as_it_lies_with_what_proves_it(parcel: Parcel) -> None:
    with running_web_server(lambda _: Reply(status=201)) as server:
        receipt = webhook(f"{server.url}/in?key=T0KEN").deliver(parcel, now=CREATED_AT)
    (request,) = server.requests
    assert (request.method, request.path, request.body) == ("POST", "/in?key=T0KEN", BODY)
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-ichd-delivery"] == DELIVERY
    assert request.headers["x-ichd-timestamp"] == str(int(CREATED_AT.timestamp()))
    assert verify(
        request.body,
        timestamp=request.headers["x-ichd-timestamp"],
        signature=request.headers["x-ichd-signature"],
        secret=SECRET,
        now=CREATED_AT,
    )
    assert (receipt.sop_instance_uids, receipt.status, receipt.sop_class_uid) == ((DELIVERY,), "201", "")
    assert receipt.address == "127.0.0.1"


def test_one_that_fails_three_times_gets_the_same_delivery_a_fourth(parcel: Parcel) -> None:
    """The queue tries again; this is what each attempt is."""
    with running_web_server(in_turn([Reply(status=500), Reply(status=429), Reply(status=503), Reply()])) as server:
        way = webhook(server.url)
        for _ in range(3):
            raised = outcome(way, parcel)
            assert (type(raised), raised.reason) == (Transient, Reason.PEER_BUSY)
        receipt = way.deliver(parcel, now=CREATED_AT)
    assert receipt.status == "200"
    assert {request.body for request in server.requests} == {BODY}
    assert {request.headers["x-ichd-delivery"] for request in server.requests} == {DELIVERY}
    assert len(server.requests) == 4, "nothing below the queue tries again"


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (408, Transient, Reason.PEER_BUSY),
        (425, Transient, Reason.PEER_BUSY),
        (429, Transient, Reason.PEER_BUSY),
        (500, Transient, Reason.PEER_BUSY),
        (502, Transient, Reason.PEER_BUSY),
        (599, Transient, Reason.PEER_BUSY),
        (401, Transient, Reason.PEER_DENIED),
        (403, Transient, Reason.PEER_DENIED),
        (400, Permanent, Reason.PEER_REFUSED),
        (404, Permanent, Reason.PEER_REFUSED),
        (410, Permanent, Reason.PEER_REFUSED),
        (413, Permanent, Reason.PEER_REFUSED),
    ],
)
def test_every_status_has_its_class(parcel: Parcel, status: int, error: type[CodedError], reason: Reason) -> None:
    with running_web_server(lambda _: Reply(status=status, body=b"DOE^JANE is unknown")) as server:
        raised = outcome(webhook(server.url), parcel)
    assert (type(raised), raised.reason) == (error, reason)
    assert str(status) in raised.detail
    assert "DOE" not in raised.detail


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirection_is_not_followed(parcel: Parcel, status: int) -> None:
    with running_web_server(lambda _: Reply()) as elsewhere:
        redirect = Reply(status=status, headers={"Location": f"{elsewhere.url}/there"})
        with running_web_server(lambda _: redirect) as server:
            raised = outcome(webhook(server.url, token="T0KEN"), parcel)  # noqa: S106  a test's
    assert (type(raised), raised.reason) == (Permanent, Reason.PEER_REFUSED)
    assert "set url to where it leads" in raised.detail
    assert elsewhere.requests == []


def test_it_is_let_in_by_token_or_by_account(parcel: Parcel) -> None:
    with running_web_server(lambda _: Reply()) as server:
        webhook(server.url, token="T0KEN").deliver(parcel, now=CREATED_AT)  # noqa: S106  a test's
        webhook(server.url, account="a", password="b").deliver(parcel, now=CREATED_AT)  # noqa: S106  a test's
    assert [request.headers["authorization"] for request in server.requests] == ["Bearer T0KEN", "Basic YTpi"]
    assert "T0KEN" not in repr(webhook(server.url, token="T0KEN"))  # noqa: S106  a test's
    assert SECRET not in repr(webhook(server.url))


def test_nobody_there(parcel: Parcel) -> None:
    raised = outcome(webhook(f"http://127.0.0.1:{free_port()}"), parcel)
    assert (type(raised), raised.reason) == (Transient, Reason.PEER_UNREACHABLE)
    raised = outcome(webhook("http://hook.invalid/"), parcel)
    assert (type(raised), raised.reason) == (Transient, Reason.PEER_UNREACHABLE)


def test_one_that_keeps_silent_is_given_up(parcel: Parcel) -> None:
    def slow(_: object) -> Reply:
        time.sleep(1.5)
        return Reply()

    with running_web_server(slow) as server:
        started = time.monotonic()
        raised = outcome(webhook(server.url, timeout_s=0.3), parcel)
        took = time.monotonic() - started
    assert (type(raised), raised.reason) == (Transient, Reason.PEER_UNREACHABLE)
    assert took < 1.5


def test_one_that_drips_its_headers_is_hung_up_on(parcel: Parcel) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        enough = threading.Event()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while not enough.wait(0.1):
                    connection.sendall(b"X-Drip: 1\r\n")

        dripping = threading.Thread(target=drip)
        dripping.start()
        error = outcome(webhook(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout_s=0.5), parcel)
        enough.set()
        dripping.join()
    assert isinstance(error, Transient)


def test_the_words_of_the_answer_are_not_waited_for(parcel: Parcel) -> None:
    with running_web_server(lambda _: Reply(body=b"thanks" * 100, drip_s=0.1)) as server:
        started = time.monotonic()
        webhook(server.url).deliver(parcel, now=CREATED_AT)
        assert time.monotonic() - started < 5


def test_in_tls_its_certificate_is_looked_at(tmp_path: Path, parcel: Parcel) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("hook")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    with running_web_server(lambda _: Reply(), context=context) as server:
        way = webhook(server.url, tls=ClientTls(ca=authority.ca))
        assert way.check() == "takes connections"
        assert way.deliver(parcel, now=CREATED_AT).status == "200"
        raised = outcome(webhook(server.url), parcel)
    assert (type(raised), raised.reason) == (Transient, Reason.PEER_DENIED)
    assert "we do not trust its certificate" in raised.detail


def test_files_that_are_no_certificates(tmp_path: Path, parcel: Parcel) -> None:
    raised = outcome(webhook("https://127.0.0.1:1", tls=ClientTls(ca=tmp_path / "nowhere")), parcel)
    assert (type(raised), raised.reason) == (Transient, Reason.PEER_DENIED)


def test_nobody_to_check() -> None:
    with pytest.raises(Transient):
        webhook(f"http://127.0.0.1:{free_port()}").check()


@pytest.mark.parametrize(
    ("url", "expected"),
    [("http://localhost:1/x", True), ("https://[::1]/x", True), ("https://192.0.2.7/x", False)],
)
def test_loopback_is_decided_by_address(url: str, expected: bool) -> None:
    assert webhook(url).is_loopback is expected


def test_the_signature_of_a_known_delivery() -> None:
    """By another program: printf '1772600767.{}' | openssl dgst -sha256 -hmac 'a secret of both sides'."""
    assert sign(b"{}", "1772600767", SECRET) == ("v1=8d67b15098798dd1243774dec068ec962dc52a478fa0577da3429e084c207535")


@given(body=st.binary(max_size=100), changed=st.binary(max_size=100), seconds=st.integers(-(10**6), 10**6))
def test_only_our_bodies_verify_and_only_for_a_while(body: bytes, changed: bytes, seconds: int) -> None:
    timestamp = str(int(CREATED_AT.timestamp()))
    signature = sign(body, timestamp, SECRET)
    now = CREATED_AT + timedelta(seconds=seconds)

    def holds(content: bytes, stamp: str = timestamp, secret: str = SECRET, said: str = signature) -> bool:
        return verify(content, timestamp=stamp, signature=said, secret=secret, now=now)

    in_time = abs(now.timestamp() - int(timestamp)) <= 300
    assert holds(body) is in_time
    assert holds(body, said=f"v2=00, {signature}") is in_time, "another version may stand beside it"
    assert holds(changed) is (in_time and changed == body)
    assert not holds(body, secret=SECRET + "x")
    assert not holds(body, stamp=str(int(timestamp) + 1))


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_headers_are_a_no(timestamp: str, signature: str) -> None:
    assert not verify(BODY, timestamp=timestamp, signature=signature, secret=SECRET, now=CREATED_AT)
