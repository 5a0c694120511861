"""What was refused: shown with its study, written together, forgotten after a while."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from sqlalchemy import event

from ichd.domain.reason import Reason
from ichd.domain.study import CT_IMAGE_STORAGE
from ichd.pipeline.ticks import FORGET_AFTER
from tests.store.house import NOON, STUDY, House, image


def test_a_study_shows_what_was_refused_of_it(house: House) -> None:
    house.receive(1)
    for number, study in ((2, STUDY), (3, "1.2.840.2"), (4, None)):
        house.arrivals.refuse(
            Reason.TRUNCATED,
            detail="20 of 128 pixel bytes",
            calling_ae_title="CT1",
            address="192.0.2.1",
            sop_class_uid=CT_IMAGE_STORAGE,
            sop_instance_uid=image(number).sop_instance_uid,
            study_instance_uid=study,
            now=house.now,
        )
    (refusal,) = house.studies.detail(STUDY).refusals
    assert (refusal.reason, refusal.sop_instance_uid) == (Reason.TRUNCATED, image(2).sop_instance_uid)
    assert len(house.arrivals.refusals()) == 3


def test_refusals_that_come_together_share_a_commit(house: House) -> None:
    def refuse(number: int) -> None:
        house.arrivals.refuse(
            Reason.TRUNCATED,
            detail="20 of 128 pixel bytes\0",
            calling_ae_title="CT1",
            address="192.0.2.1",
            sop_class_uid=None,
            sop_instance_uid=f"1.2.{number}",
            now=house.now,
        )

    commits: list[object] = []
    event.listen(house.engine, "commit", commits.append)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(refuse, range(200)))
    shown = house.arrivals.refusals(limit=500)
    assert {refusal.sop_instance_uid for refusal in shown} == {f"1.2.{number}" for number in range(200)}
    assert (shown[0].detail.rstrip("\0"), shown[0].study_instance_uid) == (shown[0].detail, None)
    assert len(commits) < 200


def test_refusals_are_forgotten_after_a_while(house: House) -> None:
    """Nothing else takes them away, and anybody may cause them."""
    for days in (31, 29, 0):
        house.arrivals.refuse(
            Reason.TRUNCATED,
            detail="",
            calling_ae_title="CT1",
            address="192.0.2.1",
            sop_class_uid=None,
            sop_instance_uid=None,
            now=NOON - timedelta(days=days),
        )
    assert house.studies.forget_old(before=NOON - FORGET_AFTER) == 1
    assert [NOON - refusal.refused_at for refusal in house.arrivals.refusals()] == [timedelta(0), timedelta(days=29)]
