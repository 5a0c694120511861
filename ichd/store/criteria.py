"""What can be asked of the catalogue, and the conditions that it becomes in SQL."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import ColumnElement, ScalarSelect, SQLColumnExpression, and_, exists, func, select
from sqlalchemy.orm import InstrumentedAttribute, aliased

from ichd.store.facts import storable_text
from ichd.store.tables import InstanceRow, SeriesRow, StudyRow

#: The image that speaks for its series.
FIRST = aliased(InstanceRow)
_Value = TypeVar("_Value")


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """What must hold of what is found; an empty one matches everything. Those of a study hold for its images too."""

    study_uids: Sequence[str] = ()
    #: With the wildcards * and ?.
    accession_number: str = ""
    #: First and last StudyDate, YYYYMMDD, either may be empty; None matches studies without a date as well.
    study_date: tuple[str, str] | None = None
    #: Of a study: one of its series has one of them. Of a series or an image: its own.
    modalities: Sequence[str] = ()
    series_uids: Sequence[str] = ()
    series_number: int | None = None
    instance_uids: Sequence[str] = ()
    sop_class_uids: Sequence[str] = ()
    instance_number: int | None = None


def of_study(criteria: Criteria) -> Iterator[ColumnElement[bool]]:
    """Of a study, and so of all that is in it; `StudyRow` must be joined, as in the others their rows."""
    if criteria.study_uids:
        yield StudyRow.study_instance_uid.in_(criteria.study_uids)
    if criteria.accession_number:
        yield _matches(StudyRow.accession_number, storable_text(criteria.accession_number))
    if criteria.study_date is not None:
        earliest, latest = criteria.study_date
        date = func.substr(StudyRow.study_datetime, 1, 8)
        yield func.length(StudyRow.study_datetime) >= 8
        yield date >= (earliest or "00000000")
        yield date <= (latest or "99999999")


def of_its_series(criteria: Criteria) -> Iterator[ColumnElement[bool]]:
    """Of a study: what one of its series must be."""
    if criteria.modalities:
        yield exists().where(and_(SeriesRow.study_id == StudyRow.id, _of_modality(criteria.modalities)))


def of_series(criteria: Criteria) -> Iterator[ColumnElement[bool]]:
    if criteria.series_uids:
        yield SeriesRow.series_instance_uid.in_(criteria.series_uids)
    if criteria.modalities:
        yield _of_modality(criteria.modalities)
    if criteria.series_number is not None:
        yield of_first_image(FIRST.facts["series_number"].as_integer()) == criteria.series_number


def of_instance(criteria: Criteria) -> Iterator[ColumnElement[bool]]:
    if criteria.instance_uids:
        yield InstanceRow.sop_instance_uid.in_(criteria.instance_uids)
    if criteria.sop_class_uids:
        yield InstanceRow.sop_class_uid.in_(criteria.sop_class_uids)
    if criteria.instance_number is not None:
        yield InstanceRow.facts["instance_number"].as_integer() == criteria.instance_number


def of_first_image(value: SQLColumnExpression[_Value]) -> ScalarSelect[_Value]:
    """What the first image of a series says: one look by an index, where a search among all would read them all."""
    first = select(value).where(FIRST.series_id == SeriesRow.id).order_by(FIRST.id).limit(1)
    return first.correlate(SeriesRow).scalar_subquery()


def _of_modality(modalities: Sequence[str]) -> ColumnElement[bool]:
    return of_first_image(FIRST.facts["modality"].as_string()).in_(modalities)


def _matches(column: InstrumentedAttribute[str], pattern: str) -> ColumnElement[bool]:
    """Wildcard matching (PS3.4 C.2.2.2.4)."""
    if "*" not in pattern and "?" not in pattern:
        return column == pattern
    literal = pattern.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return column.like(literal.replace("*", "%").replace("?", "_"), escape="\\")
