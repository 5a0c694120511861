"""The template check finds what it is for: every kind of damage, at every item, is named where it is."""

from collections.abc import Callable, Iterator
from copy import deepcopy

import pytest
from pydicom import Dataset
from pydicom.sr.coding import Code

from ichd.domain.reason import Reason
from ichd.report import codes
from ichd.report.sr import build_report
from ichd.report.template import deviations
from ichd.report.tree import code_in, key_of
from ichd.report.unread import Unread, build_unread
from tests.report.findings import CONTEXT, STUDY_UID, bleeding, header

#: Items that a report on a finding must have; with one of them gone, or under another name, it is no such report.
MANDATORY = (
    codes.LANGUAGE, codes.OBSERVER_TYPE, codes.DEVICE_UID, codes.PROCEDURE_REPORTED, codes.IMAGE_LIBRARY,
    codes.IMAGE_LIBRARY_GROUP, codes.MODALITY, codes.TARGET_REGION, codes.IMAGING_MEASUREMENTS,
    codes.MEASUREMENT_GROUP, codes.TRACKING_IDENTIFIER, codes.TRACKING_UID, codes.FINDING, codes.SITE,
    codes.ALGORITHM_NAME, codes.ALGORITHM_VERSION, codes.ALGORITHM_FAMILY, codes.PRESENCE,
    codes.QUALITATIVE_EVALUATIONS, codes.TRIAGE, codes.STATUS, codes.CALIBRATION,
)  # fmt: skip
#: Those of which there may be several.
REPEATABLE = (codes.OBSERVER_TYPE, codes.PROCEDURE_REPORTED, codes.IMAGE_LIBRARY_GROUP, codes.SITE)
UNREAD_MANDATORY = (
    codes.LANGUAGE, codes.DEVICE_UID, codes.PROCEDURE_REPORTED, codes.QUALITATIVE_EVALUATIONS, codes.REASON,
    codes.STATUS, codes.COMMENT,
)  # fmt: skip


@pytest.fixture
def report() -> Dataset:
    source = header()
    source.FrameOfReferenceUID, source.Rows, source.Columns = "2.25.7", 512, 512
    source.PixelSpacing, source.SliceThickness = [0.4, 0.5], 5
    return build_report(bleeding(), [source], CONTEXT)


@pytest.fixture
def unread() -> Dataset:
    return build_unread(Unread(study_instance_uid=STUDY_UID, reason=Reason.NOT_A_HEAD), [header()], CONTEXT)


def items(parent: Dataset) -> Iterator[tuple[Dataset, int]]:
    """Every item below, as its parent and its index there."""
    for index, item in enumerate(parent.get("ContentSequence") or ()):
        yield parent, index
        yield from items(item)


def unlike_items(report: Dataset) -> list[tuple[Dataset, int]]:
    """Every item but those of five measurement groups that are built like the sixth."""
    container, _ = first(report, codes.MEASUREMENT_GROUP)
    alike = [id(p) for i, group in enumerate(container.ContentSequence) if i != 4 for p in (group, *_below(group))]
    return [(parent, index) for parent, index in items(report) if id(parent) not in alike]


def _below(item: Dataset) -> Iterator[Dataset]:
    for parent, index in items(item):
        yield parent.ContentSequence[index]


def first(report: Dataset, name: Code) -> tuple[Dataset, int]:
    for parent, index in items(report):
        if code_in(parent.ContentSequence[index].get("ConceptNameCodeSequence")) == key_of(name):
            return parent, index
    raise AssertionError(name)


def delete(parent: Dataset, index: int) -> None:
    del parent.ContentSequence[index]


def rename(parent: Dataset, index: int) -> None:
    parent.ContentSequence[index].ConceptNameCodeSequence[0].CodeValue = "4711"


def duplicate(parent: Dataset, index: int) -> None:
    parent.ContentSequence.insert(index, deepcopy(parent.ContentSequence[index]))


def named(report: Dataset, name: Code) -> list[str]:
    return [str(d) for d in deviations(report) if name.meaning in d.row]


def test_a_good_report_has_no_deviation(report: Dataset, unread: Dataset) -> None:
    assert deviations(report) == []
    assert deviations(unread) == []


@pytest.mark.parametrize("damage", [delete, rename])
@pytest.mark.parametrize("name", MANDATORY, ids=lambda name: name.meaning)
def test_a_mandatory_item_that_is_gone_is_named(
    report: Dataset, name: Code, damage: Callable[[Dataset, int], None]
) -> None:
    damage(*first(report, name))
    assert any("missing" in said or "occurs 5 times" in said for said in named(report, name))


@pytest.mark.parametrize("damage", [delete, rename])
def test_a_report_without_a_probability_is_found_out(report: Dataset, damage: Callable[[Dataset, int], None]) -> None:
    group, _ = first(report, codes.TRACKING_UID)
    while any(code_in(i.get("ConceptNameCodeSequence")) == key_of(codes.PROBABILITY) for i in group.ContentSequence):
        damage(*first(report, codes.PROBABILITY))
    assert any("is missing" in said for said in named(report, codes.PROBABILITY))


@pytest.mark.parametrize("name", [n for n in MANDATORY if n not in REPEATABLE], ids=lambda name: name.meaning)
def test_an_item_that_stands_twice_is_named(report: Dataset, name: Code) -> None:
    duplicate(*first(report, name))
    assert any("2 times" in said or "7 times" in said for said in named(report, name))


@pytest.mark.parametrize("damage", [delete, rename])
@pytest.mark.parametrize("name", UNREAD_MANDATORY, ids=lambda name: name.meaning)
def test_the_short_report_has_its_mandatory_items_too(
    unread: Dataset, name: Code, damage: Callable[[Dataset, int], None]
) -> None:
    while True:  # there are two comments
        try:
            damage(*first(unread, name))
        except AssertionError:
            break
    assert any("is missing" in said for said in named(unread, name))


def test_two_groups_of_one_kind_are_found_out(report: Dataset) -> None:
    container, index = first(report, codes.MEASUREMENT_GROUP)
    container.ContentSequence[index + 1] = deepcopy(container.ContentSequence[index])
    assert "two with Finding (1386000, SCT)" in named(report, codes.MEASUREMENT_GROUP)[0]


def test_every_item_of_another_type_or_relationship_is_named_with_its_place(report: Dataset) -> None:
    for parent, index in unlike_items(report):
        item = parent.ContentSequence[index]
        name = item.get("ConceptNameCodeSequence")
        # Only rows of any name take images: put otherwise, one is an extension, which the template allows.
        if not name or code_in(name) == key_of(codes.SOURCE_OF_MEASUREMENT):
            continue
        meaning = item.ConceptNameCodeSequence[0].CodeMeaning
        relationship = item.RelationshipType
        item.RelationshipType = "HAS PROPERTIES"
        assert any(f"> {index + 1} {meaning}: HAS PROPERTIES, should be" in str(d) for d in deviations(report)), meaning
        item.RelationshipType = relationship
        value_type = item.ValueType
        item.ValueType = "DATETIME"
        assert any(f"{meaning}: is DATETIME, should be" in str(d) for d in deviations(report)), meaning
        item.ValueType = value_type
    assert deviations(report) == []


VALUES = (
    "ConceptCodeSequence",
    "TextValue",
    "UID",
    "MeasuredValueSequence",
    "ReferencedSOPSequence",
    "ContentSequence",
)


def test_every_item_without_its_value_is_named_with_its_place(report: Dataset) -> None:
    for parent, index in unlike_items(report):
        item = parent.ContentSequence[index]
        keyword = next(k for k in VALUES if k in item)
        element = item[keyword]
        del item[keyword]
        assert any(f"> {index + 1} " in d.path and d.what == "has no value" for d in deviations(report))
        item.add(element)
    assert deviations(report) == []


@pytest.mark.parametrize(
    "name",
    [codes.OBSERVER_TYPE, codes.MODALITY, codes.FINDING, codes.SITE, codes.ALGORITHM_FAMILY, codes.PRESENCE,
     codes.TRIAGE, codes.STATUS],
    ids=lambda name: name.meaning,
)  # fmt: skip
def test_a_value_that_is_not_in_its_set_is_named(report: Dataset, name: Code) -> None:
    parent, index = first(report, name)
    parent.ContentSequence[index].ConceptCodeSequence[0].CodeValue = "4711"
    assert any("(4711, " in said and "is none of" in said for said in named(report, name))


def test_another_unit_is_named(report: Dataset) -> None:
    parent, index = first(report, codes.PROBABILITY)
    parent.ContentSequence[index].MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue = "mm"
    assert any("(mm, UCUM) is none of: %" in said for said in named(report, codes.PROBABILITY))


@pytest.mark.parametrize(
    ("name", "before"),
    [(codes.PROCEDURE_REPORTED, codes.LANGUAGE), (codes.PRESENCE, codes.FINDING), (codes.SITE, codes.TRACKING_UID)],
)
def test_items_out_of_their_order_are_named(report: Dataset, name: Code, before: Code) -> None:
    parent, index = first(report, name)
    item = parent.ContentSequence[index]
    del parent.ContentSequence[index]
    _, target = first(report, before)
    parent.ContentSequence.insert(target, item)
    assert any("order is significant" in str(d) for d in deviations(report))


def test_an_image_that_is_not_in_the_evidence_is_named(report: Dataset) -> None:
    parent, index = first(report, codes.SOURCE_OF_MEASUREMENT)
    parent.ContentSequence[index].ReferencedSOPSequence[0].ReferencedSOPInstanceUID = "1.2.3"
    assert [d.what for d in deviations(report)] == ["image 1.2.3 is not listed"]


def test_a_report_of_no_template_or_another_title_is_named(report: Dataset) -> None:
    del report.ContentTemplateSequence
    report.ConceptNameCodeSequence[0].CodeValue = "126009"
    said = [d.what for d in deviations(report)]
    assert "does not name TID 1500 of DCMR" in said
    assert "is titled (126009, DCM)" in said


def test_a_report_of_no_device_need_not_name_one(report: Dataset) -> None:
    """TID 1004 is mandatory where the observer is a device; our promise to be one is another matter."""
    parent, index = first(report, codes.OBSERVER_TYPE)
    parent.ContentSequence[index].ConceptCodeSequence[0].CodeValue = "121006"
    delete(*first(report, codes.DEVICE_UID))
    assert [d.row for d in deviations(report)] == ["ichd Observer Type"]


def test_nothing_of_an_image_crashes_the_check() -> None:
    assert deviations(header())
    assert deviations(Dataset())
