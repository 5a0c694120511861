"""When is a study complete? A decision from evidence, at a moment that is given.

DICOM has no end mark for a study, so everything that speaks for one is weighed: how the associations ended that carried
it, what others say it has, and whether its slices leave gaps. `_case` is the order of the evidence; each case names how
long nothing must have happened before the study closes. Nothing is waited for without an end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from ichd.domain.arrival import AnnouncementKind

#: No examination takes longer.
_LONGEST_STEP = timedelta(hours=12)


class Closing(StrEnum):
    """The evidence that closed a study; stored with it and shown."""

    #: As many images as somebody announced who also said that nothing more will come.
    ANNOUNCED_COMPLETE = "announced_complete"
    #: As many images as its source, or the headers, count.
    COUNT_REACHED = "count_reached"
    RELEASED_AND_QUIET = "released_and_quiet"
    INTERRUPTED_AND_QUIET = "interrupted_and_quiet"
    #: Nothing more came, though somebody counts more images.
    FEWER_THAN_EXPECTED = "fewer_than_expected"
    #: Nothing more came, though slices are missing between those that did.
    GAPS = "gaps"
    #: The modality never said that its procedure step ended.
    STEP_IN_PROGRESS = "step_in_progress"
    SILENT = "silent"

    @property
    def meaning(self) -> str:
        """What happened, in words for people, to go after "because"."""
        return _MEANINGS[self]


_MEANINGS = {
    Closing.ANNOUNCED_COMPLETE: "all images are here that were announced as all there are",
    Closing.COUNT_REACHED: "as many images are here as the study has elsewhere",
    Closing.RELEASED_AND_QUIET: "the sender released its association, and nothing more came",
    Closing.INTERRUPTED_AND_QUIET: "the association broke, and nothing more came",
    Closing.FEWER_THAN_EXPECTED: "nothing more came, though the study has more images elsewhere",
    Closing.GAPS: "nothing more came, though slices seem to be missing",
    Closing.STEP_IN_PROGRESS: "nothing more came, though the modality never said that its procedure step ended",
    Closing.SILENT: "the association stayed open, but nothing more came",
}


@dataclass(frozen=True, kw_only=True)
class Carrier:
    """An association that carried or lost at least one slice of the study, or the moment at which one was refused."""

    opened_at: datetime
    #: None while it is open.
    ended_at: datetime | None
    #: It ended by A-RELEASE, not by an abort, a lost connection or the death of the listener, and refused no image.
    clean: bool


@dataclass(frozen=True, kw_only=True)
class Announcement:
    """What somebody said of the study."""

    kind: AnnouncementKind
    #: Who, for people.
    source: str
    #: It says that nothing more will come.
    complete: bool
    #: CT images of the study by its word; None where it names no number.
    instances: int | None
    made_at: datetime


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """How many CT images the study should have, and who says so."""

    instances: int
    #: For people.
    according_to: str
    #: Whoever says so also says that nothing more will come.
    is_end: bool


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of a study's arrival."""

    last_instance_at: datetime
    carriers: Sequence[Carrier]
    #: Images that are stored.
    stored: int = 0
    announcements: Sequence[Announcement] = ()
    #: Places in its series where slices are missing, by geometry.
    holes: int = 0
    #: Images that its series lack by the numbers in their own headers.
    series_short: int = 0

    @property
    def last_end_at(self) -> datetime | None:
        """End of the last association that may have brought an image, None while none has ended.

        One that was opened after the last image came brought none: who tries the same bad image for ever does not keep
        the study open for ever.
        """
        brought = (c.ended_at for c in self.carriers if c.ended_at is not None and c.opened_at <= self.last_instance_at)
        return max(brought, default=None)

    @property
    def quiet_since(self) -> datetime:
        """When the last thing happened: an image, or the end of an association."""
        return max(self.last_instance_at, self.last_end_at or self.last_instance_at)

    @property
    def is_open(self) -> bool:
        """Whether an association that carried the study is still open."""
        return any(carrier.ended_at is None for carrier in self.carriers)

    @property
    def interrupted(self) -> bool:
        """Whether an association ended badly without being healed by a resend; so does one that nobody knows of.

        Only an association that was opened after the bad end, and was itself released with every image taken, is the
        resend that heals it: what others did at the same time says nothing of the images that were lost.
        """
        bad_ends = [c.ended_at for c in self.carriers if c.ended_at is not None and not c.clean]
        resent_from = max((c.opened_at for c in self.carriers if c.ended_at is not None and c.clean), default=None)
        if resent_from is None:
            return True
        return any(ended_at >= resent_from for ended_at in bad_ends)

    @property
    def step_in_progress(self) -> bool:
        """Whether a modality is still at it, by its own word of the last hours: an end that got lost never comes."""
        heard_from = self.last_instance_at - _LONGEST_STEP
        return any(
            a.kind is AnnouncementKind.PERFORMED_STEP and not a.complete and a.made_at >= heard_from
            for a in self.announcements
        )

    @property
    def all_is_here_by_others(self) -> bool:
        """Whether somebody but the modality says how many images are all, and so many are stored."""
        return any(
            a.kind is not AnnouncementKind.PERFORMED_STEP and a.complete and a.instances == self.stored
            for a in self.announcements
        )

    @property
    def expected(self) -> Expectation | None:
        """The largest number that somebody names: to wait in vain costs seconds, to close too early a second report.

        What a header says counts objects of every class, and is heard only where nobody counts CT images.
        """
        named = [e for kind in AnnouncementKind if (e := self._expected_by(kind)) is not None]
        images = [e for kind, e in named if kind is not AnnouncementKind.HEADER]
        return max(images or [e for _, e in named], key=lambda e: (e.instances, e.is_end), default=None)

    def _expected_by(self, kind: AnnouncementKind) -> tuple[AnnouncementKind, Expectation] | None:
        """What all announcements of one kind come to; the images of several procedure steps add up."""
        said = [(a, a.instances) for a in self.announcements if a.kind is kind and a.instances]
        if not said:
            return None
        numbers = [number for _, number in said]
        instances = sum(numbers) if kind is AnnouncementKind.PERFORMED_STEP else max(numbers)
        sources = " and ".join(sorted({a.source for a, _ in said}))
        is_end = all(a.complete for a, _ in said)
        return kind, Expectation(instances=instances, according_to=f"{_WORDS[kind]} {sources}", is_end=is_end)


_WORDS = {
    AnnouncementKind.AVAILABILITY: "an availability notification of",
    AnnouncementKind.PERFORMED_STEP: "a performed procedure step of",
    AnnouncementKind.COUNT: "the count at",
    AnnouncementKind.HEADER: "the headers of",
}


@dataclass(frozen=True, kw_only=True)
class CompletenessPolicy:
    """How long silence must last, in seconds."""

    #: Where somebody said that this is all: for images that are committed at this moment.
    settle_s: float = 0.1
    #: After the release of the last association.
    quiet_period_s: float = 2.0
    #: After an association that broke or refused an image, while images are missing, or where a procedure step is in
    #: progress although everything was released.
    interrupted_period_s: float = 20.0
    #: While an association stays open, or after one that broke in the middle of a procedure step.
    silent_period_s: float = 120.0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Why a study closes."""

    closing: Closing
    #: The numbers behind it, for people.
    detail: str


@dataclass(frozen=True, kw_only=True)
class _Case:
    closing: Closing
    period_s: float


def weigh(evidence: Evidence, policy: CompletenessPolicy, now: datetime) -> Verdict | None:
    """Why the study closes at `now`, or None while it must be waited for."""
    case = _case(evidence, policy)
    since = evidence.last_instance_at if evidence.is_open else evidence.quiet_since
    if now - since < timedelta(seconds=case.period_s):
        return None
    return Verdict(closing=case.closing, detail=_detail(evidence))


def may_close(evidence: Evidence, policy: CompletenessPolicy, now: datetime) -> bool:
    """Whether the study could close at `now` by any number and any geometry: these are dear to look for."""
    most_s = policy.silent_period_s if evidence.is_open else policy.settle_s
    shortest_s = min(policy.quiet_period_s, most_s)
    return now - evidence.last_instance_at >= timedelta(seconds=shortest_s)


def _case(evidence: Evidence, policy: CompletenessPolicy) -> _Case:
    """The order of the evidence: the first that applies decides."""
    expected = evidence.expected
    if evidence.step_in_progress and not evidence.all_is_here_by_others:
        all_released = not evidence.is_open and not evidence.interrupted
        period_s = policy.interrupted_period_s if all_released else policy.silent_period_s
        return _Case(closing=Closing.STEP_IN_PROGRESS, period_s=period_s)
    # More than expected shows that the number is out of date: no evidence either way.
    if expected is not None and evidence.stored == expected.instances:
        cause = Closing.ANNOUNCED_COMPLETE if expected.is_end else Closing.COUNT_REACHED
        return _Case(closing=cause, period_s=policy.settle_s if _at_once(evidence, expected) else policy.quiet_period_s)
    if evidence.is_open:
        return _Case(closing=Closing.SILENT, period_s=policy.silent_period_s)
    if expected is not None and evidence.stored < expected.instances:
        return _Case(closing=Closing.FEWER_THAN_EXPECTED, period_s=policy.interrupted_period_s)
    if evidence.interrupted:
        return _Case(closing=Closing.INTERRUPTED_AND_QUIET, period_s=policy.interrupted_period_s)
    if evidence.holes or evidence.series_short:
        return _Case(closing=Closing.GAPS, period_s=policy.interrupted_period_s)
    return _Case(closing=Closing.RELEASED_AND_QUIET, period_s=policy.quiet_period_s)


def _at_once(evidence: Evidence, expected: Expectation) -> bool:
    """Whether the number alone will do, without a quiet period, once everything was released.

    A source that passes images on as it gets them counts what it has so far, and so agrees with us after each of the
    associations that it opens; a study that came in one piece is no such case. A hole that nobody counts as missing may
    be how the patient was scanned, but is a reason to look twice.
    """
    if evidence.is_open or evidence.interrupted or evidence.holes or evidence.series_short:
        return False
    return expected.is_end or len(evidence.carriers) == 1


def _detail(evidence: Evidence) -> str:
    parts = []
    if evidence.expected is not None:
        parts.append(f"{evidence.stored} of {evidence.expected.instances} images by {evidence.expected.according_to}")
    if evidence.series_short:
        parts.append(f"{evidence.series_short} fewer than the series' headers say")
    if evidence.holes:
        parts.append(f"slices missing in {evidence.holes} {'place' if evidence.holes == 1 else 'places'}")
    return "; ".join(parts)
