"""STOW-RS and QIDO-RS: to Orthanc as a hospital has it, and to a server that answers as it is told."""

import json
import ssl
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from ichd.domain.delivery import SOP_CLASSES, ObjectKind, Outgoing
from ichd.domain.errors import CodedError, Permanent, Transient
from ichd.domain.reason import Reason
from ichd.publish.sender import Commits, ReadsBack
from ichd.publish.stow import Stow
from ichd.publish.web import WebPeer
from ichd.tls import ClientTls
from tests.intake.certificates import Authority
from tests.peers.mllp import running_hl7_receiver
from tests.peers.orthanc import DICOMWEB_MISSING, MISSING, Orthanc, dicomweb_server, running_orthanc
from tests.peers.ports import free_port
from tests.peers.web import Reply, Request, in_turn, running_web_server
from tests.publish.parcels import KO, SC, SR, USUAL, Outbox, payload
from tests.report.findings import CREATED_AT, STUDY_UID

JSON = {"Content-Type": "application/dicom+json"}


def sender(url: str, **options: Any) -> Stow:
    return Stow(peer=WebPeer(name="pacs", url=url, **options))


def uid_of(kind: ObjectKind) -> str:
    return f"2.25.4711{list(ObjectKind).index(kind)}"


def outcome(way: Stow, outbox: Outbox, *wanted: ObjectKind) -> CodedError:
    with pytest.raises(CodedError) as caught:
        way.deliver(outbox.parcel(*wanted), now=CREATED_AT)
    assert "DOE" not in caught.value.detail, "a server's words may name the patient"
    assert "pacs (http" in caught.value.detail
    return caught.value


def account(
    *stored: ObjectKind, failed: Mapping[ObjectKind, int] | None = None, warned: Mapping[ObjectKind, int] | None = None
) -> bytes:
    """A Store Instances Response (PS3.18 I.2) as JSON; its comment names a patient, as some servers' do."""

    def item(kind: ObjectKind, **reason: int) -> dict[str, Any]:
        said = {f"0008{tag.removeprefix('t')}": {"vr": "US", "Value": [value]} for tag, value in reason.items()}
        reference = {
            "00081150": {"vr": "UI", "Value": [SOP_CLASSES[kind]]},
            "00081155": {"vr": "UI", "Value": [uid_of(kind)]},
        }
        return reference | said

    body: dict[str, Any] = {"00081190": {"vr": "UR", "Value": ["http://pacs/DOE"]}}
    references = [item(kind) for kind in stored] + [item(kind, t1196=why) for kind, why in (warned or {}).items()]
    if references:
        body["00081199"] = {"vr": "SQ", "Value": references}
    if failed:
        body["00081198"] = {"vr": "SQ", "Value": [item(kind, t1197=why) for kind, why in failed.items()]}
    return json.dumps(body).encode()


def files_in(request: Request) -> list[bytes]:
    """The parts of a multipart/related body."""
    boundary = request.headers["content-type"].split('boundary="')[1].rstrip('"').encode()
    parts = request.body.split(b"--" + boundary)[1:-1]
    return [part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") for part in parts]


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


def listed(*uids: str) -> bytes:
    return json.dumps([{"00080018": {"vr": "UI", "Value": [uid]}} for uid in uids]).encode()


def test_what_is_not_listed_is_missing(outbox: Outbox) -> None:
    """This one ignores the key, and lists the report whatever it is asked."""
    sent = [outbox.object(kind) for kind in USUAL]
    with running_web_server(lambda _: Reply(body=listed(uid_of(SR)), headers=JSON)) as server:
        assert sender(server.url).missing(STUDY_UID, sent) == (uid_of(KO), uid_of(SC))
    assert server.requests[0].path == f"/studies/{STUDY_UID}/instances?SOPInstanceUID={uid_of(SR)}"


@pytest.mark.parametrize("reply", [Reply(status=204), Reply(status=404), Reply(body=b"[]", headers=JSON)])
def test_a_server_that_knows_nothing_of_the_study(outbox: Outbox, reply: Reply) -> None:
    with running_web_server(lambda _: reply) as server:
        assert sender(server.url).missing(STUDY_UID, [outbox.object(SR)]) == (uid_of(SR),)


@pytest.mark.parametrize(
    ("reply", "error", "reason"),
    [
        (Reply(status=401), Transient, Reason.PEER_DENIED),
        (Reply(status=503), Transient, Reason.PEER_BUSY),
        (Reply(status=400), Permanent, Reason.PEER_REFUSED),
        (Reply(body=b"<html>", headers=JSON), Transient, Reason.PEER_CONFUSED),
        (Reply(body=b"[5]", headers=JSON), Transient, Reason.PEER_CONFUSED),
        (Reply(body=b'[{"00080018": 5}]', headers=JSON), Transient, Reason.PEER_CONFUSED),
    ],
)
def test_a_search_that_fails(outbox: Outbox, reply: Reply, error: type[CodedError], reason: Reason) -> None:
    with running_web_server(lambda _: reply) as server, pytest.raises(error) as caught:
        sender(server.url).missing(STUDY_UID, [outbox.object(SR)])
    assert caught.value.reason is reason


def test_check_is_a_search_for_one_study() -> None:
    with running_web_server(in_turn([Reply(body=b"[]", headers=JSON), Reply(status=404)])) as server:
        assert sender(server.url).check() == "answers QIDO-RS"
        with pytest.raises(Permanent):
            sender(server.url).check()
    assert server.requests[0].path == "/studies?limit=1"


def test_a_server_reads_back_and_does_not_commit() -> None:
    assert isinstance(sender("http://127.0.0.1:1"), ReadsBack)
    assert not isinstance(sender("http://127.0.0.1:1"), Commits)


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
