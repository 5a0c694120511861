"""Every object, from every kind of source, before judges that are not ours."""

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from ichd.domain.delivery import ObjectKind
from ichd.domain.finding import Finding
from ichd.domain.note import Note, Remark
from ichd.domain.reason import Reason
from ichd.domain.study import SkippedSeries
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.report.document import ReportContext, encode
from ichd.report.identity import Edition
from ichd.report.keys import build_key_objects
from ichd.report.sr import RUNGS, build_report
from ichd.report.template import deviations
from ichd.report.unread import Unread, build_unread
from tests.report.findings import CONTEXT, STUDY_UID, bleeding, header, healthy, retold
from tests.report.validators import complaints, dsrdump

IOD = {
    ObjectKind.SR: "Comprehensive3DSR",
    ObjectKind.SR_COMPREHENSIVE: "ComprehensiveSR",
    ObjectKind.SR_ENHANCED: "EnhancedSR",
    ObjectKind.KO: "KeyObjectSelectionDocument",
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A finding with the header of an image that it is on."""

    finding: Finding
    source: Dataset
    context: ReportContext = CONTEXT


def _told_much() -> Case:
    """Notes, skipped series and a predecessor: every item that a report can have."""
    finding = bleeding(36)
    notes = tuple(Note(remark=remark, detail="3 of 36 slices") for remark in Remark)
    skipped = [SkippedSeries(series_instance_uid=f"2.25.{n}", reason=r, detail="x") for n, r in enumerate(Reason)]
    return Case(
        finding=dataclasses.replace(finding, prediction=dataclasses.replace(finding.prediction, notes=notes)),
        source=header(),
        context=dataclasses.replace(
            CONTEXT, revision=2, skipped=skipped, predecessor=Edition(study_instance_uid=STUDY_UID, revision=1)
        ),
    )


@pytest.fixture(scope="module")
def phantom_header(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    files = write_series(
        render(PhantomRecipe(seed=21, slices=3, rows=64, voxel_mm=4.0)), tmp_path_factory.mktemp("phantom")
    )
    return dcmread(files[1], stop_before_pixels=True)


@pytest.fixture(
    params=["careful", "healthy", "multi-frame", "told much", "phantom", "real", "bare"],
)
def case(request: pytest.FixtureRequest) -> Case:
    match request.param:
        case "careful":
            return Case(finding=bleeding(), source=header())
        case "healthy":
            return Case(finding=healthy(), source=header())
        case "multi-frame":
            return Case(finding=bleeding(multi_frame=True), source=header())
        case "told much":
            return _told_much()
        case "phantom":
            source = request.getfixturevalue("phantom_header")
            return Case(finding=retold(bleeding(), source), source=source)
        case "real":
            if "ICHD_TEST_DATA" not in os.environ:
                pytest.skip("ICHD_TEST_DATA is not set")
            source = dcmread(Path(os.environ["ICHD_TEST_DATA"]) / "head-ct-ge" / "01.dcm", stop_before_pixels=True)
            return Case(finding=retold(bleeding(28), source), source=source)
        case _:
            source = Dataset()
            source.StudyInstanceUID = STUDY_UID
            return Case(finding=bleeding(), source=source)


def _unread(case: Case, kind: ObjectKind) -> Dataset:
    unread = Unread(
        study_instance_uid=str(case.source.StudyInstanceUID), reason=Reason.UNSUPPORTED_TRANSFER_SYNTAX, detail="4 of 4"
    )
    return build_unread(unread, [case.source], case.context, kind)


def _report(case: Case, kind: ObjectKind) -> Dataset:
    return build_report(case.finding, [case.source], case.context, kind)


def _keys(case: Case, kind: ObjectKind) -> Dataset:
    assert kind is ObjectKind.KO
    return build_key_objects(case.finding, [case.source], case.context)


OBJECTS = [
    *(pytest.param(_report, kind, id=kind) for kind in RUNGS),
    *(pytest.param(_unread, kind, id=f"unread {kind}") for kind in RUNGS),
    pytest.param(_keys, ObjectKind.KO, id=ObjectKind.KO),
]
Build = Callable[[Case, ObjectKind], Dataset]


@pytest.mark.parametrize(("build", "kind"), OBJECTS)
def test_the_validator_finds_nothing(case: Case, build: Build, kind: ObjectKind, tmp_path: Path) -> None:
    assert complaints(build(case, kind), tmp_path, iod=IOD[kind]) == []


@pytest.mark.parametrize(("build", "kind"), OBJECTS)
def test_dcmtk_reads_the_tree(case: Case, build: Build, kind: ObjectKind, tmp_path: Path) -> None:
    assert "CONTAINER:" in dsrdump(build(case, kind), tmp_path)


@pytest.mark.parametrize(("build", "kind"), OBJECTS)
def test_equal_arguments_give_equal_bytes(case: Case, build: Build, kind: ObjectKind) -> None:
    assert encode(build(case, kind)) == encode(build(case, kind))


@pytest.mark.parametrize(("build", "kind"), [each for each in OBJECTS if each.values[0] is not _keys])
def test_a_report_follows_its_template(case: Case, build: Build, kind: ObjectKind) -> None:
    assert deviations(build(case, kind)) == []


@pytest.mark.parametrize(("build", "kind"), OBJECTS)
def test_no_code_meaning_or_text_is_longer_than_its_attribute(case: Case, build: Build, kind: ObjectKind) -> None:
    """A Code Meaning has 64 characters, a Code Value 16 (PS3.5 table 6.2-1)."""
    for element in build(case, kind).iterall():
        limit = {"CodeMeaning": 64, "CodeValue": 16, "SeriesDescription": 64}.get(element.keyword)
        assert limit is None or len(str(element.value)) <= limit, element.keyword
