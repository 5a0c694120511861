"""One study, every way out: what each destination takes, and what proves that it has it."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hl7
import pydicom
import pytest

from ichd.app.plain import plain_recipe
from ichd.domain.delivery import SOP_CLASSES, ObjectKind
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.publish.webhook import verify
from ichd.report.readable import read_report
from ichd.report.template import deviations
from tests.acceptance.conftest import Storescu
from tests.acceptance.daemon import Daemon, running
from tests.intake.certificates import Authority
from tests.peers.dcmtk import restricted_to, running_storescp
from tests.peers.mllp import Hl7Receiver, answers, running_hl7_receiver
from tests.peers.orthanc import DICOMWEB_MISSING, MISSING, Orthanc, dicomweb_server, running_orthanc
from tests.peers.ports import free_port
from tests.peers.web import Reply, Request, WebServer, running_web_server

SECRET = "a secret of at least sixteen"  # noqa: S105 - both sides of this test know it
FAILURES = 3


@dataclass(kw_only=True)
class Hospital:
    """Who listens."""

    archive: Orthanc
    #: What each storescp got, by the name of the destination.
    folders: dict[str, Path]
    ris: Hl7Receiver
    hook: WebServer
    daemon: Daemon
    study: dict[str, Any]
    source: pydicom.Dataset

    def delivery(self, destination: str) -> dict[str, Any]:
        """The receipt of a destination."""
        (found,) = [each for each in self.study["deliveries"] if each["destination"] == destination]
        return dict(found)

    def received(self, destination: str) -> list[pydicom.Dataset]:
        """What a storescp wrote."""
        return [pydicom.dcmread(path) for path in sorted(self.folders[destination].iterdir()) if path.is_file()]


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory, storescu: Storescu) -> Iterator[Hospital]:
    """Eight destinations, and one study that bleeds."""
    if MISSING or DICOMWEB_MISSING:
        pytest.skip(str(MISSING or DICOMWEB_MISSING))
    folder = tmp_path_factory.mktemp("hospital")
    files = write_series(render(plain_recipe(PhantomRecipe(seed=7, bleeds=("subdural",)))), folder / "phantom")
    for path in files:
        image = pydicom.dcmread(path)
        image.PatientName, image.PatientID, image.AccessionNumber = "ZEBRAFINCH^QUAGGA", "PID-7Q4X9", "A-4711"
        image.save_as(path)
    source = pydicom.dcmread(files[0], stop_before_pixels=True)
    authority = Authority(folder)
    server, ours = authority.issue("server"), authority.issue("ours")
    port = free_port()
    us = {"AET": "ICHD", "Host": "127.0.0.1", "Port": port, "AllowStorageCommitment": True}
    failures = iter(range(FAILURES))

    def moody(_: Request) -> Reply:
        return Reply(status=503 if next(failures, None) is not None else 204)

    with ExitStack() as stack:
        archive = stack.enter_context(running_orthanc(folder, DicomModalities={"ichd": us}, **dicomweb_server()))
        folders: dict[str, Path] = {}
        ports: dict[str, int] = {}
        tls = (
            "+tls",
            str(server.key),
            str(server.certificate),
            "--add-cert-file",
            str(authority.ca),
            "--require-peer-cert",
        )
        options: dict[str, tuple[str, ...]] = {
            "comprehensive-only": restricted(folder / "comprehensive", ObjectKind.SR_COMPREHENSIVE),
            "pictures-only": restricted(folder / "pictures", ObjectKind.SC),
            "secured": tls,
        }
        for name, arguments in options.items():
            folders[name] = folder / name
            ports[name] = stack.enter_context(running_storescp(folders[name], *arguments))
        ris = stack.enter_context(running_hl7_receiver(answers("AA")))
        hook = stack.enter_context(running_web_server(moody))
        daemon = Daemon(
            folder / "daemon",
            port=port,
            extra_settings=f"""
[[destination]]
name = "archive"
address = "127.0.0.1:{archive.dicom_port}"
ae_title = "{archive.ae_title}"
send = ["sr", "ko", "sc", "heat", "parametric", "gsps"]
confirm = "commitment"
[[destination]]
name = "web-archive"
kind = "stow"
url = "http://127.0.0.1:{archive.http_port}/dicom-web"
confirm = "read_back"
[[destination]]
name = "comprehensive-only"
address = "127.0.0.1:{ports["comprehensive-only"]}"
ae_title = "RECEIVER"
[[destination]]
name = "pictures-only"
address = "127.0.0.1:{ports["pictures-only"]}"
ae_title = "RECEIVER"
send = ["sr"]
[[destination]]
name = "secured"
address = "127.0.0.1:{ports["secured"]}"
ae_title = "RECEIVER"
send = ["sr"]
[destination.tls]
ca = "{authority.ca}"
certificate = "{ours.certificate}"
key = "{ours.key}"
[[destination]]
name = "ris"
kind = "hl7"
address = "127.0.0.1:{ris.port}"
send = ["result", "priority"]
application = "RIS"
[[destination]]
name = "hook"
kind = "webhook"
url = "{hook.url}/results"
secret = "{SECRET}"
""",
        )
        stack.enter_context(running(daemon))
        storescu(daemon.port, files)
        study = daemon.wait_for(str(source.StudyInstanceUID), "reported", "not_analysed", "failed")
        yield Hospital(archive=archive, folders=folders, ris=ris, hook=hook, daemon=daemon, study=study, source=source)
        assert daemon.stop() == 0


def restricted(folder: Path, kind: ObjectKind) -> tuple[str, ...]:
    """Options of a storescp that takes one kind alone."""
    folder.mkdir()
    return restricted_to([SOP_CLASSES[kind]], folder)


def test_every_destination_has_its_receipt(hospital: Hospital) -> None:
    assert hospital.study["state"] == "reported", hospital.study
    proofs = {each["destination"]: each["proof"] for each in hospital.study["deliveries"]}
    assert proofs == {
        "archive": "committed",
        "web-archive": "read_back",
        "comprehensive-only": "sent",
        "pictures-only": "sent",
        "secured": "sent",
        "ris": "sent",
        "hook": "sent",
    }


def test_an_archive_holds_every_kind_once(hospital: Hospital) -> None:
    receipt = hospital.delivery("archive")
    objects = hospital.archive.instances(StudyInstanceUID=str(hospital.source.StudyInstanceUID))
    assert sorted(str(each.SOPInstanceUID) for each in objects) == sorted(receipt["sop_instance_uids"])
    classes = {str(each.SOPClassUID) for each in objects}
    assert classes == {SOP_CLASSES[kind] for kind in map(ObjectKind, ("sr", "ko", "sc", "parametric", "gsps"))}
    assert receipt["left_out"] == []
    assert {str(each.PatientID) for each in objects} == {str(hospital.source.PatientID)}


def test_two_ways_into_one_archive_bring_the_same_bytes(hospital: Hospital) -> None:
    by_stow = set(hospital.delivery("web-archive")["sop_instance_uids"])
    assert by_stow < set(hospital.delivery("archive")["sop_instance_uids"])


def test_a_peer_of_an_older_standard_gets_the_same_report_on_its_rung(hospital: Hospital) -> None:
    (report,) = hospital.received("comprehensive-only")
    assert report.SOPClassUID == SOP_CLASSES[ObjectKind.SR_COMPREHENSIVE]
    assert deviations(report) == []
    assert read_report(report).triage == "urgent"
    receipt = hospital.delivery("comprehensive-only")
    assert receipt["sop_class_uid"] == report.SOPClassUID
    assert receipt["left_out"] == ["ko", "sc"]


def test_a_peer_of_pictures_alone_gets_the_page(hospital: Hospital) -> None:
    (page,) = hospital.received("pictures-only")
    assert (page.SOPClassUID, page.BurnedInAnnotation) == (SOP_CLASSES[ObjectKind.SC], "YES")
    assert (page.Columns, page.PhotometricInterpretation) == (1024, "RGB")


def test_a_peer_behind_tls_gets_it_with_both_certificates(hospital: Hospital) -> None:
    (report,) = hospital.received("secured")
    assert report.SOPClassUID == SOP_CLASSES[ObjectKind.SR]


def test_the_ris_gets_the_result_and_the_wish_to_read_it_first(hospital: Hospital) -> None:
    messages = [hl7.parse(message.decode()) for message in hospital.ris.messages]
    assert [str(message.segment("MSH")[9]) for message in messages] == ["ORU^R01^ORU_R01", "ORM^O01^ORM_O01"]
    assert all(str(message.segment("MSH")[5]) == "RIS" for message in messages)
    assert str(hospital.source.StudyInstanceUID) in str(messages[0])


def test_a_webhook_that_fails_three_times_gets_one_body_signed_each_time(hospital: Hospital) -> None:
    requests = hospital.hook.requests
    assert len(requests) == FAILURES + 1
    assert len({request.body for request in requests}) == 1
    assert len({request.headers["x-ichd-delivery"] for request in requests}) == 1
    for request in requests:
        stamp = request.headers["x-ichd-timestamp"]
        signature, sent_at = request.headers["x-ichd-signature"], datetime.fromtimestamp(int(stamp), UTC)
        assert verify(request.body, timestamp=stamp, signature=signature, secret=SECRET, now=sent_at)
    said = json.loads(requests[0].body)
    assert (said["study_uid"], said["triage"]) == (str(hospital.source.StudyInstanceUID), "urgent")
    for value in (hospital.source.PatientID, hospital.source.PatientName, hospital.source.AccessionNumber):
        assert str(value).encode() not in requests[0].body
