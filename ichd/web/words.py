"""How values read on a page: ages, times, UIDs, percentages, and a word and a tone for each state."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from ichd.domain.finding import Presence, Triage
from ichd.domain.review import Agreement
from ichd.domain.study import StudyState
from ichd.domain.wording import class_label

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400
#: Enough of a UID's end to tell the studies of one scanner apart: the root in front is the same for all of them.
_UID_TAIL = 14


@dataclass(frozen=True, kw_only=True)
class Badge:
    """A word, a symbol and a colour: who can't see one of them still has the other two."""

    word: str
    symbol: str
    #: Class name in ichd.css.
    tone: str


_TRIAGE_BADGES = {
    Triage.URGENT: Badge(word="Urgent", symbol="▲", tone="urgent"),
    Triage.INDETERMINATE: Badge(word="Indeterminate", symbol="◆", tone="indeterminate"),
    Triage.ROUTINE: Badge(word="Routine", symbol="●", tone="routine"),
}

_STATE_BADGES = {
    StudyState.RECEIVING: Badge(word="Receiving", symbol="↓", tone="waiting"),
    StudyState.READY: Badge(word="Waiting", symbol="◔", tone="waiting"),
    StudyState.ANALYSING: Badge(word="Reading", symbol="◑", tone="waiting"),
    StudyState.REPORTED: Badge(word="Reported", symbol="●", tone="routine"),
    StudyState.NOT_ANALYSED: Badge(word="Not analysed", symbol="○", tone="unread"),
    StudyState.FAILED: Badge(word="Failed", symbol="✕", tone="failed"),
}

_STATE_WORDS = {
    StudyState.RECEIVING: "receiving",
    StudyState.READY: "ready, waits for a worker",
    StudyState.ANALYSING: "analysing",
    StudyState.REPORTED: "reported",
    StudyState.NOT_ANALYSED: "not analysed",
    StudyState.FAILED: "failed",
}

#: Timings that are moments, not durations (`ichd.pipeline.recollection`).
_MOMENTS = {"ahead_first": "first slice seen", "ahead_last": "last slice seen"}

_PRESENCE_BADGES = {
    Presence.PRESENT: Badge(word="Present", symbol="▲", tone="urgent"),
    Presence.UNDETERMINED: Badge(word="Undetermined", symbol="◆", tone="indeterminate"),
    Presence.ABSENT: Badge(word="Absent", symbol="●", tone="routine"),
}


def badge_of(triage: Triage | None, state: StudyState) -> Badge:
    """The triage level where there is one, else the state: what a person looks for first."""
    return _TRIAGE_BADGES[triage] if triage else _STATE_BADGES[state]


def state_words(state: StudyState, *, has_finding: bool) -> str:
    """The state; `analysing` also covers the delivery of a finding that is there already."""
    if state is StudyState.ANALYSING and has_finding:
        return "analysing, report under way"
    return _STATE_WORDS[state]


def presence_badge(presence: Presence) -> Badge:
    """How a called class looks."""
    return _PRESENCE_BADGES[presence]


def age(since: datetime, now: datetime) -> str:
    """`40 s`, `12 min`, `3 h`, `2 d`: one number, as a worklist needs it. Never negative, whatever the clocks say."""
    return _one_number(max((now - since).total_seconds(), 0.0))


def duration(span: timedelta) -> str:
    """`3.2 s` below a minute, then as an age."""
    seconds = span.total_seconds()
    return f"{seconds:.1f} s" if seconds < _MINUTE_S else _one_number(seconds)


def timing(name: str, ms: float) -> tuple[str, str]:
    """A timing of a record: what it is of, and `312 ms`; a moment is told by its distance from the study's end."""
    if name not in _MOMENTS:
        return name.replace("_", " "), f"{ms:.0f} ms"
    side = "before" if ms < 0 else "after"
    return _MOMENTS[name], f"{duration(timedelta(milliseconds=abs(ms)))} {side} the study was complete"


def _one_number(seconds: float) -> str:
    if seconds < _MINUTE_S:
        return f"{seconds // 1:.0f} s"
    if seconds < _HOUR_S:
        return f"{seconds // _MINUTE_S:.0f} min"
    return f"{seconds // _HOUR_S:.0f} h" if seconds < 2 * _DAY_S else f"{seconds // _DAY_S:.0f} d"


def short_uid(uid: str) -> str:
    """The end of a UID; the page's title attribute has the whole."""
    return uid if len(uid) <= _UID_TAIL + 1 else f"…{uid[-_UID_TAIL:]}"


def agreement_words(agreement: Agreement) -> str:
    """What a reader says, as a sentence about the finding."""
    return "agrees" if agreement is Agreement.AGREED else "disagrees"


def truth_words(truth: Mapping[str, bool]) -> str:
    """What a reader says is there and is not; empty where he does not."""
    return ", ".join(f"{'' if is_there else 'no '}{class_label(name).lower()}" for name, is_there in truth.items())


def dicom_date(text: str) -> str:
    """A DA (PS3.5 6.2) as ISO 8601; what is none, as it stands."""
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdecimal() else text
