"""A finding as the JSON that a webhook gets: interface.md's shape, with revision and the UIDs of the reports.

Without leave to identify, nothing that somebody typed into a scanner is passed on. Study, series and instance UIDs are
(they are what a receiver asks its PACS by), codes and numbers are; left out are patient, accession number, and the
words beside codes: the detail of a reason may repeat an Image Type or the name of a kernel, and the ranking of series
a contrast agent, and what stands in such an attribute is anybody's text.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydicom import Dataset

from ichd.domain.delivery import SOP_CLASSES, Outgoing
from ichd.domain.record import Record, notes_of
from ichd.domain.study import StudyState
from ichd.report.hl7_patient import order_of, person
from ichd.report.source import legible, source_of

#: Of one reading, that are passed on without leave to identify: codes, numbers, UIDs, and the words of the bundle.
_ANONYMOUS = (
    "study_uid",
    "series_uid",
    "state",
    "reason",
    "software_version",
    "model",
    "classes",
    "scan",
    "presence",
    "slices",
    "triage",
    "thresholds",
    "max_key_slices",
    "timings_ms",
)


def build_json(
    record: Record,
    *,
    revision: int,
    created_at: datetime,
    sources: Sequence[Dataset],
    identified: bool,
    objects: Sequence[Outgoing] = (),
) -> bytes:
    """The body (UTF-8, keys in order: equal arguments give equal bytes).

    `record` is that of a study that was read or was not (`ichd.domain.record`); `sources` are headers of its images,
    and not looked at unless `identified`; `objects` are what other destinations get about the revision.

    Raises:
        Permanent: REPORT_INVALID: the patient is to be named, and no source of this study is there.
    """
    shown = dict(record) if identified else _without_words(record)
    body = shown | {
        # The record was written before anybody was told.
        "state": str(StudyState.NOT_ANALYSED if record["scan"] is None else StudyState.REPORTED),
        "revision": revision,
        "created_at": created_at.isoformat(),
        "reports": [_report(each) for each in objects if each.kind in SOP_CLASSES],
    }
    if identified:
        source = legible(source_of(sources, record["study_uid"]))
        body |= {"accession_number": order_of(source).accession, "patient": person(source)}
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8")


def _report(each: Outgoing) -> dict[str, str]:
    return {"kind": str(each.kind), "sop_class_uid": each.sop_class_uid, "sop_uid": each.sop_instance_uid}


def _without_words(record: Mapping[str, Any]) -> Record:
    shown = {key: record[key] for key in _ANONYMOUS if key in record}
    notes = notes_of(record)
    return shown | {
        "detail": "",
        "skipped_series": [
            {"series_uid": each["series_uid"], "reason": each["reason"], "detail": ""}
            for each in record["skipped_series"]
        ],
        "notes": [note.remark.meaning for note in notes],
        "remarks": [{"code": str(note.remark), "detail": "", "unseen": note.unseen} for note in notes],
    }
