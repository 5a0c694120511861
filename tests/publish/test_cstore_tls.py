"""C-STORE in TLS, to dcmtk's storescp: OpenSSL on both sides, and no line of ours on that one."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ichd.domain.errors import CodedError, Transient
from ichd.domain.reason import Reason
from ichd.publish.cstore import CStore
from ichd.publish.peer import DimsePeer
from ichd.tls import ClientTls
from tests.intake.certificates import Authority
from tests.peers.dcmtk import running_storescp
from tests.publish.parcels import Outbox, payload
from tests.report.findings import CREATED_AT


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(folder=tmp_path / "outbox", object_bytes=300_000)


@contextmanager
def tls_only(folder: Path, authority: Authority, *options: str) -> Iterator[int]:
    """A storescp that speaks TLS alone; it asks for a certificate unless `options` say otherwise."""
    pair = authority.issue("pacs")
    tls = ("+tls", str(pair.key), str(pair.certificate), "+cf", str(authority.ca))
    with running_storescp(folder / "in", *tls, *options) as port:
        yield port


def sender(port: int, tls: ClientTls | None, host: str = "127.0.0.1", timeout_s: float = 5.0) -> CStore:
    return CStore(peer=DimsePeer(name="pacs", host=host, port=port, ae_title="RECEIVER", tls=tls, timeout_s=timeout_s))


def outcome(way: CStore, outbox: Outbox) -> CodedError:
    with pytest.raises(CodedError) as caught:
        way.deliver(outbox.parcel(), now=CREATED_AT)
    assert isinstance(caught.value, Transient), "certificates and ports get mended"
    assert caught.value.detail.startswith("pacs (RECEIVER@")
    return caught.value


def test_both_show_a_certificate(tmp_path: Path, authority: Authority, outbox: Outbox) -> None:
    pair = authority.issue("ichd")
    tls = ClientTls(ca=authority.ca, certificate=pair.certificate, key=pair.key)
    with tls_only(tmp_path, authority) as port:
        way = sender(port, tls)
        assert way.check() == "answers C-ECHO"
        way.deliver(outbox.parcel(), now=CREATED_AT)
    files = list((tmp_path / "in").iterdir())
    assert sorted(payload(file) for file in files) == sorted(payload(each.path) for each in outbox.made.values())


def test_a_peer_that_asks_for_no_certificate(tmp_path: Path, authority: Authority, outbox: Outbox) -> None:
    with tls_only(tmp_path, authority, "-ic") as port:
        sender(port, ClientTls(ca=authority.ca)).deliver(outbox.parcel(), now=CREATED_AT)


def test_a_peer_of_another_authority(tmp_path: Path, authority: Authority, outbox: Outbox) -> None:
    stranger = Authority(tmp_path, "stranger")
    with tls_only(tmp_path, authority, "-ic") as port:
        raised = outcome(sender(port, ClientTls(ca=stranger.ca)), outbox)
    assert raised.reason is Reason.PEER_DENIED
    assert "we do not trust its certificate: self-signed certificate in certificate chain; see tls.ca" in raised.detail


def test_a_certificate_for_another_host(tmp_path: Path, authority: Authority, outbox: Outbox) -> None:
    with tls_only(tmp_path, authority, "-ic") as port:
        raised = outcome(sender(port, ClientTls(ca=authority.ca), host="127.0.0.2"), outbox)
        assert raised.reason is Reason.PEER_DENIED
        assert "IP address mismatch" in raised.detail
        unchecked = ClientTls(ca=authority.ca, check_hostname=False)
        sender(port, unchecked, host="127.0.0.2").deliver(outbox.parcel(), now=CREATED_AT)


@pytest.mark.parametrize("shown", [None, "of a stranger"])
def test_a_peer_that_does_not_take_our_certificate(
    tmp_path: Path, authority: Authority, outbox: Outbox, shown: str | None
) -> None:
    tls = ClientTls(ca=authority.ca)
    if shown:
        pair = Authority(tmp_path, "stranger").issue("ichd")
        tls = replace(tls, certificate=pair.certificate, key=pair.key)
    with tls_only(tmp_path, authority) as port:
        raised = outcome(sender(port, tls), outbox)
    assert raised.reason is Reason.PEER_DENIED
    assert "it does not take our certificate" in raised.detail
    assert "see tls.certificate" in raised.detail


def test_files_that_are_no_certificates(tmp_path: Path, authority: Authority, outbox: Outbox) -> None:
    """They may be renewed at this moment: a later attempt finds them."""
    with tls_only(tmp_path, authority, "-ic") as port:
        raised = outcome(sender(port, ClientTls(ca=tmp_path / "nowhere.pem")), outbox)
    assert raised.reason is Reason.PEER_DENIED
    assert "tls.ca" in raised.detail


def test_tls_to_a_peer_without(tmp_path: Path, authority: Authority, outbox: Outbox) -> None:
    with running_storescp(tmp_path / "in") as port:
        raised = outcome(sender(port, ClientTls(ca=authority.ca), timeout_s=1.0), outbox)
    assert raised.reason is Reason.PEER_UNREACHABLE
    assert "TLS" in raised.detail


def test_no_tls_to_a_peer_with(tmp_path: Path, authority: Authority, outbox: Outbox) -> None:
    with tls_only(tmp_path, authority) as port:
        raised = outcome(sender(port, None), outbox)
    assert raised.reason in (Reason.ASSOCIATION_LOST, Reason.PEER_CONFUSED)


def test_a_silent_handshake_is_given_up(authority: Authority, outbox: Outbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held: list[socket.socket] = []
        thread = threading.Thread(target=lambda: held.append(listener.accept()[0]))
        thread.start()
        raised = outcome(sender(listener.getsockname()[1], ClientTls(ca=authority.ca), timeout_s=0.5), outbox)
        thread.join()
        held[0].close()
    assert raised.reason is Reason.PEER_UNREACHABLE
    assert "no TLS handshake in time" in raised.detail
