"""Who made a result: the algorithm and, of pictures, the scanner, in the Contributing Equipment Sequence."""

import dataclasses
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from highdicom.base_content import ContributingEquipment
from pydicom import Dataset, dcmread
from pydicom.uid import UID

from ichd.domain.delivery import ObjectKind
from ichd.domain.finding import Finding
from ichd.domain.reason import Reason
from ichd.report import codes
from ichd.report.capture import build_heat_captures, build_summary
from ichd.report.document import encode
from ichd.report.keys import build_key_objects
from ichd.report.parametric import build_parametric_map
from ichd.report.readable import read_report
from ichd.report.sr import RUNGS, build_report
from ichd.report.summary import draw_summary
from ichd.report.unread import Unread, build_unread
from tests.report import judges
from tests.report.drawn import heat_fields, heat_pictures, pictures
from tests.report.findings import CONTEXT, MODEL, SERIES_UID, STUDY_UID, bleeding, header
from tests.report.test_presentation import state
from tests.report.validators import complaints

Build = Callable[[Finding, Dataset], Dataset]


def _summary(finding: Finding, source: Dataset) -> Dataset:
    return build_summary(draw_summary(finding, pictures(finding), CONTEXT), finding, [source], CONTEXT)


def _heat(finding: Finding, source: Dataset) -> Dataset:
    return build_heat_captures(heat_pictures(finding), finding, [source], CONTEXT)[0]


def _report(kind: ObjectKind) -> Build:
    return lambda finding, source: build_report(finding, [source], CONTEXT, kind)


DOCUMENTS: dict[str, Build] = {
    **{str(kind): _report(kind) for kind in RUNGS},
    "ko": lambda finding, source: build_key_objects(finding, [source], CONTEXT),
    "gsps": state,
}
PICTURES: dict[str, Build] = {
    "sc": _summary,
    "heat": _heat,
    "parametric": lambda f, source: build_parametric_map(heat_fields(f), f, [source], CONTEXT),
}


def contributors(built: Dataset) -> list[Dataset]:
    """As a receiver has them: written, and read again."""
    read = dcmread(BytesIO(encode(built)), stop_before_pixels=True)
    return list(read.get("ContributingEquipmentSequence") or ())


def scanner() -> Dataset:
    source = header()
    source.ManufacturerModelName, source.StationName = "Röhre 64", "CT-A"
    source.DeviceSerialNumber, source.SoftwareVersions = "SN-7", ["5.1", "5.2"]
    source.OperatorsName, source.InstitutionAddress = "Nurse^Nadja", "Street 1"
    return source


@pytest.mark.parametrize("name", [*DOCUMENTS, *PICTURES])
def test_the_algorithm_is_named_in_each_object(name: str) -> None:
    algorithm = contributors({**DOCUMENTS, **PICTURES}[name](bleeding(), scanner()))[-1]
    assert _purpose(algorithm) == ("109102", "DCM", "Processing Equipment")
    assert (algorithm.Manufacturer, algorithm.ManufacturerModelName) == ("ichd", MODEL.name)
    assert list(algorithm.SoftwareVersions) == [MODEL.version, "ichd 0.1.0"]
    assert algorithm.DeviceSerialNumber == MODEL.weights_sha256[:16]
    assert UID(algorithm.DeviceUID).is_valid
    assert "hemorrhage" in algorithm.ContributionDescription


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_names_nothing_else(name: str) -> None:
    assert len(contributors(DOCUMENTS[name](bleeding(), scanner()))) == 1


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_names_the_scanner_but_nobody_who_ran_it(name: str) -> None:
    acquisition, _ = contributors(PICTURES[name](bleeding(), scanner()))
    assert _purpose(acquisition) == ("109101", "DCM", "Acquisition Equipment")
    assert (acquisition.Manufacturer, acquisition.StationName) == ("Scanner & Sons", "CT-A")
    assert acquisition.ManufacturerModelName == "R?hre 64"
    assert (acquisition.DeviceSerialNumber, list(acquisition.SoftwareVersions)) == ("SN-7", ["5.1", "5.2"])
    assert not {"OperatorsName", "InstitutionAddress", "InstitutionName"} & set(acquisition.dir())


@pytest.mark.parametrize("spoil", ["another series", "no maker", "a number for a maker"])
def test_a_scanner_that_is_not_known_is_not_made_up(spoil: str) -> None:
    source = scanner()
    if spoil == "another series":
        source.SeriesInstanceUID = f"{SERIES_UID}.9"
    else:
        source.Manufacturer = "" if spoil == "no maker" else None
    assert [_purpose(item)[0] for item in contributors(_summary(bleeding(), source))] == ["109102"]


def test_other_thresholds_are_another_device_with_the_same_weights() -> None:
    other = dataclasses.replace(MODEL, bundle_sha256="0" * 64)
    first, second = (contributors(DOCUMENTS["ko"](bleeding(model=m), header()))[0] for m in (MODEL, other))
    assert first.DeviceUID != second.DeviceUID
    assert first.DeviceSerialNumber == second.DeviceSerialNumber


def test_where_no_model_read_none_is_named() -> None:
    unread = Unread(study_instance_uid=STUDY_UID, reason=Reason.UNSUPPORTED_TRANSFER_SYNTAX, detail="")
    assert contributors(build_unread(unread, [scanner()], CONTEXT)) == []


def test_the_item_agrees_with_the_algorithm_of_the_content() -> None:
    report = build_report(bleeding(), [scanner()], CONTEXT)
    model, algorithm = read_report(report).model, contributors(report)[0]
    assert (model.name, model.version) == (algorithm.ManufacturerModelName, algorithm.SoftwareVersions[0])


def test_highdicom_makes_the_same_of_it() -> None:
    """But for the Device UID, of which it knows none."""
    ours = contributors(build_report(bleeding(), [scanner()], CONTEXT))[0]
    theirs = ContributingEquipment(
        manufacturer=ours.Manufacturer,
        purpose_of_reference=codes.PROCESSING_EQUIPMENT,
        manufacturer_model_name=ours.ManufacturerModelName,
        software_versions=list(ours.SoftwareVersions),
        device_serial_number=ours.DeviceSerialNumber,
        contribution_description=ours.ContributionDescription,
    )
    del ours.DeviceUID
    assert ours.to_json() == theirs.to_json()


def test_the_validator_finds_nothing_beside_a_scanner(tmp_path: Path) -> None:
    iods = {"sr": "Comprehensive3DSR", "ko": "KeyObjectSelectionDocument"}
    for name, iod in iods.items():
        assert complaints(DOCUMENTS[name](bleeding(), scanner()), tmp_path, iod=iod) == []
    for name, iod in {"sc": "SCImage", "parametric": "ParametricMap"}.items():
        assert judges.complaints(PICTURES[name](bleeding(), scanner()), tmp_path, iod=iod) == []


def _purpose(item: Dataset) -> tuple[str, str, str]:
    (code,) = item.PurposeOfReferenceCodeSequence
    return code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning
