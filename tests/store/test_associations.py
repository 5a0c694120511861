"""How an association ended says whether its study is complete."""

from concurrent.futures import ThreadPoolExecutor

from ichd.domain.completeness import Closing, CompletenessPolicy
from tests.store.house import POLICY, STUDY, House, image


def test_associations_are_evidence(house: House) -> None:
    association_id = house.open_association()
    house.arrive(image(1), association_id=association_id)
    house.wait(POLICY.silent_period_s - 1)
    assert house.studies.close_complete(POLICY, now=house.now) == []
    house.end_association(association_id)
    house.wait(POLICY.quiet_period_s - 0.5)
    assert house.studies.close_complete(POLICY, now=house.now) == []
    house.wait(0.5)
    assert house.studies.close_complete(POLICY, now=house.now) == [STUDY]
    assert house.summary().closing is Closing.RELEASED_AND_QUIET
    assert house.studies.close_complete(POLICY, now=house.now) == []


def test_an_association_that_never_ends_is_closed_by_silence(house: House) -> None:
    association_id = house.open_association()
    house.arrive(image(1), association_id=association_id)
    house.wait(POLICY.silent_period_s)
    house.close()
    assert house.summary().closing is Closing.SILENT


def test_a_broken_association_is_waited_for_longer(house: House) -> None:
    association_id = house.open_association()
    house.arrive(image(1), association_id=association_id)
    house.end_association(association_id, released=False)
    assert house.close() == []
    house.wait(POLICY.interrupted_period_s)
    assert house.close() == [STUDY]
    assert house.summary().closing is Closing.INTERRUPTED_AND_QUIET


def test_a_broken_association_counts_whatever_a_parallel_one_does(house: House) -> None:
    """Half of the head came through; the release of the other half must not have it read as the whole."""
    left, right = house.open_association(), house.open_association()
    house.arrive(image(1), association_id=left)
    house.wait(0.5)
    house.arrive(image(2), association_id=right)
    house.end_association(left, released=False)
    house.wait(0.5)
    house.end_association(right)
    assert house.close() == []
    resend = house.open_association()
    house.arrive(image(1), association_id=resend)
    house.end_association(resend)
    assert house.close() == [STUDY]
    assert house.summary().closing is Closing.RELEASED_AND_QUIET


def test_an_association_that_refused_an_image_is_waited_for_longer(house: House) -> None:
    association_id = house.open_association()
    house.arrive(image(1), association_id=association_id)
    house.end_association(association_id, refused=1)
    assert house.close() == []
    house.wait(POLICY.interrupted_period_s)
    assert house.close() == [STUDY]
    assert house.summary().closing is Closing.INTERRUPTED_AND_QUIET


def test_a_resend_keeps_the_study_open_until_it_is_released(house: House) -> None:
    """The first twenty seconds of a resend may hold nothing but duplicates; they are evidence all the same."""
    first = house.open_association()
    house.arrive(image(1), association_id=first)
    house.end_association(first, released=False)
    house.wait(1)
    second = house.open_association()
    house.arrive(image(1), association_id=second)
    house.wait(POLICY.interrupted_period_s * 2)
    assert house.close() == []
    house.arrive(image(2), association_id=second)
    house.end_association(second)
    assert house.close() == [STUDY]
    assert house.summary().closing is Closing.RELEASED_AND_QUIET


def test_associations_of_a_dead_listener_end_as_interrupted(house: House) -> None:
    association_id = house.open_association()
    house.arrive(image(1), association_id=association_id)
    ended = house.open_association()
    house.end_association(ended)
    assert house.arrivals.end_interrupted(listener="elsewhere:11112", now=house.now) == 0
    assert house.arrivals.end_interrupted(listener="here:11112", now=house.now) == 1
    assert house.arrivals.end_interrupted(listener="here:11112", now=house.now) == 0
    house.wait(POLICY.interrupted_period_s)
    house.close()
    assert house.summary().closing is Closing.INTERRUPTED_AND_QUIET


def test_a_study_is_closed_once_by_many_workers(house: House) -> None:
    house.receive(1, 2)
    house.wait(POLICY.quiet_period_s)
    with ThreadPoolExecutor(4) as pool:
        closed = list(pool.map(lambda _: house.studies.close_complete(CompletenessPolicy(), now=house.now), range(4)))
    assert sorted(closed) == [[], [], [], [STUDY]]


def test_the_end_of_an_association_that_has_no_row_any_more_is_no_trouble(house: House) -> None:
    association_id = house.open_association()
    house.end_association(association_id + 1)
    assert house.arrivals.end_interrupted(listener="here:11112", now=house.now) == 1


def test_a_study_is_under_reception_until_it_is_complete(house: House) -> None:
    assert not house.arrivals.is_under_reception(STUDY)
    house.receive(1)
    assert house.arrivals.is_under_reception(STUDY)
    assert house.close() == [STUDY]
    assert not house.arrivals.is_under_reception(STUDY)
