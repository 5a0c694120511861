"""The parametric map: valid, read by highdicom at its place in the patient, and nothing where no heat was made."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import highdicom
import numpy as np
import pytest
from pydicom import Dataset, dcmread

from ichd.domain.errors import Permanent
from ichd.domain.finding import Finding, ReadingRule, Threshold, conclude
from ichd.domain.reason import Reason
from ichd.report.document import encode
from ichd.report.key_image import HeatField
from ichd.report.parametric import HOTTEST, build_parametric_map
from tests.report.drawn import COLUMNS, ROWS, heat_fields
from tests.report.findings import CONTEXT, STUDY_UID, bleeding, header
from tests.report.judges import complaints, dumped


def several(*, multi_frame: bool = False) -> Finding:
    """Three key slices of subdural bleeding and of any, one of subarachnoid bleeding."""
    rule = ReadingRule(
        thresholds={
            "any": Threshold(present_from=0.3, absent_below=0.3),
            "subarachnoid": Threshold(present_from=0.7, absent_below=0.3),
            "subdural": Threshold(present_from=0.4, absent_below=0.4),
        }
    )
    return conclude(bleeding(multi_frame=multi_frame).prediction, rule)


def heat(finding: Finding, source: Dataset | None = None) -> Dataset:
    return build_parametric_map(heat_fields(finding), finding, [source or header()], CONTEXT)


def bare() -> Dataset:
    source = Dataset()
    source.StudyInstanceUID = STUDY_UID
    return source


@pytest.mark.parametrize(
    ("finding", "source"),
    [(several(), header()), (several(multi_frame=True), header()), (several(), bare())],
    ids=["slices", "multi-frame", "bare source"],
)
def test_the_validator_finds_nothing(finding: Finding, source: Dataset, tmp_path: Path) -> None:
    assert complaints(heat(finding, source), tmp_path, iod="ParametricMap") == []
    assert "ParametricMapStorage" in dumped(heat(finding, source), tmp_path)


def test_highdicom_reads_heat_of_0_to_1_on_the_slices() -> None:
    finding = several()
    read = highdicom.pm.ParametricMap.from_dataset(dcmread(BytesIO(encode(heat(finding)))))
    pairs = [(found.name, key) for found in finding.classes for key in found.key_slices]
    assert read.NumberOfFrames == len(pairs) == 7
    frames = read.get_frames(apply_real_world_transform=True)
    assert frames.shape == (7, ROWS, COLUMNS)
    assert frames[0] == pytest.approx(np.linspace(0, 1, ROWS * COLUMNS).reshape(ROWS, COLUMNS), abs=1 / HOTTEST)
    for number, groups in enumerate(read.PerFrameFunctionalGroupsSequence):
        label = groups.RealWorldValueMappingSequence[0].LUTLabel
        origin = groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        (key,) = [key for name, key in pairs if (name, key.sop_instance_uid) == (label, origin)]
        position = groups.PlanePositionSequence[0].ImagePositionPatient
        assert [float(v) for v in position] == [-12.0, -16.0, key.z_mm], number


def test_no_two_frames_have_the_same_dimension_values() -> None:
    values = [
        tuple(groups.FrameContentSequence[0].DimensionIndexValues)
        for groups in heat(several()).PerFrameFunctionalGroupsSequence
    ]
    assert len(set(values)) == len(values)
    assert values == sorted(values), "by class, then from inferior to superior"


def test_what_a_value_means_is_coded() -> None:
    mapping = heat(several()).PerFrameFunctionalGroupsSequence[-1].RealWorldValueMappingSequence[0]
    quantity, finding = mapping.QuantityDefinitionSequence
    assert quantity.ConceptCodeSequence[0].CodeValue == "relative-heat"
    assert finding.ConceptCodeSequence[0].CodeMeaning == "Subdural hemorrhage"
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "1"


def test_frames_of_the_source_are_named() -> None:
    written = heat(several(multi_frame=True))
    frames = {
        int(groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber)
        for groups in written.PerFrameFunctionalGroupsSequence
    }
    assert frames == {6, 7, 8}
    (series,) = written.ReferencedSeriesSequence
    assert len(series.ReferencedInstanceSequence) == 1


def test_building_again_gives_the_same_bytes() -> None:
    assert encode(heat(several())) == encode(heat(several()))


def small(field: HeatField) -> HeatField:
    return replace(field, heat_HW=field.heat_HW[:-2])


def lost(field: HeatField) -> HeatField:
    return replace(field, image=replace(field.image, frame_of_reference_uid=""))


@pytest.mark.parametrize(("spoil", "said"), [(small, "several sizes"), (lost, "Frame of Reference"), (None, "no heat")])
def test_what_can_not_be_mapped_says_why(spoil: object, said: str) -> None:
    fields = heat_fields(several())
    fields = [spoil(fields[0]), *fields[1:]] if callable(spoil) else []
    with pytest.raises(Permanent, match=said) as refused:
        build_parametric_map(fields, several(), [header()], CONTEXT)
    assert refused.value.reason is Reason.REPORT_INVALID
