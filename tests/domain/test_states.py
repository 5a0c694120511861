"""The two state tables: every pair of states, legal or not."""

from itertools import product

import pytest

from ichd.domain.errors import IllegalTransition
from ichd.domain.job import JobState, move_job
from ichd.domain.study import StudyState, move_study

S, J = StudyState, JobState

LEGAL_STUDY = {
    # As images arrive, are read, and are reported.
    (S.RECEIVING, S.READY),
    (S.READY, S.ANALYSING),
    (S.ANALYSING, S.REPORTED),
    (S.ANALYSING, S.NOT_ANALYSED),
    # Work that went wrong: while it was done, or before it began because worker after worker died.
    (S.ANALYSING, S.FAILED),
    (S.READY, S.FAILED),
    # A late slice, from anywhere.
    (S.READY, S.RECEIVING),
    (S.ANALYSING, S.RECEIVING),
    (S.REPORTED, S.RECEIVING),
    (S.NOT_ANALYSED, S.RECEIVING),
    (S.FAILED, S.RECEIVING),
    # `ichd reprocess`, from any end.
    (S.REPORTED, S.READY),
    (S.NOT_ANALYSED, S.READY),
    (S.FAILED, S.READY),
    # `ichd retry` of a delivery; of a reading it is the line above.
    (S.FAILED, S.ANALYSING),
}

LEGAL_JOB = {
    (J.QUEUED, J.LEASED),
    (J.LEASED, J.DONE),
    (J.LEASED, J.QUEUED),
    (J.LEASED, J.DEAD),
    (J.DEAD, J.QUEUED),
    # Superseded by a newer revision before anybody took it.
    (J.QUEUED, J.DONE),
    # Its destination is no longer in the settings.
    (J.QUEUED, J.DEAD),
}


@pytest.mark.parametrize(("current", "target"), list(product(S, S)))
def test_study_states(current: StudyState, target: StudyState) -> None:
    if (current, target) in LEGAL_STUDY:
        assert move_study(current, target) is target
    else:
        with pytest.raises(IllegalTransition, match=f"from {current} to {target}"):
            move_study(current, target)


@pytest.mark.parametrize(("current", "target"), list(product(J, J)))
def test_job_states(current: JobState, target: JobState) -> None:
    if (current, target) in LEGAL_JOB:
        assert move_job(current, target) is target
    else:
        with pytest.raises(IllegalTransition, match=f"from {current} to {target}"):
            move_job(current, target)


def test_every_study_can_end_and_every_end_can_be_left() -> None:
    """No state is a trap: from each, each end is reachable."""
    reachable = {state: {target for current, target in LEGAL_STUDY if current is state} for state in S}
    for _ in S:
        reachable = {s: seen.union(*(reachable[t] for t in seen)) for s, seen in reachable.items()}
    assert all(seen >= {S.REPORTED, S.NOT_ANALYSED, S.FAILED} for seen in reachable.values())
