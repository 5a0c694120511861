"""HL7 over MLLP: what counts as an acknowledgment, and what everything else is."""

import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import hl7
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichd.domain.delivery import ObjectKind, Outgoing, Parcel
from ichd.domain.errors import CodedError, Permanent, Transient
from ichd.domain.reason import Reason
from ichd.publish.mllp import (
    END,
    START,
    Acknowledgment,
    Mllp,
    MllpPeer,
    NoAcknowledgment,
    framed,
    read_acknowledgment,
    unframed,
)
from ichd.tls import ClientTls
from tests.intake.certificates import Authority
from tests.peers import mllp
from tests.peers.mllp import acknowledgment, answers, running_hl7_receiver
from tests.peers.ports import free_port
from tests.report.findings import CREATED_AT, STUDY_UID

RESULT, PRIORITY = ObjectKind.RESULT, ObjectKind.PRIORITY


@pytest.fixture
def parcel(tmp_path: Path) -> Parcel:
    """A result, and a request to read first, as they lie in the outbox."""

    def fetch(kinds: Sequence[ObjectKind]) -> Sequence[Outgoing]:
        return [_message(tmp_path, kind) for kind in kinds]

    return Parcel(study_instance_uid=STUDY_UID, wanted=(RESULT, PRIORITY), fetch=fetch)


def _message(folder: Path, kind: ObjectKind) -> Outgoing:
    path, control_id = folder / kind, f"ICHD-{kind}"
    path.write_bytes(f"MSH|^~\\&|ICHD||RIS||20260304||ORU^R01|{control_id}|P|2.5.1\rPID|||P-42||Müller^Jörg\r".encode())
    return Outgoing(kind=kind, sop_class_uid="", sop_instance_uid=control_id, path=path)


def sender(port: int, *, timeout_s: float = 5.0, tls: ClientTls | None = None) -> Mllp:
    return Mllp(peer=MllpPeer(name="ris", host="127.0.0.1", port=port, timeout_s=timeout_s, tls=tls))


def outcome(way: Mllp, parcel: Parcel) -> CodedError:
    with pytest.raises(CodedError) as caught:
        way.deliver(parcel, now=CREATED_AT)
    assert "DOE" not in caught.value.detail, "a receiver's words may name the patient"
    assert "ris (127.0.0.1:" in caught.value.detail
    return caught.value


@pytest.mark.parametrize("code", ["AA", "CA"])
def test_each_message_is_sent_once_the_one_before_is_acknowledged(parcel: Parcel, code: str) -> None:
    with running_hl7_receiver(answers(code)) as receiver:
        receipt = sender(receiver.port).deliver(parcel, now=CREATED_AT)
    assert receiver.connections == 1
    assert receiver.messages == [each.path.read_bytes() for each in parcel.fetch(parcel.wanted)]
    assert receipt.sop_instance_uids == ("ICHD-result", "ICHD-priority")
    assert (receipt.destination, receipt.status, receipt.sop_class_uid) == ("ris", code, "")
    assert (receipt.sent_at, receipt.address) == (CREATED_AT, "127.0.0.1")


@pytest.mark.parametrize("code", ["AE", "AR", "CE", "CR"])
def test_a_refusal_is_permanent(parcel: Parcel, code: str) -> None:
    with running_hl7_receiver(answers(code)) as receiver:
        raised = outcome(sender(receiver.port), parcel)
    assert type(raised) is Permanent
    assert raised.reason is Reason.PEER_REFUSED
    assert f"answered result with {code}" in raised.detail
    assert len(receiver.messages) == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (mllp.garbage, Reason.PEER_CONFUSED),
        (answers("XX"), Reason.PEER_CONFUSED),
        (mllp.endless, Reason.PEER_CONFUSED),
        (mllp.of_another_first, Reason.PEER_CONFUSED),
        (mllp.half, Reason.ASSOCIATION_LOST),
        (mllp.nothing, Reason.PEER_UNREACHABLE),
        (mllp.drip, Reason.PEER_UNREACHABLE),
    ],
    ids=["garbage", "unknown code", "endless", "of another first", "half", "nothing", "drip"],
)
def test_anything_else_is_transient_and_soon_over(parcel: Parcel, answer: mllp.Answer, reason: Reason) -> None:
    with running_hl7_receiver(answer) as receiver:
        started = time.monotonic()
        raised = outcome(sender(receiver.port, timeout_s=0.6), parcel)
        took = time.monotonic() - started
    assert type(raised) is Transient
    assert raised.reason is reason
    assert took < 5


def test_an_acknowledgment_in_two_pieces(parcel: Parcel) -> None:
    with running_hl7_receiver(mllp.in_two_pieces) as receiver:
        assert sender(receiver.port).deliver(parcel, now=CREATED_AT).status == "AA"


def test_nobody_listens(parcel: Parcel) -> None:
    raised = outcome(sender(free_port()), parcel)
    assert (type(raised), raised.reason) == (Transient, Reason.PEER_UNREACHABLE)


def test_nothing_to_send_asks_nobody() -> None:
    healthy = Parcel(study_instance_uid=STUDY_UID, wanted=(PRIORITY,), fetch=lambda kinds: [])
    receipt = sender(free_port()).deliver(healthy, now=CREATED_AT)
    assert (receipt.sop_instance_uids, receipt.status) == ((), "")


def test_check_connects_and_sends_nothing() -> None:
    with running_hl7_receiver(answers("AA")) as receiver:
        assert sender(receiver.port).check() == "takes connections"
    assert receiver.messages == []
    with pytest.raises(Transient):
        sender(free_port()).check()


def test_in_tls_with_both_certificates(tmp_path: Path, parcel: Parcel) -> None:
    authority = Authority(tmp_path)
    theirs, ours = authority.issue("ris"), authority.issue("ichd")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(theirs.certificate, theirs.key)
    context.load_verify_locations(authority.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    tls = ClientTls(ca=authority.ca, certificate=ours.certificate, key=ours.key)
    with running_hl7_receiver(answers("AA"), context=context) as receiver:
        assert sender(receiver.port, tls=tls).deliver(parcel, now=CREATED_AT).status == "AA"
        raised = outcome(sender(receiver.port, tls=ClientTls(ca=authority.ca)), parcel)
        assert (type(raised), raised.reason) == (Transient, Reason.PEER_DENIED)


def test_loopback_is_decided_by_address() -> None:
    assert sender(2575).is_loopback
    assert not Mllp(peer=MllpPeer(name="ris", host="192.0.2.7", port=2575)).is_loopback


@given(st.binary(max_size=300).filter(lambda content: START not in content and END[:1] not in content))
def test_a_frame_gives_back_what_it_was_made_of(message: bytes) -> None:
    assert unframed(framed(message)) == message
    assert unframed(b"\r\n noise" + framed(message)) == message


@pytest.mark.parametrize("message", [b"MSH|\x0b", b"MSH|\x1c"])
def test_a_message_that_would_break_its_frame_is_ours_to_mend(message: bytes) -> None:
    with pytest.raises(Permanent) as caught:
        framed(message)
    assert caught.value.reason is Reason.REPORT_INVALID


@given(
    st.sampled_from(["AA", "AE", "AR", "CA", "CE", "CR"]),
    st.text("ABCabc0123456789.-_", min_size=1, max_size=40),
    st.text(max_size=60).filter(lambda text: not {"\r", "\n", "\x0b", "\x1c"} & set(text)),
)
def test_any_acknowledgment_is_read(code: str, control_id: str, text: str) -> None:
    safe = text.encode("latin-1", errors="ignore").decode("latin-1")
    frame = acknowledgment(code, control_id, text=safe)
    assert read_acknowledgment(unframed(frame)) == Acknowledgment(code=code, control_id=control_id)


@given(st.one_of(st.binary(max_size=200), st.integers(0, 120).map(lambda n: acknowledgment("AA", "1")[1:n])))
def test_anything_else_is_no_acknowledgment(content: bytes) -> None:
    with suppress(NoAcknowledgment):
        assert read_acknowledgment(content).code == "AA"


@given(st.text("MSHA|^~\\&\r\n0123 ", max_size=80).map(lambda tail: f"MSH|^~\\&|{tail}\rMSA|{tail}"))
def test_what_looks_like_one_is_read_or_is_none(text: str) -> None:
    with suppress(NoAcknowledgment):
        assert read_acknowledgment(text.encode()).code in {"AA"}


def test_a_header_that_names_one_separator_twice() -> None:
    with pytest.raises(NoAcknowledgment):
        read_acknowledgment(b"MSH|^^~\rMSA|AA|1")


def test_line_feeds_in_place_of_carriage_returns() -> None:
    frame = acknowledgment("AA", "7").replace(b"\r", b"\n")
    assert read_acknowledgment(frame[1:-2]) == Acknowledgment(code="AA", control_id="7")


def test_the_library_reads_what_the_peer_of_these_tests_writes() -> None:
    message = hl7.parse(acknowledgment("AE", "7")[1:-2].decode())
    assert (str(message.segment("MSH")[9]), str(message.segment("MSA")[1])) == ("ACK", "AE")
