"""A worklist as somebody sees it: studies, numbers beside the filters, and a name that changes when any of it does."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from ichd.domain.finding import Triage
from ichd.domain.study import StudyState
from ichd.store.listing import StudySummary
from ichd.store.worklist import MOST_COUNTED, Counts, Worklist, WorklistPage, WorklistQuery

#: Study Instance UIDs to the names of their patients; a study without one is left out.
NamesOf = Callable[[Iterable[str]], Mapping[str, str]]

#: Ages on the page are renewed by its script, those within sentences by a new view.
_RENEWED_EVERY_S = 60


@dataclass(frozen=True, kw_only=True)
class Chip:
    """A filter that can be switched on, with how many studies it would show."""

    name: str
    value: str
    label: str
    #: Class name in ichd.css, and a symbol beside the colour.
    tone: str
    symbol: str
    is_on: bool
    count: str


@dataclass(frozen=True, kw_only=True)
class View:
    """One page of a worklist at one moment."""

    page: WorklistPage
    counts: Counts
    #: By Study Instance UID, where whoever looks may see them.
    names: Mapping[str, str]
    at: datetime
    #: Digits over all that is shown: the same in every process.
    version: str


#: UNDER_WAY stands for the three states before a study has ended.
UNDER_WAY = (StudyState.RECEIVING, StudyState.READY, StudyState.ANALYSING)
_TRIAGE_CHIPS = (
    (Triage.URGENT, "Urgent", "urgent", "▲"),
    (Triage.INDETERMINATE, "Indeterminate", "indeterminate", "◆"),
    (Triage.ROUTINE, "Routine", "routine", "●"),
)
_STATE_CHIPS = (
    (UNDER_WAY, "Under way", "waiting", "◔"),
    ((StudyState.REPORTED,), "Reported", "routine", "●"),
    ((StudyState.NOT_ANALYSED,), "Not analysed", "unread", "○"),
    ((StudyState.FAILED,), "Failed", "failed", "✕"),
)


def look(
    worklist: Worklist, query: WorklistQuery, names_of: NamesOf | None, now: datetime, *, counts: Counts | None = None
) -> View:
    """The view at this moment; with `counts`, those are taken as they are.

    Raises:
        Transient: the database does not answer.
    """
    page = worklist.page(query, now=now)
    counts = counts or worklist.counts(query)
    names = names_of(study.study_uid for study in page.studies) if names_of else {}
    renewed = int(now.timestamp()) // _RENEWED_EVERY_S
    shown = repr((page, sorted(counts.by_state.items()), sorted(counts.by_triage.items()), sorted(names.items())))
    version = hashlib.sha256(f"{renewed} {shown}".encode()).hexdigest()[:20]
    return View(page=page, counts=counts, names=names, at=now, version=version)


def changed_studies(before: View | None, now: View) -> list[StudySummary]:
    """Studies of `now` whose lines `before` did not have as they are; all of them where sentences with ages are old."""
    is_old = before is None or before.at.timestamp() // _RENEWED_EVERY_S != now.at.timestamp() // _RENEWED_EVERY_S
    if before is None or is_old:
        return list(now.page.studies)
    known = {study.study_uid: (study, before.names.get(study.study_uid)) for study in before.page.studies}
    return [s for s in now.page.studies if known.get(s.study_uid) != (s, now.names.get(s.study_uid))]


def chips(view: View, query: WorklistQuery) -> list[Chip]:
    """The filters by triage, then those by state."""
    by_triage = [
        Chip(
            name="triage",
            value=str(triage),
            label=label,
            tone=tone,
            symbol=symbol,
            is_on=triage in query.triages,
            count=_count(view.counts.by_triage[triage]),
        )
        for triage, label, tone, symbol in _TRIAGE_CHIPS
    ]
    by_state = [
        Chip(
            name="state",
            value="under_way" if states is UNDER_WAY else str(states[0]),
            label=label,
            tone=tone,
            symbol=symbol,
            is_on=query.states.issuperset(states),
            count=_count(sum(view.counts.by_state[state] for state in states)),
        )
        for states, label, tone, symbol in _STATE_CHIPS
    ]
    return by_triage + by_state


def _count(number: int) -> str:
    return f"{number}" if number < MOST_COUNTED else f"{MOST_COUNTED - 1}+"
