"""In which order the studies of a worklist stand, and where a page ends: each part of it is a range of an index."""

import base64
import binascii
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import product

from sqlalchemy import ColumnElement, and_, or_, true

from ichd.domain.errors import UserError
from ichd.domain.finding import Triage
from ichd.domain.study import StudyState
from ichd.store.tables import StudyRow

#: Studies of the last day that need somebody stand on top; older ones were seen, and must not hide what is new.
ON_TOP_FOR = timedelta(hours=24)

#: What a study was found to be, if anything, and where it stands.
Standing = tuple[Triage | None, StudyState]
_TRIAGES: tuple[Triage | None, ...] = (*Triage, None)
EVERY_STANDING: frozenset[Standing] = frozenset(product(_TRIAGES, StudyState))


class Order(StrEnum):
    """Which study comes first."""

    #: Of the last 24 hours the most urgent, then the newest.
    URGENT = "urgent"
    NEWEST = "newest"


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """Behind which study the next page begins."""

    #: Which part of the list it stands in.
    part: int
    received_at: datetime
    study_id: int
    #: Since when studies stand on top, as of the first page: else some would be on two pages and others on none.
    on_top_since: datetime

    def __str__(self) -> str:
        """Letters, digits, - and _ only."""
        words = (self.part, self.received_at.isoformat(), self.study_id, self.on_top_since.isoformat())
        return base64.urlsafe_b64encode("|".join(map(str, words)).encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """The other way round.

        Raises:
            UserError: it is none of ours.
        """
        try:
            said = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
            part, received_at, study_id, since = said.split("|")
            cursor = cls(
                part=int(part),
                received_at=datetime.fromisoformat(received_at),
                study_id=int(study_id),
                on_top_since=datetime.fromisoformat(since),
            )
        except (binascii.Error, ValueError):
            raise UserError("this is no place in the worklist; begin with its first page") from None
        aware = cursor.received_at.tzinfo is not None and cursor.on_top_since.tzinfo is not None
        if not aware or not 0 <= cursor.part < 4 or not 0 <= cursor.study_id < 1 << 63:
            raise UserError("this is no place in the worklist; begin with its first page")
        return cursor


@dataclass(frozen=True, kw_only=True)
class Part:
    """Studies of some standings that arrived within some time, newest first."""

    standings: frozenset[Standing]
    #: Both None for any time; the first included.
    since: datetime | None = None
    before: datetime | None = None

    def branches(self) -> Iterator[ColumnElement[bool]]:
        """Conditions that exclude one another, each a range of one index in the order of the list."""
        within = self._within()
        if self.standings == EVERY_STANDING:
            yield within
            return
        for state in StudyState:
            triages = [triage for triage in _TRIAGES if (triage, state) in self.standings]
            if len(triages) == len(_TRIAGES):
                yield and_(StudyRow.state == state, within)
                continue
            # An IS NULL is spelt out by the comparison with None.
            for triage in triages:
                yield and_(StudyRow.triage == triage, StudyRow.state == state, within)

    def _within(self) -> ColumnElement[bool]:
        since = true() if self.since is None else StudyRow.received_at >= self.since
        return and_(since, true() if self.before is None else StudyRow.received_at < self.before)


def parts(
    order: Order,
    standings: frozenset[Standing],
    *,
    since: datetime | None,
    before: datetime | None,
    on_top_since: datetime,
) -> Sequence[Part]:
    """The list from top to bottom; parts may be empty."""
    if order is Order.NEWEST:
        return (Part(standings=standings, since=since, before=before),)
    fresh = on_top_since if since is None else max(since, on_top_since)
    old = on_top_since if before is None else min(before, on_top_since)
    ranks = [frozenset(s for s in standings if urgency(*s) == rank) for rank in range(3)]
    return (
        *(Part(standings=rank, since=fresh, before=before) for rank in ranks),
        Part(standings=standings, since=since, before=old),
    )


def urgency(triage: Triage | None, state: StudyState) -> int:
    """0: blood is suspected. 1: a person must look, at the images or at ichd. 2: everything else."""
    if triage is Triage.URGENT:
        return 0
    return 1 if triage is Triage.INDETERMINATE or state is StudyState.FAILED else 2


def standings_of(states: Collection[StudyState], triages: Collection[Triage]) -> frozenset[Standing]:
    """What is left of all standings; none of either means any."""
    return frozenset(product(triages or _TRIAGES, states or StudyState))


def behind(cursor: Cursor) -> ColumnElement[bool]:
    """Studies of the cursor's part that come after it."""
    # Said twice, so that an index takes the first half.
    same = and_(StudyRow.received_at == cursor.received_at, StudyRow.id < cursor.study_id)
    return and_(StudyRow.received_at <= cursor.received_at, or_(StudyRow.received_at < cursor.received_at, same))
