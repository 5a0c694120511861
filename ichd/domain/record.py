"""A finding as plain data: what the database keeps, what `ichd predict --json` and the API print.

The shape is the one that interface.md promises; `finding_of` reads it back without loss, so that a report built from
the database equals one built on the spot.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ichd.domain.finding import (
    CLASSES,
    Finding,
    ModelIdentity,
    Prediction,
    ReadingRule,
    SlicePrediction,
    Threshold,
    conclude,
)
from ichd.domain.note import Note, Remark
from ichd.domain.reason import Reason
from ichd.domain.scan_calibration import ScanCalibration
from ichd.domain.selection import Ranked
from ichd.domain.study import SkippedSeries
from ichd.domain.wording import meaning_of_probabilities

Record = dict[str, Any]


def record_of(
    finding: Finding,
    *,
    rule: ReadingRule,
    state: str,
    skipped: Sequence[SkippedSeries],
    software_version: str,
    ranking: Sequence[Ranked] = (),
) -> Record:
    """The finding in the shape of interface.md, JSON types only; probabilities in full double precision."""
    prediction = finding.prediction
    model = prediction.model
    return {
        "study_uid": prediction.study_instance_uid,
        "series_uid": prediction.series_instance_uid,
        "state": str(state),
        "software_version": software_version,
        "model": {
            "name": model.name,
            "version": model.version,
            "weights_sha256": model.weights_sha256,
            "bundle_sha256": model.bundle_sha256,
            "statement": model.statement,
            "demonstration": model.demonstration,
        },
        "classes": list(CLASSES),
        "scan": finding.scan,
        "highest_slice": {c.name: c.highest_slice for c in finding.classes},
        "presence": {c.name: str(c.presence) for c in finding.classes},
        "slices": [
            {
                "sop_uid": s.sop_instance_uid,
                "sop_class_uid": s.sop_class_uid,
                "z_mm": s.z_mm,
                "p": dict(zip(CLASSES, s.probabilities, strict=True)),
                **({} if s.frame_number is None else {"frame": s.frame_number}),
            }
            for s in prediction.slices
        ],
        "triage": str(finding.triage),
        "thresholds": {
            c.name: {"present_from": c.threshold.present_from, "absent_below": c.threshold.absent_below}
            for c in finding.classes
        },
        "scan_calibration": {
            c.name: _calibration_record(c.calibration) for c in finding.classes if c.calibration is not None
        },
        "probability_means": meaning_of_probabilities(finding),
        "max_key_slices": rule.max_key_slices,
        "notes": [str(note) for note in prediction.notes],
        "remarks": [
            {"code": str(note.remark), "detail": note.detail, "unseen": note.unseen} for note in prediction.notes
        ],
        "skipped_series": [skipped_record(s) for s in skipped],
        "series_ranking": [ranked_record(r) for r in ranking],
        "timings_ms": dict(prediction.timings_ms),
    }


def unread_record(
    *,
    study_uid: str,
    series_uid: str | None,
    state: str,
    reason: str,
    detail: str,
    skipped: Sequence[SkippedSeries],
    software_version: str,
    ranking: Sequence[Ranked] = (),
) -> Record:
    """The same shape for a study or series that was not read: no scores, a coded reason instead."""
    return {
        "study_uid": study_uid,
        "series_uid": series_uid,
        "state": str(state),
        "reason": reason,
        "detail": detail,
        "software_version": software_version,
        "model": None,
        "classes": list(CLASSES),
        "scan": None,
        "slices": [],
        "triage": None,
        "notes": [],
        "remarks": [],
        "skipped_series": [skipped_record(s) for s in skipped],
        "series_ranking": [ranked_record(r) for r in ranking],
        "timings_ms": {},
    }


def skipped_record(skipped: SkippedSeries) -> Record:
    """A series that was not read, as interface.md shows it."""
    return {"series_uid": skipped.series_instance_uid, "reason": str(skipped.reason), "detail": skipped.detail}


def ranked_record(ranked: Ranked) -> Record:
    """One line of the ranking: a stack with its account, and why it was not read."""
    refusal = ranked.refusal
    return {
        "series_uid": ranked.series_instance_uid,
        "stack": ranked.stack,
        "rank": ranked.rank,
        "read": ranked.read,
        "score": round(ranked.score.total, 3),
        "criteria": {c.name: {"value": c.value, "points": round(c.points, 3)} for c in ranked.score.criteria},
        "reason": refusal and str(refusal.reason),
        "detail": refusal.detail if refusal else "",
    }


def skipped_of(record: Mapping[str, Any]) -> tuple[SkippedSeries, ...]:
    """The series that the record lists as not read."""
    return tuple(
        SkippedSeries(series_instance_uid=s["series_uid"], reason=Reason(s["reason"]), detail=s["detail"])
        for s in record["skipped_series"]
    )


def _calibration_record(calibration: ScanCalibration) -> Record:
    return {"method": calibration.method, **asdict(calibration), "knots": [list(knot) for knot in calibration.knots]}


def _calibration_of(record: Mapping[str, Any]) -> ScanCalibration:
    told = {key: value for key, value in record.items() if key != "method"}
    return ScanCalibration(**{**told, "knots": tuple((score, p) for score, p in record["knots"])})


def notes_of(record: Mapping[str, Any]) -> tuple[Note, ...]:
    """The coded notes of a record; one that was written before notes had codes gives its sentences."""
    if "remarks" not in record:
        return tuple(Note(remark=Remark.UNCODED, detail=sentence) for sentence in record["notes"])
    return tuple(
        Note(remark=Remark(n["code"]), detail=n["detail"], unseen=n.get("unseen", False)) for n in record["remarks"]
    )


def finding_of(record: Mapping[str, Any]) -> Finding:
    """The finding that `record_of` was given.

    Raises:
        KeyError: the record is not one of ours.
    """
    model = record["model"]
    rule = ReadingRule(
        thresholds={name: Threshold(**t) for name, t in record["thresholds"].items()},
        # A record from before scans were calibrated has none.
        scan_calibrations={name: _calibration_of(c) for name, c in record.get("scan_calibration", {}).items()},
        max_key_slices=record["max_key_slices"],
    )
    prediction = Prediction(
        study_instance_uid=record["study_uid"],
        series_instance_uid=record["series_uid"],
        model=ModelIdentity(
            name=model["name"],
            version=model["version"],
            weights_sha256=model["weights_sha256"],
            bundle_sha256=model["bundle_sha256"],
            statement=model["statement"],
            demonstration=model["demonstration"],
        ),
        slices=tuple(
            SlicePrediction(
                sop_instance_uid=s["sop_uid"],
                sop_class_uid=s["sop_class_uid"],
                z_mm=s["z_mm"],
                probabilities=tuple(s["p"][name] for name in CLASSES),
                frame_number=s.get("frame"),
            )
            for s in record["slices"]
        ),
        notes=notes_of(record),
        timings_ms=record["timings_ms"],
    )
    return conclude(prediction, rule)
