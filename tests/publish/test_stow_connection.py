"""STOW-RS: the way to the server, who is let in, and answers without an end."""

import ssl
import time
from pathlib import Path

import pytest

from ichd.domain.errors import Permanent, Transient
from ichd.domain.reason import Reason
from ichd.tls import ClientTls
from tests.intake.certificates import Authority
from tests.peers.mllp import running_hl7_receiver
from tests.peers.ports import free_port
from tests.peers.web import Reply, Request, running_web_server
from tests.publish.parcels import KO, SC, SR, Outbox
from tests.publish.stow_account import JSON, account, outcome, sender
from tests.report.findings import CREATED_AT


def test_a_redirection_is_not_followed(outbox: Outbox) -> None:
    with running_web_server(lambda _: Reply(body=account(SR, KO, SC), headers=JSON)) as elsewhere:
        redirect = Reply(status=307, headers={"Location": f"{elsewhere.url}/studies"})
        with running_web_server(lambda _: redirect) as server:
            raised = outcome(sender(server.url, token="T0KEN"), outbox)  # noqa: S106  a test's
    assert (type(raised), raised.reason) == (Permanent, Reason.PEER_REFUSED)
    assert "answered 307, a redirection" in raised.detail
    assert elsewhere.requests == []


def test_it_is_let_in_by_token_or_by_account(outbox: Outbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And never by what the environment knows of the host."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    with running_web_server(lambda _: Reply(body=account(SR, KO, SC), headers=JSON)) as server:
        for options in ({}, {"token": "T0KEN"}, {"account": "ü", "password": "p"}):
            sender(server.url, **options).deliver(outbox.parcel(), now=CREATED_AT)
    said = [request.headers.get("authorization") for request in server.requests]
    assert said == [None, "Bearer T0KEN", "Basic w7w6cA=="]


def test_nobody_there(outbox: Outbox) -> None:
    for url in (f"http://127.0.0.1:{free_port()}", "http://pacs.invalid"):
        raised = outcome(sender(url), outbox)
        assert (type(raised), raised.reason) == (Transient, Reason.PEER_UNREACHABLE)


def test_something_else_listens_there(outbox: Outbox) -> None:
    with running_hl7_receiver(lambda connection, _: connection.close()) as receiver:
        raised = outcome(sender(f"http://127.0.0.1:{receiver.port}", timeout_s=0.5), outbox)
    assert type(raised) is Transient


def test_one_that_keeps_silent_is_given_up(outbox: Outbox) -> None:
    def slow(_: Request) -> Reply:
        time.sleep(1.5)
        return Reply()

    with running_web_server(slow) as server:
        started = time.monotonic()
        raised = outcome(sender(server.url, timeout_s=0.3), outbox)
        took = time.monotonic() - started
    assert (type(raised), raised.reason) == (Transient, Reason.PEER_UNREACHABLE)
    assert took < 1.5


def test_an_answer_that_drips_has_an_end(outbox: Outbox) -> None:
    reply = Reply(body=account(SR, KO, SC) * 50, headers=JSON, drip_s=0.05)
    with running_web_server(lambda _: reply) as server:
        started = time.monotonic()
        raised = outcome(sender(server.url, timeout_s=0.5), outbox)
        took = time.monotonic() - started
    assert (type(raised), raised.reason) == (Transient, Reason.PEER_UNREACHABLE)
    assert took < 5


def test_an_answer_that_is_too_long_has_one_too(outbox: Outbox) -> None:
    with running_web_server(lambda _: Reply(body=bytes(9 << 20), headers=JSON)) as server:
        raised = outcome(sender(server.url), outbox)
    assert (type(raised), raised.reason) == (Transient, Reason.PEER_CONFUSED)


def test_in_tls_with_both_certificates(tmp_path: Path, outbox: Outbox) -> None:
    authority = Authority(tmp_path)
    theirs, ours = authority.issue("pacs"), authority.issue("ichd")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(theirs.certificate, theirs.key)
    context.load_verify_locations(authority.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    tls = ClientTls(ca=authority.ca, certificate=ours.certificate, key=ours.key)
    taken = Reply(body=account(SR, KO, SC), headers=JSON)
    with (
        running_web_server(lambda _: taken, context=context) as server,
        running_web_server(lambda _: taken, context=context, host="127.0.0.2") as elsewhere,
    ):
        assert sender(server.url, tls=tls).deliver(outbox.parcel(), now=CREATED_AT).status == "200"
        for url, trust, words in (
            (server.url, None, "we do not trust its certificate"),
            (elsewhere.url, tls, "IP address mismatch"),
            (server.url, ClientTls(ca=tmp_path / "nowhere"), "tls.ca"),
        ):
            raised = outcome(sender(url, tls=trust), outbox)
            assert (type(raised), raised.reason) == (Transient, Reason.PEER_DENIED), words
            assert words in raised.detail
        raised = outcome(sender(server.url, tls=ClientTls(ca=authority.ca)), outbox)
        assert raised.reason in (Reason.PEER_DENIED, Reason.ASSOCIATION_LOST), "it may hang up before it is heard"
        assert "see tls.certificate" in raised.detail
