"""The rows of TID 1500 and of the templates that it includes, as far as our reports use them (PS3.16 annex A).

All these templates are extensible (PS3.16 6.2.3): an item that no row names may stand anywhere.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pydicom import Dataset
from pydicom.sr.coding import Code

from ichd.report import codes
from ichd.report.items import Relationship
from ichd.report.tree import children, is_coded


class Requirement(StrEnum):
    """Requirement type of a row (PS3.16 6.1.6)."""

    M = "M"
    #: Mandatory where the row's condition holds; forbidden nowhere.
    MC = "MC"
    U = "U"


@dataclass(frozen=True, kw_only=True)
class Condition:
    """When a conditional row is mandatory, decided from the items beside which it would stand."""

    words: str
    holds: Callable[[Dataset], bool]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a template, with those nested under it; rows of an included one stand in place of its inclusion."""

    template: str
    value_type: str
    #: None for the root.
    relationship: Relationship | None
    #: Concept names that the row allows; None: any, or none where the value type needs none.
    names: tuple[Code, ...] | None
    requirement: Requirement
    #: How many, at least and at most, where the row is filled at all; None: as many as there are.
    least: int = 1
    most: int | None = 1
    condition: Condition | None = None
    #: Coded values, or units of a number; empty: any.
    values: tuple[Code, ...] = ()
    #: A coded child that tells the items of this row apart: no two may have the same.
    distinct_by: Code | None = None
    rows: tuple["Row", ...] = ()
    #: Whether the rows nested under this one must be filled in their order.
    ordered: bool = False

    def __str__(self) -> str:
        name = self.names[0].meaning if self.names else self.value_type
        return f"{self.template} {name}"


_CONTAINS, _MODIFIES = Relationship.CONTAINS, Relationship.HAS_CONCEPT_MOD
_OBSERVES, _ACQUIRES = Relationship.HAS_OBS_CONTEXT, Relationship.HAS_ACQ_CONTEXT
_M, _MC, _U = Requirement.M, Requirement.MC, Requirement.U
PERSON = Code("121006", "DCM", "Person")
DERIVED_IMAGING_MEASUREMENTS = Code("126011", "DCM", "Derived Imaging Measurements")
COUNTRY_OF_LANGUAGE = Code("121046", "DCM", "Country of Language")

_OBSERVED_BY_DEVICE = Condition(
    words="the observer is a device",
    holds=lambda parent: any(
        is_coded(item.get("ConceptCodeSequence"), codes.DEVICE) for item in children(parent, codes.OBSERVER_TYPE)
    ),
)


def _unless_there_is(*names: Code) -> Condition:
    return Condition(
        words=f"there is neither {' nor '.join(name.meaning for name in names)}",
        holds=lambda parent: not any(any(children(parent, name)) for name in names),
    )


def row(
    template: str,
    value_type: str,
    relationship: Relationship,
    name: Code | None,
    requirement: Requirement,
    *,
    most: int | None = 1,
    values: Sequence[Code] = (),
    condition: Condition | None = None,
    rows: tuple[Row, ...] = (),
) -> Row:
    """A row of one name, or of any where `name` is None."""
    return Row(
        template=template,
        value_type=value_type,
        relationship=relationship,
        names=None if name is None else (name,),
        requirement=requirement,
        most=most,
        values=tuple(values),
        condition=condition,
        rows=rows,
    )


_LANGUAGE = (
    row(
        "TID 1204", "CODE", _MODIFIES, codes.LANGUAGE, _M,
        rows=(row("TID 1204", "CODE", _MODIFIES, COUNTRY_OF_LANGUAGE, _U),),
    ),
)  # fmt: skip

_OBSERVER = (
    row("TID 1002", "CODE", _OBSERVES, codes.OBSERVER_TYPE, _M, most=None, values=(PERSON, codes.DEVICE)),
    row("TID 1004", "UIDREF", _OBSERVES, codes.DEVICE_UID, _MC, condition=_OBSERVED_BY_DEVICE),
    row("TID 1004", "TEXT", _OBSERVES, codes.DEVICE_NAME, _U),
    row("TID 1004", "TEXT", _OBSERVES, codes.DEVICE_MANUFACTURER, _U),
    row("TID 1004", "TEXT", _OBSERVES, codes.DEVICE_MODEL, _U),
)

_DESCRIPTORS = (
    row("TID 1602", "CODE", _ACQUIRES, codes.MODALITY, _U),
    row("TID 1602", "CODE", _ACQUIRES, codes.TARGET_REGION, _U),
    row("TID 1602", "UIDREF", _ACQUIRES, codes.FRAME_OF_REFERENCE, _U),
    row("TID 1602", "NUM", _ACQUIRES, codes.PIXEL_ROWS, _U, values=(codes.PIXELS,)),
    row("TID 1602", "NUM", _ACQUIRES, codes.PIXEL_COLUMNS, _U, values=(codes.PIXELS,)),
    row("TID 1604", "NUM", _ACQUIRES, codes.HORIZONTAL_SPACING, _U, values=(codes.MILLIMETRE,)),
    row("TID 1604", "NUM", _ACQUIRES, codes.VERTICAL_SPACING, _U, values=(codes.MILLIMETRE,)),
    row("TID 1604", "NUM", _ACQUIRES, codes.SLICE_THICKNESS, _U, values=(codes.MILLIMETRE,)),
)

_ENTRIES = row("TID 1601", "IMAGE", _CONTAINS, None, _M, most=None, rows=_DESCRIPTORS)

_IMAGE_LIBRARY = row(
    "TID 1600", "CONTAINER", _CONTAINS, codes.IMAGE_LIBRARY, _U,
    rows=(
        row(
            "TID 1600", "CONTAINER", _CONTAINS, codes.IMAGE_LIBRARY_GROUP, _M, most=None,
            rows=(*_DESCRIPTORS, _ENTRIES),
        ),
    ),
)  # fmt: skip

_TRACKING = (
    row("TID 4108", "TEXT", _OBSERVES, codes.TRACKING_IDENTIFIER, _M),
    row("TID 4108", "UIDREF", _OBSERVES, codes.TRACKING_UID, _M),
)

_ALGORITHM = (
    row("TID 4019", "TEXT", _MODIFIES, codes.ALGORITHM_NAME, _U),
    row(
        "TID 4019", "TEXT", _MODIFIES, codes.ALGORITHM_VERSION, _MC,
        condition=Condition(
            words="the algorithm is named", holds=lambda group: any(children(group, codes.ALGORITHM_NAME))
        ),
    ),
    row("TID 4019", "TEXT", _MODIFIES, codes.ALGORITHM_PARAMETERS, _U, most=None),
    row("TID 4019", "CODE", _MODIFIES, codes.ALGORITHM_FAMILY, _U),
)  # fmt: skip

_MEASUREMENT = Row(
    template="TID 300",
    value_type="NUM",
    relationship=_CONTAINS,
    names=None,
    requirement=_U,
    most=None,
    ordered=True,
    rows=(
        row("TID 300", "CODE", _MODIFIES, codes.DERIVATION, _U),
        row("TID 300", "CODE", _MODIFIES, codes.SITE, _U, most=None),
        row("TID 320", "IMAGE", Relationship.INFERRED_FROM, None, _U, most=None),
    ),
)

_MEASUREMENT_GROUP = Row(
    template="TID 1501",
    value_type="CONTAINER",
    relationship=_CONTAINS,
    names=(codes.MEASUREMENT_GROUP,),
    requirement=_U,
    most=None,
    ordered=True,
    rows=(
        *_TRACKING,
        row("TID 1501", "CODE", _CONTAINS, codes.FINDING, _U),
        row("TID 1501", "CODE", _MODIFIES, codes.SITE, _U, most=None),
        *_ALGORITHM,
        _MEASUREMENT,
        row("TID 1501", "IMAGE", _CONTAINS, None, _U, most=None),
        row("TID 1501", "CODE", _CONTAINS, None, _U, most=None),
        row("TID 1501", "TEXT", _CONTAINS, None, _U, most=None),
    ),
)

#: PS3.16 TID 1500 with what it includes. A title of CID 7021.
MEASUREMENT_REPORT = Row(
    template="TID 1500",
    value_type="CONTAINER",
    relationship=None,
    names=(
        codes.IMAGING_MEASUREMENT_REPORT,
        Code("126001", "DCM", "Oncology Measurement Report"),
        Code("126002", "DCM", "Dynamic Contrast MR Measurement Report"),
        Code("126003", "DCM", "PET Measurement Report"),
    ),
    requirement=_M,
    ordered=True,
    rows=(
        *_LANGUAGE,
        *_OBSERVER,
        row("TID 1500", "CODE", _MODIFIES, codes.PROCEDURE_REPORTED, _M, most=None),
        _IMAGE_LIBRARY,
        row(
            "TID 1500", "CONTAINER", _CONTAINS, codes.IMAGING_MEASUREMENTS, _MC,
            condition=_unless_there_is(DERIVED_IMAGING_MEASUREMENTS, codes.QUALITATIVE_EVALUATIONS),
            rows=(_MEASUREMENT_GROUP,),
        ),
        row(
            "TID 1500", "CONTAINER", _CONTAINS, codes.QUALITATIVE_EVALUATIONS, _MC,
            condition=_unless_there_is(codes.IMAGING_MEASUREMENTS, DERIVED_IMAGING_MEASUREMENTS),
            rows=(
                row("TID 1500", "CODE", _CONTAINS, None, _U, most=None),
                row("TID 1500", "TEXT", _CONTAINS, None, _U, most=None),
            ),
        ),
    ),
)  # fmt: skip
