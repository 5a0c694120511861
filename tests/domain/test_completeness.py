"""When a study is complete: a worked table in seconds after noon, and what holds whatever the evidence."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichd.domain.arrival import AnnouncementKind
from ichd.domain.completeness import (
    Announcement,
    Carrier,
    Closing,
    CompletenessPolicy,
    Evidence,
    may_close,
    weigh,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = CompletenessPolicy(settle_s=0.3, quiet_period_s=2, interrupted_period_s=20, silent_period_s=120)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def clean(opened: float, ended: float) -> Carrier:
    return Carrier(opened_at=at(opened), ended_at=at(ended), clean=True)


def broken(opened: float, ended: float) -> Carrier:
    return Carrier(opened_at=at(opened), ended_at=at(ended), clean=False)


def still_open(opened: float) -> Carrier:
    return Carrier(opened_at=at(opened), ended_at=None, clean=False)


def evidence(last: float, *carriers: Carrier) -> Evidence:
    return Evidence(last_instance_at=at(last), carriers=carriers)


def closing(seen: Evidence, now: datetime) -> Closing | None:
    verdict = weigh(seen, POLICY, now)
    return verdict.closing if verdict else None


@pytest.mark.parametrize(
    ("seen", "now", "expected"),
    [
        # Released: the quiet period counts from the release.
        (evidence(0, clean(0, 10)), 10, None),
        (evidence(0, clean(0, 10)), 11.9, None),
        (evidence(0, clean(0, 10)), 12, Closing.RELEASED_AND_QUIET),
        # A slice that was committed after the release was noted: from the slice.
        (evidence(11, clean(0, 10)), 12, None),
        (evidence(11, clean(0, 10)), 13, Closing.RELEASED_AND_QUIET),
        # Broken: the sender gets time to come back.
        (evidence(0, broken(0, 1)), 3, None),
        (evidence(0, broken(0, 1)), 20.9, None),
        (evidence(0, broken(0, 1)), 21, Closing.INTERRUPTED_AND_QUIET),
        # Two in parallel, one broken: the release of the other one says nothing of the broken one's slices.
        (evidence(9, broken(0, 9), clean(0, 9.5)), 11.5, None),
        (evidence(9, clean(0, 9.5), broken(0, 9)), 29.4, None),
        (evidence(9, broken(0, 9), clean(0, 9.5)), 29.5, Closing.INTERRUPTED_AND_QUIET),
        (evidence(9, broken(0, 9.5), clean(0, 9)), 29.5, Closing.INTERRUPTED_AND_QUIET),
        # A resend: opened after the interruption, and released.
        (evidence(14, broken(0, 9), clean(10, 15)), 17, Closing.RELEASED_AND_QUIET),
        (evidence(14, broken(0, 8), broken(0, 9), clean(9.1, 15)), 17, Closing.RELEASED_AND_QUIET),
        # A resend that breaks as well, and one that heals both.
        (evidence(14, broken(0, 9), broken(10, 15)), 17, None),
        (evidence(24, broken(0, 9), broken(10, 15), clean(16, 25)), 27, Closing.RELEASED_AND_QUIET),
        # What breaks after the resend is not healed by it.
        (evidence(24, broken(0, 9), clean(10, 15), broken(20, 25)), 27, None),
        # No association is known: as after one that broke.
        (evidence(0), 19.9, None),
        (evidence(0), 20, Closing.INTERRUPTED_AND_QUIET),
        # Open: whatever ended before does not count, only the silence since the last slice.
        (evidence(0, still_open(0)), 119.9, None),
        (evidence(0, still_open(0)), 120, Closing.SILENT),
        (evidence(50, still_open(0), clean(0, 10)), 60, None),
        (evidence(50, still_open(0), still_open(1), clean(0, 10)), 170, Closing.SILENT),
    ],
)
def test_closing_worked(seen: Evidence, now: float, expected: Closing | None) -> None:
    assert closing(seen, at(now)) is expected


def says(
    kind: AnnouncementKind, instances: int | None = None, *, complete: bool = True, source: str = "PACS"
) -> Announcement:
    return Announcement(kind=kind, source=source, complete=complete, instances=instances, made_at=at(0))


def count(instances: int) -> Announcement:
    return says(AnnouncementKind.COUNT, instances, complete=False)


def available(instances: int) -> Announcement:
    return says(AnnouncementKind.AVAILABILITY, instances)


def step(instances: int | None = None, *, ended: bool = True, source: str = "CT1") -> Announcement:
    return says(AnnouncementKind.PERFORMED_STEP, instances, complete=ended, source=source)


def header(instances: int) -> Announcement:
    return says(AnnouncementKind.HEADER, instances, complete=False, source="the images")


def held(stored: int, *said: Announcement, by: tuple[Carrier, ...] = (clean(0, 10),), **more: int) -> Evidence:
    """So many images, the last of them at 10 s."""
    return Evidence(last_instance_at=at(10), carriers=by, stored=stored, announcements=said, **more)


TWICE = (clean(0, 4), clean(5, 10))


@pytest.mark.parametrize(
    ("seen", "after_s", "expected"),
    [
        # All that was announced is there: no quiet period.
        (held(28, available(28)), 0.3, Closing.ANNOUNCED_COMPLETE),
        (held(28, available(28), by=TWICE), 0.3, Closing.ANNOUNCED_COMPLETE),
        (held(28, step(28)), 0.3, Closing.ANNOUNCED_COMPLETE),
        (held(28, step(20), step(8, source="CT2")), 0.3, Closing.ANNOUNCED_COMPLETE),
        (held(28, count(28)), 0.3, Closing.COUNT_REACHED),
        (held(28, header(28)), 0.3, Closing.COUNT_REACHED),
        # The source may get more than it has counted, as we did: in several associations.
        (held(28, count(28), by=TWICE), 2, Closing.COUNT_REACHED),
        # Whatever was interrupted, nothing is missing; the same while the sender keeps its association.
        (held(28, count(28), by=(broken(0, 10),)), 2, Closing.COUNT_REACHED),
        (held(28, available(28), by=(broken(0, 10),)), 2, Closing.ANNOUNCED_COMPLETE),
        (held(28, available(28), by=(still_open(0),)), 2, Closing.ANNOUNCED_COMPLETE),
        # A hole that nobody counts as missing is looked at twice.
        (held(28, available(28), holes=1), 2, Closing.ANNOUNCED_COMPLETE),
        (held(28, count(28), series_short=3), 2, Closing.COUNT_REACHED),
        # Fewer than announced: as after an interruption.
        (held(26, count(28)), 20, Closing.FEWER_THAN_EXPECTED),
        (held(26, available(28)), 20, Closing.FEWER_THAN_EXPECTED),
        (held(26, header(28)), 20, Closing.FEWER_THAN_EXPECTED),
        (held(26, count(28), by=(still_open(0),)), 120, Closing.SILENT),
        # The largest number decides, but what headers say of objects of every class is heard last.
        (held(26, count(26), available(28)), 20, Closing.FEWER_THAN_EXPECTED),
        (held(28, count(28), header(30)), 0.3, Closing.COUNT_REACHED),
        # More than announced: the number is out of date, and says nothing.
        (held(29, available(28)), 2, Closing.RELEASED_AND_QUIET),
        (held(29, count(28), holes=1), 20, Closing.GAPS),
        # An end without a number says that no more is made, not that all was sent.
        (held(28, step()), 2, Closing.RELEASED_AND_QUIET),
        (held(28, step(0)), 2, Closing.RELEASED_AND_QUIET),
        # A step in progress is waited for, longer while its images are on their way or broke off.
        (held(28, step(ended=False)), 20, Closing.STEP_IN_PROGRESS),
        (held(28, step(ended=False), by=(still_open(0),)), 120, Closing.STEP_IN_PROGRESS),
        (held(28, step(ended=False), by=(broken(0, 10),)), 120, Closing.STEP_IN_PROGRESS),
        (held(28, step(28, ended=False), count(28)), 20, Closing.STEP_IN_PROGRESS),
        (held(28, step(28), step(ended=False, source="CT2")), 20, Closing.STEP_IN_PROGRESS),
        # Unless somebody else says that this is all, or it was begun yesterday.
        (held(28, step(ended=False), available(28)), 0.3, Closing.ANNOUNCED_COMPLETE),
        (held(28, step(28, ended=False), available(28)), 0.3, Closing.ANNOUNCED_COMPLETE),
        (held(27, step(ended=False), available(28)), 20, Closing.STEP_IN_PROGRESS),
        (held(28, replace(step(ended=False), made_at=at(-12 * 3600))), 2, Closing.RELEASED_AND_QUIET),
        (held(28, replace(step(ended=False), made_at=at(10 - 12 * 3600))), 20, Closing.STEP_IN_PROGRESS),
        # Gaps.
        (held(26, holes=2), 20, Closing.GAPS),
        (held(26, series_short=2), 20, Closing.GAPS),
        (held(26, holes=2, by=(broken(0, 10),)), 20, Closing.INTERRUPTED_AND_QUIET),
        (held(26, holes=2, by=(still_open(0),)), 120, Closing.SILENT),
    ],
)
def test_evidence_beside_the_associations(seen: Evidence, after_s: float, expected: Closing) -> None:
    assert closing(seen, at(10 + after_s - 0.01)) is None
    assert closing(seen, at(10 + after_s)) is expected


@pytest.mark.parametrize(
    ("seen", "detail"),
    [
        (held(28), ""),
        (held(26, count(28)), "26 of 28 images by the count at PACS"),
        (held(28, step(8), step(20, source="CT2")), "28 of 28 images by a performed procedure step of CT1 and CT2"),
        (held(26, holes=1), "slices missing in 1 place"),
        (
            held(26, header(28), holes=2, series_short=2),
            "26 of 28 images by the headers of the images; 2 fewer than the series' headers say; "
            "slices missing in 2 places",
        ),
    ],
)
def test_the_numbers_behind_a_closing(seen: Evidence, detail: str) -> None:
    verdict = weigh(seen, POLICY, at(1000))
    assert verdict is not None
    assert verdict.detail == detail


SECONDS = st.floats(0, 1000)
ENDED = st.builds(
    lambda first, second, good: clean(min(first, second), max(first, second)) if good else broken(first, first),
    SECONDS,
    SECONDS,
    st.booleans(),
)
FEW = st.integers(0, 4)
EVIDENCE = st.builds(
    lambda last, carriers, said, numbers: Evidence(
        last_instance_at=at(last),
        carriers=carriers,
        stored=numbers[0],
        announcements=said,
        holes=numbers[1],
        series_short=numbers[2],
    ),
    SECONDS,
    st.lists(ENDED | st.builds(still_open, SECONDS)),
    st.lists(
        st.builds(
            lambda kind, instances, complete: says(kind, instances, complete=complete),
            st.sampled_from(AnnouncementKind),
            FEW | st.none(),
            st.booleans(),
        ),
        max_size=3,
    ),
    st.tuples(FEW, FEW, FEW),
)


@given(EVIDENCE, SECONDS, SECONDS)
def test_what_is_closed_stays_closed_while_nothing_arrives(seen: Evidence, now: float, later: float) -> None:
    if closing(seen, at(now)) is not None:
        assert closing(seen, at(now + later)) is closing(seen, at(now))


@given(EVIDENCE, SECONDS)
def test_a_slice_this_instant_keeps_every_study_open(seen: Evidence, now: float) -> None:
    assert closing(replace(seen, last_instance_at=at(now)), at(now)) is None


@given(EVIDENCE)
def test_every_study_closes_in_the_end(seen: Evidence) -> None:
    assert closing(seen, at(2000)) is not None


@given(EVIDENCE, st.randoms(use_true_random=False))
def test_the_order_in_which_associations_are_told_means_nothing(seen: Evidence, random: object) -> None:
    shuffled = list(seen.carriers)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert closing(replace(seen, carriers=shuffled), at(500)) is closing(seen, at(500))


@given(EVIDENCE, SECONDS)
def test_another_broken_association_never_closes_a_study_sooner(seen: Evidence, ended: float) -> None:
    worse = replace(seen, carriers=[*seen.carriers, broken(0, ended)])
    for now in range(0, 2000, 50):
        if closing(worse, at(now)) is not None:
            assert closing(seen, at(now)) is not None


@given(EVIDENCE, SECONDS)
def test_the_cheap_look_never_hides_a_study_that_would_close(seen: Evidence, now: float) -> None:
    if weigh(seen, POLICY, at(now)) is not None:
        assert may_close(replace(seen, announcements=(), holes=0, series_short=0), POLICY, at(now))


@given(EVIDENCE, SECONDS)
def test_holes_never_close_a_study_sooner(seen: Evidence, now: float) -> None:
    if closing(replace(seen, holes=seen.holes + 1), at(now)) is not None:
        assert closing(seen, at(now)) is not None


@pytest.mark.parametrize("cause", Closing)
def test_every_cause_has_words_for_people(cause: Closing) -> None:
    assert len(cause.meaning) > 20
    assert "_" not in cause.meaning
