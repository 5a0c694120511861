"""A finding as plain data and back, through JSON as the database keeps it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichd.domain.finding import (
    CLASSES,
    ModelIdentity,
    Prediction,
    ReadingRule,
    SlicePrediction,
    Threshold,
    conclude,
)
from ichd.domain.note import MEANINGS, Note, Remark
from ichd.domain.reason import Reason
from ichd.domain.record import finding_of, notes_of, record_of, skipped_of, unread_record
from ichd.domain.study import SkippedSeries, StudyState

UIDS = st.from_regex(r"[1-9][0-9]{0,8}(\.[1-9][0-9]{0,8}){1,5}", fullmatch=True)
THRESHOLDS = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(
    lambda pair: Threshold(present_from=max(pair), absent_below=min(pair))
)
SLICES = st.builds(
    SlicePrediction,
    sop_instance_uid=UIDS,
    sop_class_uid=UIDS,
    z_mm=st.floats(-2000, 2000),
    probabilities=st.tuples(*[st.floats(0, 1)] * len(CLASSES)),
    frame_number=st.none() | st.integers(1, 400),
)
NOTES = st.builds(Note, remark=st.sampled_from(list(Remark)), detail=st.text(), unseen=st.booleans())
HASHES = st.integers(0, 2**256 - 1).map("{:064x}".format)
PREDICTIONS = st.builds(
    Prediction,
    study_instance_uid=UIDS,
    series_instance_uid=UIDS,
    model=st.builds(
        ModelIdentity,
        name=st.text(),
        version=st.text(),
        weights_sha256=HASHES,
        bundle_sha256=HASHES,
        statement=st.text(),
        demonstration=st.booleans(),
    ),
    slices=st.lists(SLICES, min_size=1, max_size=5).map(tuple),
    notes=st.lists(NOTES, max_size=3).map(tuple),
    timings_ms=st.dictionaries(st.text(), st.floats(0, 1e6)),
)
RULES = st.builds(
    ReadingRule,
    thresholds=st.dictionaries(st.sampled_from(CLASSES), THRESHOLDS),
    max_key_slices=st.integers(1, 5),
)
SKIPPED = st.builds(SkippedSeries, series_instance_uid=UIDS, reason=st.sampled_from(list(Reason)), detail=st.text())

#: What interface.md promises to readers of `ichd predict --json` and of the API.
PROMISED = {
    "study_uid",
    "series_uid",
    "state",
    "model",
    "classes",
    "scan",
    "slices",
    "triage",
    "skipped_series",
    "timings_ms",
}


@given(PREDICTIONS, RULES, st.lists(SKIPPED, max_size=3))
def test_a_finding_comes_back_to_the_last_bit(
    prediction: Prediction, rule: ReadingRule, skipped: list[SkippedSeries]
) -> None:
    finding = conclude(prediction, rule)
    record = record_of(finding, rule=rule, state=StudyState.ANALYSING, skipped=skipped, software_version="1")
    kept = json.loads(json.dumps(record, allow_nan=False))
    assert kept == record, "JSON types only"
    assert finding_of(kept) == finding
    assert skipped_of(kept) == tuple(skipped)


@given(PREDICTIONS, RULES)
def test_a_record_has_the_promised_shape(prediction: Prediction, rule: ReadingRule) -> None:
    record = record_of(
        conclude(prediction, rule), rule=rule, state=StudyState.REPORTED, skipped=(), software_version="1"
    )
    assert record.keys() >= PROMISED
    assert record["classes"] == list(CLASSES)
    assert list(record["scan"]) == list(CLASSES)
    assert record["state"] == "reported"
    assert record["model"].keys() >= {"name", "version", "weights_sha256"}
    for kept, said in zip(record["slices"], prediction.slices, strict=True):
        assert (kept["sop_uid"], kept["z_mm"]) == (said.sop_instance_uid, said.z_mm)
        assert tuple(kept["p"].values()) == said.probabilities


def test_a_study_that_was_not_read_has_the_same_shape_and_a_reason() -> None:
    skipped = SkippedSeries(series_instance_uid="1.2.3", reason=Reason.LOCALIZER, detail="1 of 1 images")
    record = unread_record(
        study_uid="1.2",
        series_uid=None,
        state=StudyState.NOT_ANALYSED,
        reason=Reason.NO_READABLE_SERIES,
        detail="1 series",
        software_version="1",
        skipped=[skipped],
    )
    assert json.loads(json.dumps(record)) == record
    assert record.keys() >= PROMISED
    assert (record["state"], record["reason"]) == ("not_analysed", "no_readable_series")
    assert record["skipped_series"] == [{"series_uid": "1.2.3", "reason": "localizer", "detail": "1 of 1 images"}]
    assert (record["scan"], record["triage"], record["model"]) == (None, None, None)


def test_what_is_not_our_record_is_no_finding() -> None:
    with pytest.raises(KeyError):
        finding_of({})


def test_a_record_from_before_notes_had_codes_keeps_its_sentences() -> None:
    (note,) = notes_of({"notes": ["the slices are tilted by 12.0 degrees against axial"]})
    assert (note.remark, str(note)) == (Remark.UNCODED, "the slices are tilted by 12.0 degrees against axial")


def test_every_remark_has_a_meaning_of_its_own() -> None:
    assert set(MEANINGS) == set(Remark)
    assert len(set(MEANINGS.values())) == len(Remark)
