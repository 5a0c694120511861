"""What a webhook is told, and what it is not."""

import json
from datetime import UTC
from pathlib import Path

import pytest

from ichd.domain.delivery import ObjectKind, Outgoing
from ichd.domain.errors import Permanent
from ichd.domain.finding import CLASSES, ReadingRule
from ichd.domain.note import Note, Remark
from ichd.domain.reason import Reason
from ichd.domain.record import Record, record_of, unread_record
from ichd.domain.study import SkippedSeries
from ichd.report.webhook_body import build_json
from tests.report.findings import CREATED_AT, STUDY_UID, bleeding, header

#: Stand where an attribute of the image was repeated.
MARK = "ZZYZX"
REPORT = Outgoing(
    kind=ObjectKind.SR, sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34", sop_instance_uid="2.25.7", path=Path("x")
)
MESSAGE = Outgoing(kind=ObjectKind.RESULT, sop_class_uid="", sop_instance_uid="CONTROLID", path=Path("y"))


def record() -> Record:
    finding = bleeding()
    made = record_of(
        finding,
        rule=ReadingRule(),
        state="reported",
        skipped=[SkippedSeries(series_instance_uid="2.25.5", reason=Reason.DERIVED_SECONDARY, detail=MARK)],
        software_version="0.1.0",
    )
    made["remarks"] = [{"code": "sharp_kernel", "detail": MARK, "unseen": False}]
    made["notes"] = [str(Note(remark=Remark.SHARP_KERNEL, detail=MARK))]
    made["series_ranking"] = [{"series_uid": "2.25.5", "criteria": {"kernel": {"value": MARK, "points": 1}}}]
    made["something_new"] = MARK
    return made


def body(*, identified: bool = False) -> bytes:
    return build_json(
        record(),
        revision=2,
        created_at=CREATED_AT,
        sources=[header()],
        identified=identified,
        objects=[REPORT, MESSAGE],
    )


def test_it_has_the_promised_shape() -> None:
    said = json.loads(body())
    assert said["study_uid"] == STUDY_UID
    assert said["classes"] == list(CLASSES)
    assert said["scan"]["any"] == pytest.approx(0.97)
    assert (said["triage"], said["model"]["demonstration"]) == ("urgent", True)
    assert said["slices"][0]["p"].keys() == set(CLASSES)
    assert said["skipped_series"] == [{"series_uid": "2.25.5", "reason": "derived_secondary", "detail": ""}]
    assert said["remarks"] == [{"code": "sharp_kernel", "detail": "", "unseen": False}]
    assert (said["revision"], said["created_at"]) == (2, CREATED_AT.astimezone(UTC).isoformat())
    assert said["reports"] == [{"kind": "sr", "sop_class_uid": REPORT.sop_class_uid, "sop_uid": "2.25.7"}]


def test_without_leave_nothing_in_it_was_typed_into_a_scanner() -> None:
    said = body()
    for value in (MARK, "A-1234", "P-42", "Jörg", "19500102", "Schädel"):
        assert value.encode() not in said


def test_with_leave_it_says_who_the_patient_is() -> None:
    said = json.loads(body(identified=True))
    assert said["accession_number"] == "A-1234"
    assert said["patient"] == {
        "id": "P-42",
        "issuer": "",
        "name": "Müller^Jörg",
        "birth_date": "19500102",
        "sex": "M",
    }
    assert said["skipped_series"][0]["detail"] == MARK


def test_equal_results_are_equal_bytes() -> None:
    assert body() == body()
    keys = list(json.loads(body()))
    assert keys == sorted(keys)


def test_a_study_that_was_not_read_has_its_code() -> None:
    unread = unread_record(
        study_uid=STUDY_UID,
        series_uid=None,
        state="not_analysed",
        reason=Reason.NO_READABLE_SERIES,
        detail=MARK,
        skipped=(),
        software_version="1",
    )
    said = json.loads(build_json(unread, revision=1, created_at=CREATED_AT, sources=(), identified=False))
    assert (said["reason"], said["detail"], said["scan"], said["reports"]) == ("no_readable_series", "", None, [])


def test_a_patient_of_whom_there_is_no_image_is_not_invented() -> None:
    with pytest.raises(Permanent) as error:
        build_json(record(), revision=1, created_at=CREATED_AT, sources=(), identified=True)
    assert error.value.reason is Reason.REPORT_INVALID
