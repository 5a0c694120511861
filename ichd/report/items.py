"""Content items of a Structured Report's tree (PS3.3 C.17.3), built with no more than they need.

highdicom builds the same items and copies each of them several times on the way, which was two thirds of the time that
a report took; `tests/report` lets it read ours back.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum

from pydicom import DataElement, Dataset
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.sr.coding import Code
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import format_number_as_ds

from ichd.domain.finding import SlicePrediction

#: Longer code values are written as Long Code Value (PS3.3 table 8.8-1).
LONGEST_CODE_VALUE = 16


class Relationship(StrEnum):
    """What an item is to its parent (PS3.3 table C.17.3-8)."""

    CONTAINS = "CONTAINS"
    HAS_OBS_CONTEXT = "HAS OBS CONTEXT"
    HAS_ACQ_CONTEXT = "HAS ACQ CONTEXT"
    HAS_CONCEPT_MOD = "HAS CONCEPT MOD"
    INFERRED_FROM = "INFERRED FROM"


def container(
    name: Code,
    children: Iterable[Dataset],
    relationship: Relationship | None = Relationship.CONTAINS,
    *,
    template: str | None = None,
) -> Dataset:
    """A heading with what stands under it; `relationship` is None for the root, `template` is a number as "1501"."""
    item = _item("CONTAINER", name, relationship)
    _set(item, "ContinuityOfContent", "SEPARATE")
    if template is not None:
        identification = Dataset()
        _set(identification, "MappingResource", "DCMR")
        _set(identification, "TemplateIdentifier", template)
        _set(item, "ContentTemplateSequence", [identification])
    _set(item, "ContentSequence", list(children))
    return item


def code_item(name: Code, value: Code, relationship: Relationship = Relationship.CONTAINS) -> Dataset:
    """A coded value."""
    item = _item("CODE", name, relationship)
    _set(item, "ConceptCodeSequence", [coded(value)])
    return item


def text_item(name: Code, value: str, relationship: Relationship = Relationship.CONTAINS) -> Dataset:
    """Words for people; ASCII (see `equipment.plain`)."""
    item = _item("TEXT", name, relationship)
    _set(item, "TextValue", value)
    return item


def uid_item(name: Code, value: str, relationship: Relationship = Relationship.CONTAINS) -> Dataset:
    """A UID, of whatever it may be."""
    item = _item("UIDREF", name, relationship)
    _set(item, "UID", value)
    return item


def number_item(
    name: Code,
    value: float,
    unit: Code,
    relationship: Relationship = Relationship.CONTAINS,
    *,
    children: Sequence[Dataset] = (),
) -> Dataset:
    """A measured value, to the last bit: sixteen characters do not hold every one (PS3.3 table C.18.1-1)."""
    measured = Dataset()
    # 512 rows are not 512.0 of them; whole numbers of more digits than a double holds do not occur.
    written = str(int(value)) if value.is_integer() and abs(value) < 1e15 else format_number_as_ds(value)
    _set(measured, "NumericValue", written)
    if float(written) != value:
        _set(measured, "FloatingPointValue", value)
    _set(measured, "MeasurementUnitsCodeSequence", [coded(unit)])
    item = _item("NUM", name, relationship)
    _set(item, "MeasuredValueSequence", [measured])
    if children:
        _set(item, "ContentSequence", list(children))
    return item


def image_item(
    image: SlicePrediction, relationship: Relationship = Relationship.CONTAINS, *, name: Code | None = None
) -> Dataset:
    """A reference to a slice: an image, or one frame of it."""
    reference = Dataset()
    _set(reference, "ReferencedSOPClassUID", image.sop_class_uid)
    _set(reference, "ReferencedSOPInstanceUID", image.sop_instance_uid)
    if image.frame_number is not None:
        _set(reference, "ReferencedFrameNumber", image.frame_number)
    item = _item("IMAGE", name, relationship)
    _set(item, "ReferencedSOPSequence", [reference])
    return item


def coded(code: Code) -> Dataset:
    """The item of a code sequence (PS3.3 8.8)."""
    item = Dataset()
    _set(item, "CodeValue" if len(code.value) <= LONGEST_CODE_VALUE else "LongCodeValue", code.value)
    _set(item, "CodingSchemeDesignator", code.scheme_designator)
    _set(item, "CodeMeaning", code.meaning)
    return item


def _item(value_type: str, name: Code | None, relationship: Relationship | None) -> Dataset:
    item = Dataset()
    if relationship is not None:
        _set(item, "RelationshipType", str(relationship))
    _set(item, "ValueType", value_type)
    if name is not None:
        _set(item, "ConceptNameCodeSequence", [coded(name)])
    return item


def _set(dataset: Dataset, keyword: str, value: object) -> None:
    """An attribute by keyword, without the checks of values that Dataset makes of each."""
    tag, vr = _ATTRIBUTES[keyword]
    dataset.add(DataElement(tag, vr, value, validation_mode=IGNORE))


def _attribute(keyword: str) -> tuple[BaseTag, str]:
    tag = Tag(tag_for_keyword(keyword) or 0)
    return tag, dictionary_VR(tag)


_ATTRIBUTES = {
    keyword: _attribute(keyword)
    for keyword in (
        "CodeMeaning",
        "CodeValue",
        "CodingSchemeDesignator",
        "ConceptCodeSequence",
        "ConceptNameCodeSequence",
        "ContentSequence",
        "ContentTemplateSequence",
        "ContinuityOfContent",
        "FloatingPointValue",
        "LongCodeValue",
        "MappingResource",
        "MeasuredValueSequence",
        "MeasurementUnitsCodeSequence",
        "NumericValue",
        "ReferencedFrameNumber",
        "ReferencedSOPClassUID",
        "ReferencedSOPInstanceUID",
        "ReferencedSOPSequence",
        "RelationshipType",
        "TemplateIdentifier",
        "TextValue",
        "UID",
        "ValueType",
    )
}
