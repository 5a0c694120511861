"""STOW-RS: to Orthanc as a hospital has it, and to a server that answers as it is told."""

from collections.abc import Iterator

import pytest
from pydicom import dcmread

from ichd.domain.delivery import SOP_CLASSES, ObjectKind, Outgoing
from ichd.domain.errors import CodedError, Permanent, Transient
from ichd.domain.reason import Reason
from tests.peers.orthanc import DICOMWEB_MISSING, MISSING, Orthanc, dicomweb_server, running_orthanc
from tests.peers.web import Reply, Request, in_turn, running_web_server
from tests.publish.parcels import KO, SC, SR, USUAL, Outbox, payload
from tests.publish.stow_account import JSON, account, files_in, outcome, sender, uid_of
from tests.report.findings import CREATED_AT, STUDY_UID


def test_the_files_travel_byte_for_byte_in_one_request(outbox: Outbox) -> None:
    outbox.object_bytes = 3_000_001
    with running_web_server(lambda _: Reply(body=account(SR, KO, SC), headers=JSON)) as server:
        receipt = sender(f"{server.url}/dicom-web/").deliver(outbox.parcel(), now=CREATED_AT)
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/dicom-web/studies")
    assert files_in(request) == [outbox.object(kind).path.read_bytes() for kind in (SR, KO, SC)]
    assert request.headers["content-length"], "not every server takes a body of unknown length"
    assert request.headers["host"] == f"127.0.0.1:{server.port}"
    assert request.headers["accept"] == "application/dicom+json"
    assert receipt.sop_instance_uids == (uid_of(SR), uid_of(KO), uid_of(SC))
    assert (receipt.sop_class_uid, receipt.status, receipt.left_out) == (SOP_CLASSES[SR], "200", ())
    assert (receipt.destination, receipt.sent_at, receipt.address) == ("pacs", CREATED_AT, "127.0.0.1")


@pytest.mark.parametrize("status", [200, 202, 409])
def test_a_class_that_is_turned_down_is_one_rung_less(outbox: Outbox, status: int) -> None:
    """A 202 with failures passes for success with who looks at the status alone."""
    comprehensive = ObjectKind.SR_COMPREHENSIVE
    replies = [
        Reply(status=status, body=account(SC, failed={SR: 0x0122, KO: 0x0122}), headers=JSON),
        Reply(body=account(comprehensive), headers=JSON),
    ]
    with running_web_server(in_turn(replies)) as server:
        receipt = sender(server.url).deliver(outbox.parcel(), now=CREATED_AT)
    first, second = server.requests
    assert len(files_in(first)) == 3
    assert files_in(second) == [outbox.object(comprehensive).path.read_bytes()], "what was taken is not sent again"
    assert receipt.sop_class_uid == SOP_CLASSES[comprehensive]
    assert receipt.left_out == (KO,)
    assert receipt.status == "200"


def test_a_server_that_takes_no_class(outbox: Outbox) -> None:
    def refuse(request: Request) -> Reply:
        failed = {kind: 0x0122 for kind in SOP_CLASSES if uid_of(kind).encode() in request.body}
        return Reply(status=409, body=account(failed=failed), headers=JSON)

    with running_web_server(refuse) as server, pytest.raises(Permanent) as caught:
        sender(server.url).deliver(outbox.parcel(), now=CREATED_AT)
    assert caught.value.reason is Reason.NO_ACCEPTED_CONTEXT
    assert len(server.requests) == 3, "three forms of a report with a picture; the picture was turned down at once"


@pytest.mark.parametrize("status", [200, 202, 409])
@pytest.mark.parametrize(
    ("failed", "error", "reason"),
    [
        ({SC: 0xA700}, Transient, Reason.PEER_BUSY),
        ({SC: 0xA7FF}, Transient, Reason.PEER_BUSY),
        ({SC: 0x0110}, Permanent, Reason.PEER_REFUSED),
        ({SC: 0xA900}, Permanent, Reason.PEER_REFUSED),
        ({SC: 0xC122}, Permanent, Reason.PEER_REFUSED),
        ({SC: 0xA700, KO: 0xA900}, Permanent, Reason.PEER_REFUSED),
        ({SC: 0xA700, KO: 0x0122}, Transient, Reason.PEER_BUSY),
    ],
)
def test_an_object_that_fails_ends_the_delivery(
    outbox: Outbox, status: int, failed: dict[ObjectKind, int], error: type[CodedError], reason: Reason
) -> None:
    reply = Reply(status=status, body=account(SR, failed=failed), headers=JSON)
    with running_web_server(lambda _: reply) as server:
        raised = outcome(sender(server.url), outbox)
    assert (type(raised), raised.reason) == (error, reason)


def test_what_is_stored_with_a_warning_is_stored(outbox: Outbox) -> None:
    reply = Reply(status=202, body=account(SR, KO, warned={SC: 0xB000}), headers=JSON)
    with running_web_server(lambda _: reply) as server:
        assert sender(server.url).deliver(outbox.parcel(), now=CREATED_AT).status == "202"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b"<html>Sign in, DOE^JANE</html>", headers={"Content-Type": "text/html"}),
        Reply(),
        Reply(body=account(SR, SC), headers=JSON),
        Reply(body=b'{"00081199": 5}', headers=JSON),
        Reply(body=b'{"0008', headers=JSON),
        Reply(body=b"[]", headers=JSON),
        Reply(body=b"<a><b>", headers={"Content-Type": "application/dicom+xml"}),
        Reply(status=409, body=b'{"0008', headers=JSON),
    ],
    ids=["a page", "nothing", "not all", "no sequence", "half", "a list", "half xml", "half of a refusal"],
)
def test_what_is_not_acknowledged_is_not_delivered(outbox: Outbox, reply: Reply) -> None:
    with running_web_server(lambda _: reply) as server:
        raised = outcome(sender(server.url), outbox)
    assert (type(raised), raised.reason) == (Transient, Reason.PEER_CONFUSED)


def test_a_media_type_with_a_character_set(outbox: Outbox) -> None:
    headers = {"Content-Type": "application/dicom+json; charset=UTF-8"}
    with running_web_server(lambda _: Reply(body=account(SR, KO, SC), headers=headers)) as server:
        assert sender(server.url).deliver(outbox.parcel(), now=CREATED_AT).status == "200"


def test_an_account_in_xml(outbox: Outbox) -> None:
    body = (
        '<?xml version="1.0"?><NativeDicomModel><DicomAttribute tag="00081199" vr="SQ" keyword="ReferencedSOPSequence">'
        f'<Item number="1"><DicomAttribute tag="00081155" vr="UI" keyword="ReferencedSOPInstanceUID">'
        f'<Value number="1">{uid_of(SR)}</Value>'
        "</DicomAttribute></Item></DicomAttribute></NativeDicomModel>"
    ).encode()
    with running_web_server(lambda _: Reply(body=body, headers={"Content-Type": "application/dicom+xml"})) as server:
        receipt = sender(server.url).deliver(outbox.parcel(SR), now=CREATED_AT)
    assert receipt.sop_instance_uids == (uid_of(SR),)


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (401, Transient, Reason.PEER_DENIED),
        (403, Transient, Reason.PEER_DENIED),
        (408, Transient, Reason.PEER_BUSY),
        (429, Transient, Reason.PEER_BUSY),
        (500, Transient, Reason.PEER_BUSY),
        (503, Transient, Reason.PEER_BUSY),
        (504, Transient, Reason.PEER_BUSY),
        (400, Permanent, Reason.PEER_REFUSED),
        (404, Permanent, Reason.PEER_REFUSED),
        (409, Permanent, Reason.PEER_REFUSED),
        (413, Permanent, Reason.PEER_REFUSED),
        (415, Permanent, Reason.PEER_REFUSED),
    ],
)
def test_every_status_has_its_class_and_one_request(
    outbox: Outbox, status: int, error: type[CodedError], reason: Reason
) -> None:
    reply = Reply(status=status, body=b"DOE^JANE is unknown", headers={"Content-Type": "text/plain"})
    with running_web_server(lambda _: reply) as server:
        raised = outcome(sender(server.url), outbox)
    assert (type(raised), raised.reason) == (error, reason)
    assert str(status) in raised.detail
    assert len(server.requests) == 1, "nothing below the queue tries again"


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    if MISSING or DICOMWEB_MISSING:
        pytest.skip(MISSING or DICOMWEB_MISSING or "")
    with running_orthanc(tmp_path_factory.mktemp("orthanc"), **dicomweb_server()) as server:
        yield server


def test_orthanc_files_it_once_and_lists_it(pacs: Orthanc, outbox: Outbox) -> None:
    outbox.object_bytes = 3_000_000
    way = sender(f"http://127.0.0.1:{pacs.http_port}/dicom-web")
    sent: list[Outgoing] = [outbox.object(kind) for kind in USUAL]
    assert way.check() == "answers QIDO-RS"
    assert way.missing(STUDY_UID, sent) == tuple(each.sop_instance_uid for each in sent)
    for _ in range(2):
        receipt = way.deliver(outbox.parcel(), now=CREATED_AT)
    assert way.missing(STUDY_UID, sent) == ()
    assert sorted(receipt.sop_instance_uids) == sorted(each.sop_instance_uid for each in sent)
    for each in sent:
        (found,) = pacs.find(SOPInstanceUID=each.sop_instance_uid)
        stored = each.path.with_suffix(".stored")
        stored.write_bytes(pacs.file(found))
        assert payload(stored) == payload(each.path)
        assert dcmread(stored).PatientName == dcmread(each.path).PatientName
