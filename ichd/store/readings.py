"""What kind of images were read, and by which model: the input of some findings in bins, without a word of patients.

Texts of others become names of figures. So that nobody fills the table with them, a family takes so many and counts
the rest as `other`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from ichd.domain.arrival import Door
from ichd.domain.histogram import slices_bin, thickness_bin
from ichd.store.figures import names_of
from ichd.store.tables import AssociationRow, FindingRow, InstanceRow, SeriesRow

#: What `ichd.domain.drift` is asked about; each scan counts once in each.
INPUTS = ("input_slices", "input_thickness", "input_kernel", "input_source")
REMARKS = "input_remark"
MODELS = "read_by"
OTHER = "other"
#: Of one family, over all time.
_MOST_NAMES = 40
#: Of Convolution Kernel and AE titles (PS3.5 6.2: SH and AE).
_LONGEST = 16
#: Findings of one read; a record of 400 slices is 100 kB.
_BATCH = 200


def figures_of_readings(session: Session, finding_ids: Sequence[int]) -> Iterator[tuple[str, float]]:
    """Name and value of each figure of some findings; their readings lie within one period."""
    counts: dict[str, Counter[str]] = {family: Counter() for family in (*INPUTS, REMARKS, MODELS)}
    for first in range(0, len(finding_ids), _BATCH):
        for family, name in _told(session, finding_ids[first : first + _BATCH]):
            counts[family][name] += 1
    for family, found in counts.items():
        for name, count in sorted(_within_bounds(session, family, found).items()):
            yield f"{family}/{name}", count


def _told(session: Session, finding_ids: Sequence[int]) -> Iterator[tuple[str, str]]:
    read = _read(session, finding_ids)
    images = _first_images(session, [(each.study_id, each.series_uid) for each in read])
    for each in read:
        yield MODELS, _named_model(each.model)
        yield "input_slices", slices_bin(each.slices or 0)
        for code in {remark["code"] for remark in each.remarks or ()}:
            yield REMARKS, code
        image = images.get((each.study_id, each.series_uid))
        facts: Mapping[str, Any] = image.facts if image else {}
        yield "input_thickness", thickness_bin(facts.get("slice_thickness_mm"))
        yield "input_kernel", _word(facts.get("convolution_kernel")) or "unknown"
        yield "input_source", _source_of(image)


def _read(session: Session, finding_ids: Sequence[int]) -> Sequence[Any]:
    record = FindingRow.record
    statement = select(
        FindingRow.study_id,
        record["series_uid"].as_string().label("series_uid"),
        record["model"].label("model"),
        record["remarks"].label("remarks"),
        func.json_array_length(record["slices"]).label("slices"),
    )
    return session.execute(statement.where(FindingRow.id.in_(finding_ids))).all()


def _first_images(session: Session, series: Sequence[tuple[int, str]]) -> dict[tuple[int, str], Any]:
    """The image of each series that came first, with who brought it."""
    first = (
        select(func.min(InstanceRow.id))
        .join(SeriesRow, InstanceRow.series_id == SeriesRow.id)
        .where(tuple_(SeriesRow.study_id, SeriesRow.series_instance_uid).in_(series))
        .group_by(SeriesRow.id)
    )
    statement = (
        select(
            SeriesRow.study_id,
            SeriesRow.series_instance_uid,
            InstanceRow.facts,
            AssociationRow.door,
            AssociationRow.calling_ae_title,
        )
        .join(SeriesRow, InstanceRow.series_id == SeriesRow.id)
        .join(AssociationRow, InstanceRow.association_id == AssociationRow.id)
        .where(InstanceRow.id.in_(first))
    )
    return {(row.study_id, row.series_instance_uid): row for row in session.execute(statement)}


def _named_model(model: Mapping[str, Any]) -> str:
    return f"{model['name']} {model['version']} {model['bundle_sha256'][:12]}"


def _source_of(image: Any | None) -> str:
    """AE title of the sender. Over the web it would be an account, of a pull a line of the settings: the door alone."""
    if image is None:
        return "unknown"
    return _word(image.calling_ae_title) or "unknown" if image.door is Door.DIMSE else f"by {image.door.value}"


def _word(text: str | None) -> str:
    return (text or "").strip()[:_LONGEST]


def _within_bounds(session: Session, family: str, counts: Counter[str]) -> Counter[str]:
    known = {name.removeprefix(f"{family}/") for name in names_of(session, family)}
    room = max(0, _MOST_NAMES - len(known | {OTHER}))
    new = [name for name, _ in sorted(counts.items(), key=lambda each: (-each[1], each[0])) if name not in known]
    known.update(new[:room])
    bounded: Counter[str] = Counter()
    for name, count in counts.items():
        bounded[name if name in known else OTHER] += count
    return bounded
