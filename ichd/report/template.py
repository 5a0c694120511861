"""A report held against its template: the content tree is walked row by row, and what deviates is named.

dciodvfy checks the object (modules, attributes, relationships that a SOP class allows) and knows nothing of TID 1500.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pydicom import Dataset
from pydicom.sr.coding import Code

from ichd.report import codes
from ichd.report.promises import FINDING_REPORT, UNREAD_REPORT
from ichd.report.template_rows import MEASUREMENT_REPORT, Requirement, Row
from ichd.report.tree import child, children, code_in, is_coded, key_of


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """One thing that is not as a row has it."""

    #: Names of the items down to this one, each with its place among all children of its parent, counted from 1.
    path: str
    #: Template and name of the row; "ichd" is what our reports promise beyond the standard.
    row: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what} [{self.row}]"


def deviations(report: Dataset) -> list[Deviation]:
    """Where a report of ours is not what TID 1500 and its own promises make of it; empty for a good one."""
    ours = UNREAD_REPORT if _is_unread(report) else FINDING_REPORT
    return [
        *_root(report),
        *_item(report, MEASUREMENT_REPORT, _name_of(report)),
        *_item(report, ours, _name_of(report)),
        *_values(report, _name_of(report)),
        *_evidence(report),
    ]


def _is_unread(report: Dataset) -> bool:
    try:
        return any(children(child(report, codes.QUALITATIVE_EVALUATIONS), codes.ANALYSIS))
    except LookupError:
        return False


def _root(report: Dataset) -> Iterator[Deviation]:
    template = report.get("ContentTemplateSequence")
    if not template or template[0].get("TemplateIdentifier") != "1500" or template[0].get("MappingResource") != "DCMR":
        yield Deviation(path=_name_of(report), row=str(MEASUREMENT_REPORT), what="does not name TID 1500 of DCMR")


def _item(item: Dataset, row: Row, path: str) -> Iterator[Deviation]:
    """An item that was found for a row: its own form, then its children against the rows nested there."""
    if item.get("ValueType") != row.value_type:
        yield Deviation(path=path, row=str(row), what=f"is {item.get('ValueType')}, should be {row.value_type}")
    relationship = item.get("RelationshipType")
    if relationship != row.relationship:
        yield Deviation(path=path, row=str(row), what=f"{relationship}, should be {row.relationship}")
    if row.relationship is None and not _is_one_of(item.get("ConceptNameCodeSequence"), row.names or ()):
        yield Deviation(
            path=path, row=str(row), what=f"is titled {_shown(code_in(item.get('ConceptNameCodeSequence')))}"
        )
    if row.values and not _is_one_of(_value_code(item), row.values):
        allowed = ", ".join(value.meaning for value in row.values)
        yield Deviation(path=path, row=str(row), what=f"{_shown(code_in(_value_code(item)))} is none of: {allowed}")
    found = _assigned(item, row.rows)
    for nested in row.rows:
        yield from _count(item, nested, found, path)
    if row.ordered:
        yield from _order(row, found, path)
    for position, (nested_item, matched) in enumerate(zip(_content(item), found, strict=True), start=1):
        if matched is not None:
            yield from _item(nested_item, matched, _down(path, nested_item, position))


def _assigned(item: Dataset, rows: Sequence[Row]) -> list[Row | None]:
    """The row that each child fills; None for an extension."""
    return [_row_of(each, rows) for each in _content(item)]


def _row_of(item: Dataset, rows: Sequence[Row]) -> Row | None:
    """The best fit: name, type and relationship; else the name alone, which is then deviant; else a row of any name."""
    name = code_in(item.get("ConceptNameCodeSequence"))
    form = item.get("ValueType"), item.get("RelationshipType")
    named = [row for row in rows if row.names and name in map(key_of, row.names)]
    fitting = [row for row in named if (row.value_type, row.relationship) == form]
    unnamed = (row for row in rows if row.names is None and (row.value_type, row.relationship) == form)
    return next(iter([*fitting, *named, *unnamed]), None)


def _count(parent: Dataset, row: Row, found: Sequence[Row | None], path: str) -> Iterator[Deviation]:
    number = sum(each is row for each in found)
    mandatory = row.requirement is Requirement.M or (row.condition is not None and row.condition.holds(parent))
    reason = f", since {row.condition.words}" if row.condition else ""
    if mandatory and number == 0:
        yield Deviation(path=path, row=str(row), what=f"is missing{reason}")
    elif mandatory and number < row.least:
        yield Deviation(path=path, row=str(row), what=f"occurs {number} times, should {row.least}")
    if row.most is not None and number > row.most:
        yield Deviation(path=path, row=str(row), what=f"occurs {number} times, may {row.most}")
    if row.distinct_by is not None:
        items = [item for item, each in zip(_content(parent), found, strict=True) if each is row]
        values = [code_in(_value_code(told)) for item in items for told in children(item, row.distinct_by)]
        for value in sorted({_shown(v) for v in values if values.count(v) > 1}):
            yield Deviation(path=path, row=str(row), what=f"two with {row.distinct_by.meaning} {value}")


def _order(row: Row, found: Sequence[Row | None], path: str) -> Iterator[Deviation]:
    places = [row.rows.index(each) for each in found if each is not None]
    for before, after in pairwise(places):
        if after < before:
            what = f"stands behind {row.rows[before]}, and the order is significant"
            yield Deviation(path=path, row=str(row.rows[after]), what=what)


#: What holds the value of an item of each type (PS3.3 C.17.3.2), and whether it is there.
_VALUE: dict[str, Callable[[Dataset], Any]] = {
    "CODE": lambda item: code_in(item.get("ConceptCodeSequence"))[0],
    "TEXT": lambda item: item.get("TextValue"),
    "UIDREF": lambda item: item.get("UID"),
    "NUM": lambda item: (
        str(item.MeasuredValueSequence[0].get("NumericValue") or "") if item.get("MeasuredValueSequence") else ""
    ),
    "IMAGE": lambda item: item.get("ReferencedSOPSequence"),
    "CONTAINER": lambda item: item.get("ContentSequence"),
}


def _values(item: Dataset, path: str) -> Iterator[Deviation]:
    """Items without a value, or with a name that nobody can read, wherever they stand."""
    value_type = str(item.get("ValueType"))
    row = f"PS3.3 C.17.3 {value_type}"
    value_of = _VALUE.get(value_type)
    if value_of is not None and not value_of(item):
        yield Deviation(path=path, row=row, what="has no value")
    name = item.get("ConceptNameCodeSequence")
    if value_type != "IMAGE" and not name:
        yield Deviation(path=path, row=row, what="has no name")
    for coded in (name, item.get("ConceptCodeSequence")):
        if coded and not coded[0].get("CodeMeaning"):
            yield Deviation(path=path, row=row, what="has a code without a meaning")
    for position, nested in enumerate(_content(item), start=1):
        yield from _values(nested, _down(path, nested, position))


def _evidence(report: Dataset) -> Iterator[Deviation]:
    """Every image that the tree refers to is listed for those who must fetch them (PS3.3 C.17.2.3)."""
    listed = {
        str(reference.get("ReferencedSOPInstanceUID"))
        for study in report.get("CurrentRequestedProcedureEvidenceSequence") or ()
        for series in study.get("ReferencedSeriesSequence") or ()
        for reference in series.get("ReferencedSOPSequence") or ()
    }
    referred = {
        str(reference.get("ReferencedSOPInstanceUID"))
        for item in _all(report)
        for reference in item.get("ReferencedSOPSequence") or ()
    }
    for uid in sorted(referred - listed):
        yield Deviation(path=_name_of(report), row="PS3.3 C.17.2 Evidence", what=f"image {uid} is not listed")


def _all(item: Dataset) -> Iterator[Dataset]:
    yield item
    for nested in _content(item):
        yield from _all(nested)


def _content(item: Dataset) -> Sequence[Dataset]:
    return item.get("ContentSequence") or ()


def _value_code(item: Dataset) -> Any:
    """The code of a coded item, or of a number's unit."""
    measured = item.get("MeasuredValueSequence")
    if measured:
        return measured[0].get("MeasurementUnitsCodeSequence")
    return item.get("ConceptCodeSequence")


def _is_one_of(sequence: Any, allowed: Sequence[Code]) -> bool:
    return any(is_coded(sequence, code) for code in allowed)


def _shown(key: Any) -> str:
    value, scheme = key
    return "nothing" if value is None else f"({value}, {scheme})"


def _down(path: str, item: Dataset, position: int) -> str:
    return f"{path} > {position} {_name_of(item)}"


def _name_of(item: Dataset) -> str:
    name = item.get("ConceptNameCodeSequence")
    return str(name[0].get("CodeMeaning") or code_in(name)[0]) if name else str(item.get("ValueType"))
