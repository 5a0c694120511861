"""Every kind of Structured Report, the short one too, and the key objects, kept by a PACS as they were sent."""

from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmread

from ichd.domain.delivery import ObjectKind, Outgoing
from ichd.domain.reason import Reason
from ichd.publish.association import associated_with, in_all_syntaxes
from ichd.publish.cstore import store_file
from ichd.publish.peer import DimsePeer
from ichd.report.document import encode
from ichd.report.keys import build_key_objects
from ichd.report.sr import RUNGS, build_report
from ichd.report.template import deviations
from ichd.report.unread import Unread, build_unread
from tests.peers.orthanc import Orthanc
from tests.report.findings import CONTEXT, STUDY_UID, bleeding, header


def objects() -> list[Dataset]:
    unread = Unread(study_instance_uid=STUDY_UID, reason=Reason.NOT_A_HEAD)
    return [
        *(build_report(bleeding(), [header()], CONTEXT, kind) for kind in RUNGS),
        *(build_unread(unread, [header()], CONTEXT, kind) for kind in RUNGS),
        build_key_objects(bleeding(), [header()], CONTEXT),
    ]


def test_orthanc_keeps_each_as_it_was_sent(orthanc: Orthanc, tmp_path: Path) -> None:
    sent = objects()
    peer = DimsePeer(name="pacs", host="127.0.0.1", port=orthanc.dicom_port, ae_title=orthanc.ae_title)
    with associated_with(peer, in_all_syntaxes(list({str(each.SOPClassUID) for each in sent}))) as association:
        for each in sent:
            path = tmp_path / f"{each.SOPInstanceUID}.dcm"
            path.write_bytes(encode(each))
            outgoing = Outgoing(
                kind=ObjectKind.SR,
                sop_class_uid=str(each.SOPClassUID),
                sop_instance_uid=str(each.SOPInstanceUID),
                path=path,
            )
            assert store_file(peer, association, outgoing).status == 0x0000
    stored = {each.SOPInstanceUID: each for each in orthanc.instances(StudyInstanceUID=STUDY_UID)}
    for each in sent:
        kept = stored[each.SOPInstanceUID]
        assert kept.to_json_dict() == dcmread(BytesIO(encode(each))).to_json_dict()
        if kept.Modality == "SR":
            assert deviations(kept) == []
