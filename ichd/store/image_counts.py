"""How much there is of each study."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ichd.store.among import among
from ichd.store.tables import InstanceRow, SeriesRow


@dataclass(frozen=True, kw_only=True)
class ImageCounts:
    """Series and slices of a study, and how many of those are not here any more."""

    series: int = 0
    slices: int = 0
    dropped: int = 0
    #: The last of them.
    dropped_at: datetime | None = None


def image_counts(session: Session, ids: Sequence[int]) -> Mapping[int, ImageCounts]:
    """By study id."""
    statement = (
        select(
            SeriesRow.study_id,
            func.count(SeriesRow.id.distinct()).label("series"),
            func.count(InstanceRow.id).label("slices"),
            func.count(InstanceRow.dropped_at).label("dropped"),
            func.max(InstanceRow.dropped_at).label("dropped_at"),
        )
        .join_from(SeriesRow, InstanceRow)
        .where(among(session, SeriesRow.study_id, ids))
        .group_by(SeriesRow.study_id)
    )
    counted = {
        row.study_id: ImageCounts(series=row.series, slices=row.slices, dropped=row.dropped, dropped_at=row.dropped_at)
        for row in session.execute(statement)
    }
    return defaultdict(ImageCounts, counted)
