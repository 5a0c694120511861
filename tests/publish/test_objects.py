"""Every kind of Structured Report, the short one too, and the key objects, kept by a PACS as they were sent."""

from io import BytesIO

from pydicom import Dataset, dcmread

from ichd.domain.reason import Reason
from ichd.publish.dimse import DimsePeer, deliver
from ichd.report.document import encode
from ichd.report.keys import build_key_objects
from ichd.report.sr import RUNGS, build_report
from ichd.report.template import deviations
from ichd.report.unread import Unread, build_unread
from tests.peers.orthanc import Orthanc
from tests.report.findings import CONTEXT, CREATED_AT, STUDY_UID, bleeding, header


def objects() -> list[Dataset]:
    unread = Unread(study_instance_uid=STUDY_UID, reason=Reason.NOT_A_HEAD)
    return [
        *(build_report(bleeding(), [header()], CONTEXT, kind) for kind in RUNGS),
        *(build_unread(unread, [header()], CONTEXT, kind) for kind in RUNGS),
        build_key_objects(bleeding(), [header()], CONTEXT),
    ]


def test_orthanc_keeps_each_as_it_was_sent(orthanc: Orthanc) -> None:
    sent = objects()
    peer = DimsePeer(name="pacs", host="127.0.0.1", port=orthanc.dicom_port, ae_title=orthanc.ae_title)
    deliver(peer, sent, now=CREATED_AT)
    stored = {each.SOPInstanceUID: each for each in orthanc.instances(StudyInstanceUID=STUDY_UID)}
    assert len(stored) == len(sent)
    for each in sent:
        kept = stored[each.SOPInstanceUID]
        assert kept.to_json_dict() == dcmread(BytesIO(encode(each))).to_json_dict()
        if kept.Modality == "SR":
            assert deviations(kept) == []
