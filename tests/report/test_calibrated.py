"""A finding whose scans are calibrated, in every form that people and programs meet."""

import json
from io import BytesIO

import pytest
from pydicom import dcmread

from ichd.domain.delivery import ObjectKind
from ichd.domain.finding import CLASSES, Finding, ReadingRule, conclude
from ichd.domain.record import finding_of, record_of
from ichd.domain.scan_calibration import ScanCalibration
from ichd.domain.wording import meaning_of_probabilities
from ichd.report.document import encode
from ichd.report.readable import read_report
from ichd.report.sr import build_report
from ichd.report.template import deviations
from tests.report.findings import CONTEXT, bleeding, header, healthy

CALIBRATION = ScanCalibration(growth=0.4, scale=0.8, bias=-1.0, scans=412, patients=398, prevalence=0.34)
RULE = ReadingRule(scan_calibrations=dict.fromkeys(CLASSES, CALIBRATION))


@pytest.mark.parametrize("kind", [ObjectKind.SR, ObjectKind.SR_COMPREHENSIVE, ObjectKind.SR_ENHANCED])
@pytest.mark.parametrize("uncalibrated", [bleeding(), healthy()], ids=["bleeding", "healthy"])
def test_the_report_says_both_and_what_they_mean(uncalibrated: Finding, kind: ObjectKind) -> None:
    finding = conclude(uncalibrated.prediction, RULE)
    dataset = dcmread(BytesIO(encode(build_report(finding, [header()], CONTEXT, kind))))
    report = read_report(dataset)
    assert [c.probability for c in report.classes] == pytest.approx([c.probability for c in finding.classes], rel=1e-14)
    assert [c.highest_slice for c in report.classes] == pytest.approx(
        [c.highest_slice for c in finding.classes], rel=1e-14
    )
    assert meaning_of_probabilities(finding) in report.comments
    assert "412 scans of 398 patients, 34 % with haemorrhage" in meaning_of_probabilities(finding)
    assert deviations(dataset) == []


def test_a_record_brings_the_calibration_back() -> None:
    finding = conclude(bleeding().prediction, RULE)
    record = record_of(finding, rule=RULE, state="reported", skipped=(), software_version="1")
    kept = json.loads(json.dumps(record, allow_nan=False))
    assert finding_of(kept) == finding
    assert kept["scan_calibration"]["any"]["method"] == "platt"
    assert kept["probability_means"] == meaning_of_probabilities(finding)


def test_a_record_of_before_is_read_as_it_was_meant() -> None:
    finding = bleeding()
    rule = ReadingRule(thresholds={c.name: c.threshold for c in finding.classes})
    record = record_of(finding, rule=rule, state="reported", skipped=(), software_version="1")
    for key in ("highest_slice", "scan_calibration", "probability_means"):
        del record[key]
    assert finding_of(record) == finding
