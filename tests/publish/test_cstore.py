"""Delivery by C-STORE: what arrives, and every rung of the ladder."""

from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom import AE, evt

from ichd.domain.delivery import LADDER, ObjectKind, Proof
from ichd.domain.errors import Permanent, Transient
from ichd.domain.reason import Reason
from ichd.publish.cstore import CStore
from ichd.publish.peer import DimsePeer
from tests.peers.ports import free_port
from tests.peers.storescp import Receiver, running_receiver
from tests.publish.dimse_sending import SOP, outcome, sender
from tests.publish.parcels import KO, SC, SR, Outbox, payload
from tests.report.findings import CREATED_AT


def test_a_receipt_names_what_was_acknowledged(receiver: Receiver, outbox: Outbox) -> None:
    receipt = sender(receiver.port).deliver(outbox.parcel(KO, SR, SC), now=CREATED_AT)
    sent = [outbox.object(kind) for kind in (SR, KO, SC)]
    assert receipt.destination == "pacs"
    assert receipt.sent_at == CREATED_AT
    assert receipt.sop_instance_uids == tuple(each.sop_instance_uid for each in sent), "the report's first"
    assert receipt.sop_class_uid == SOP[SR]
    assert (receipt.status, receipt.left_out, receipt.proof) == ("0x0000", (), Proof.SENT)
    assert (receipt.ae_title, receipt.address) == ("RECEIVER", "127.0.0.1")


def test_objects_travel_byte_for_byte_over_one_association(receiver: Receiver, outbox: Outbox) -> None:
    outbox.object_bytes = 3_000_001
    sender(receiver.port).deliver(outbox.parcel(), now=CREATED_AT)
    assert receiver.associations == 1
    assert len(receiver.received) == 3
    for each in outbox.made.values():
        arrived = receiver.folder / f"{each.sop_instance_uid}.dcm"
        assert payload(arrived) == payload(each.path)
        assert dcmread(arrived).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


def test_sending_again_is_the_same_object(receiver: Receiver, outbox: Outbox) -> None:
    for _ in range(2):
        sender(receiver.port).deliver(outbox.parcel(), now=CREATED_AT)
    assert len(receiver.received) == 6
    assert len(receiver.files()) == 3


@pytest.mark.parametrize("rung", LADDER[:-1])
def test_the_report_goes_in_the_richest_form_that_the_peer_takes(
    tmp_path: Path, outbox: Outbox, rung: ObjectKind
) -> None:
    lower = LADDER[LADDER.index(rung) : -1]
    with running_receiver(tmp_path / "in", sop_classes=[SOP[kind] for kind in lower]) as receiver:
        receipt = sender(receiver.port).deliver(outbox.parcel(), now=CREATED_AT)
    assert receipt.sop_class_uid == SOP[rung]
    assert receipt.sop_instance_uids == (outbox.object(rung).sop_instance_uid,)
    assert receipt.left_out == (KO, SC)
    assert set(outbox.asked) == {(rung,)}, "nothing is made that nobody takes"


def test_a_picture_stands_for_the_report_where_the_peer_takes_no_other(tmp_path: Path, outbox: Outbox) -> None:
    with running_receiver(tmp_path / "in", sop_classes=[SOP[SC], SOP[KO]]) as receiver:
        receipt = sender(receiver.port).deliver(outbox.parcel(), now=CREATED_AT)
    assert receipt.sop_class_uid == SOP[SC]
    assert receipt.left_out == ()
    assert receiver.received == [outbox.object(SC).sop_instance_uid, outbox.object(KO).sop_instance_uid]


@pytest.mark.parametrize("wanted", [(SR, KO, SC), (KO,)])
def test_a_peer_that_takes_nothing_of_it(tmp_path: Path, outbox: Outbox, wanted: tuple[ObjectKind, ...]) -> None:
    with running_receiver(tmp_path / "in", sop_classes=[CTImageStorage]) as receiver:
        raised = outcome(sender(receiver.port), outbox.parcel(*wanted))
    assert type(raised) is Permanent
    assert raised.reason is Reason.NO_ACCEPTED_CONTEXT
    assert outbox.asked == []


def test_a_class_that_is_accepted_and_then_turned_down_is_one_rung_less(tmp_path: Path, outbox: Outbox) -> None:
    asked: list[str] = []

    def answer(event: evt.Event) -> int:
        asked.append(str(event.dataset.SOPClassUID))
        return 0x0122 if asked[-1] in (SOP[SR], SOP[KO]) else 0x0000

    with running_receiver(tmp_path / "in", answer=answer) as receiver:
        receipt = sender(receiver.port).deliver(outbox.parcel(), now=CREATED_AT)
    assert receipt.sop_class_uid == SOP[ObjectKind.SR_COMPREHENSIVE]
    assert receipt.left_out == (KO,)
    assert sorted(asked) == sorted([SOP[SR], SOP[KO], SOP[SC], SOP[ObjectKind.SR_COMPREHENSIVE]]), "none twice"


def test_a_kind_of_which_there_is_nothing_is_no_trouble(receiver: Receiver, outbox: Outbox) -> None:
    outbox.nothing_of = frozenset({ObjectKind.HEAT})
    receipt = sender(receiver.port).deliver(outbox.parcel(ObjectKind.HEAT), now=CREATED_AT)
    assert (receipt.sop_instance_uids, receipt.sop_class_uid) == ((), "")


def test_a_peer_that_speaks_implicit_vr_only_gets_it_converted(tmp_path: Path, outbox: Outbox) -> None:
    taken: list[tuple[str, Dataset]] = []

    def keep(event: evt.Event) -> int:
        taken.append((event.context.transfer_syntax, event.dataset))
        return 0x0000

    ae = AE(ae_title="RECEIVER")
    ae.add_supported_context(SOP[SR], ImplicitVRLittleEndian)
    port = free_port()
    ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
    try:
        sender(port).deliver(outbox.parcel(SR), now=CREATED_AT)
    finally:
        ae.shutdown()
    ((syntax, dataset),) = taken
    sent = dcmread(outbox.object(SR).path)
    assert syntax == ImplicitVRLittleEndian
    assert dataset.PatientName == sent.PatientName
    # What no dictionary knows has no VR in implicit VR.
    assert dataset[0x00431001].value == sent[0x00431001].value


def test_a_peer_with_small_fragments(tmp_path: Path, outbox: Outbox) -> None:
    outbox.object_bytes = 100_000
    ae = AE(ae_title="RECEIVER")
    ae.maximum_pdu_size = 100
    ae.add_supported_context(SOP[SR], ExplicitVRLittleEndian)
    taken: list[bytes] = []

    def keep(event: evt.Event) -> int:
        taken.append(event.encoded_dataset(include_meta=False))
        return 0x0000

    port = free_port()
    ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
    try:
        sender(port).deliver(outbox.parcel(SR), now=CREATED_AT)
    finally:
        ae.shutdown()
    assert taken == [payload(outbox.object(SR).path)]


def test_check_is_an_echo(receiver: Receiver) -> None:
    assert sender(receiver.port).check() == "answers C-ECHO"
    with pytest.raises(Transient) as caught:
        sender(free_port()).check()
    assert caught.value.reason is Reason.PEER_UNREACHABLE


def test_a_peer_that_offers_no_echo() -> None:
    ae = AE(ae_title="RECEIVER")
    ae.add_supported_context(CTImageStorage)
    port = free_port()
    ae.start_server(("127.0.0.1", port), block=False)
    try:
        with pytest.raises(Permanent) as caught:
            sender(port).check()
    finally:
        ae.shutdown()
    assert caught.value.reason is Reason.PEER_REFUSED


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("localhost", True),
        ("::1", True),
        ("192.0.2.7", False),
        ("", False),
    ],
)
def test_loopback_is_decided_by_address(host: str, expected: bool) -> None:
    assert CStore(peer=DimsePeer(name="x", host=host, port=104, ae_title="X")).is_loopback is expected
