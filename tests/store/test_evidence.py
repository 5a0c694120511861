"""Studies close by what is known of them: announcements, numbers in headers, gaps; on both databases."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import event, func, select
from sqlalchemy.orm import Session

from ichd.domain.arrival import AnnouncementKind, Door
from ichd.domain.completeness import Closing
from ichd.domain.reason import Reason
from ichd.domain.study import StudyState
from ichd.store.announcements import Announcements, Brought, Note, StepUpdate
from ichd.store.tables import AssociationRow
from tests.store.house import POLICY, STUDY, House, image

STEP = "1.2.3.4.5"


def say(house: House, kind: AnnouncementKind, instances: int | None, *, complete: bool = True) -> None:
    Announcements(house.engine).note(
        kind, study_uid=STUDY, source="pacs", complete=complete, instances=instances, now=house.now
    )


def closes_after(house: House, seconds: float) -> tuple[Closing | None, str]:
    """Not a moment sooner."""
    house.wait(seconds - 0.01)
    assert house.studies.close_complete(POLICY, now=house.now) == []
    house.wait(0.01)
    assert house.studies.close_complete(POLICY, now=house.now) == [STUDY]
    summary = house.summary()
    assert summary.state is StudyState.READY
    return summary.closing, summary.closing_detail


def test_all_that_was_announced_closes_a_study_at_once(house: House) -> None:
    say(house, AnnouncementKind.AVAILABILITY, 3)
    house.receive(1, 2, 3)
    assert closes_after(house, POLICY.settle_s) == (
        Closing.ANNOUNCED_COMPLETE,
        "3 of 3 images by an availability notification of pacs",
    )


def test_the_last_word_of_a_source_counts(house: House) -> None:
    say(house, AnnouncementKind.COUNT, 2, complete=False)
    house.receive(1, 2, 3)
    say(house, AnnouncementKind.COUNT, 5, complete=False)
    assert closes_after(house, POLICY.interrupted_period_s) == (
        Closing.FEWER_THAN_EXPECTED,
        "3 of 5 images by the count at pacs",
    )


def test_what_is_said_of_another_study_does_not_matter(house: House) -> None:
    Announcements(house.engine).note(
        AnnouncementKind.COUNT, study_uid="1.2.3", source="pacs", complete=False, instances=9, now=house.now
    )
    house.receive(1, 2, 3)
    assert closes_after(house, POLICY.quiet_period_s) == (Closing.RELEASED_AND_QUIET, "")


def test_a_slice_that_is_missing_is_waited_for(house: House) -> None:
    house.receive(1, 2, 3, 4, 8, 9, 10)
    assert closes_after(house, POLICY.interrupted_period_s) == (Closing.GAPS, "slices missing in 1 place")


def test_the_missing_slice_ends_the_waiting(house: House) -> None:
    house.receive(1, 2, 3, 4, 8, 9, 10)
    house.wait(5)
    assert house.studies.close_complete(POLICY, now=house.now) == []
    house.receive(5, 6, 7)
    assert closes_after(house, POLICY.quiet_period_s) == (Closing.RELEASED_AND_QUIET, "")


def test_the_number_in_the_headers(house: House) -> None:
    association = house.open_association()
    for number in (1, 2):
        house.arrive(replace(image(number), study_related_instances=3), association_id=association)
    house.end_association(association)
    house.wait(5)
    assert house.studies.close_complete(POLICY, now=house.now) == []
    association = house.open_association()
    house.arrive(replace(image(3), study_related_instances=3), association_id=association)
    house.end_association(association)
    assert closes_after(house, POLICY.quiet_period_s) == (
        Closing.COUNT_REACHED,
        "3 of 3 images by the headers of the images",
    )


def test_a_series_that_lacks_images_by_its_own_headers(house: House) -> None:
    association = house.open_association()
    for number in (1, 2):
        house.arrive(replace(image(number), series_related_instances=4), association_id=association)
    other = f"{STUDY}.2"
    house.arrive(replace(image(1, series=other), series_related_instances=1), association_id=association)
    house.end_association(association)
    assert closes_after(house, POLICY.interrupted_period_s) == (
        Closing.GAPS,
        "2 fewer than the series' headers say",
    )


def test_a_late_slice_is_judged_anew(house: House) -> None:
    say(house, AnnouncementKind.AVAILABILITY, 2)
    house.receive(1, 2)
    closes_after(house, POLICY.settle_s)
    house.receive(3)
    summary = house.summary()
    assert (summary.revision, summary.closing, summary.closing_detail) == (2, None, "")
    assert closes_after(house, POLICY.quiet_period_s) == (
        Closing.RELEASED_AND_QUIET,
        "3 of 2 images by an availability notification of pacs",
    )


def test_a_procedure_step_from_begin_to_end(house: House) -> None:
    announcements = Announcements(house.engine)
    step = {"study_uid": STUDY, "source": "CT1", "complete": False, "instances": None, "now": house.now}
    assert announcements.begin_step(STEP, **step) is Note.NOTED  # type: ignore[arg-type]
    assert announcements.begin_step(STEP, **step | {"source": "CT2"}) is Note.TAKEN  # type: ignore[arg-type]
    house.receive(1, 2)
    house.wait(POLICY.interrupted_period_s - 1)
    assert house.studies.close_complete(POLICY, now=house.now) == []

    assert announcements.update_step(STEP, ended=False, instances=2, now=house.now) is StepUpdate.UPDATED
    assert announcements.update_step(STEP, ended=True, instances=None, now=house.now) is StepUpdate.UPDATED
    assert house.studies.close_complete(POLICY, now=house.now) == [STUDY]
    assert house.summary().closing is Closing.ANNOUNCED_COMPLETE
    assert announcements.update_step(STEP, ended=True, instances=3, now=house.now) is StepUpdate.ENDED
    assert announcements.update_step("1.2.3", ended=True, instances=3, now=house.now) is StepUpdate.UNKNOWN


def test_studies_that_nobody_is_bringing_any_more(house: House) -> None:
    announcements = Announcements(house.engine)
    assert announcements.brought() == []
    first = house.open_association()
    house.arrive(image(1), association_id=first)
    assert announcements.brought() == []
    house.end_association(first)
    house.wait(1)
    second = house.open_association()
    house.arrive(image(2), association_id=second)
    assert announcements.brought() == []
    house.end_association(second)
    expected = Brought(study_uid=STUDY, ended_at=house.now, calling_ae_title="CT1")
    assert announcements.brought() == [expected]
    house.close()
    assert announcements.brought() == []


@pytest.mark.parametrize("studies", [1, 30])
def test_headers_are_read_once_for_as_long_as_no_image_comes(house: House, studies: int) -> None:
    for study in range(studies):
        house.receive(1, 2, 3, 4, 8, 9, 10, study=f"1.2.840.{study + 1}")
    house.wait(POLICY.quiet_period_s)
    house.studies.close_complete(POLICY, now=house.now)
    statements: list[str] = []
    event.listen(house.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    house.wait(1)
    assert house.studies.close_complete(POLICY, now=house.now) == []
    asked = [statement for statement in statements if statement.startswith("SELECT")]
    assert len(asked) == 6
    assert not any("facts" in statement for statement in asked)


def test_headers_are_not_read_while_a_study_streams_in(house: House) -> None:
    association = house.open_association()
    statements: list[str] = []
    event.listen(house.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    for number in range(8):
        house.arrive(image(number), association_id=association)
        house.wait(POLICY.quiet_period_s / 2)
        assert house.studies.close_complete(POLICY, now=house.now) == []
    assert not any("facts" in statement for statement in statements if statement.startswith("SELECT"))


def refuse(house: House, *, study: str = STUDY) -> None:
    house.arrivals.refuse(
        Reason.TRUNCATED,
        detail="",
        calling_ae_title="CT1",
        address="192.0.2.1",
        sop_class_uid=None,
        sop_instance_uid=None,
        study_instance_uid=study,
        now=house.now,
    )


def lose(house: House, *, study: str = STUDY) -> None:
    """An association is broken off in the middle of its only image."""
    house.arrivals.note_fruitless(
        door=Door.DIMSE,
        calling_ae_title="CT1",
        address="192.0.2.1",
        listener="here:11112",
        opened_at=house.now,
        released=False,
        refused=0,
        missed=[study],
        now=house.now,
    )


@pytest.mark.parametrize("trouble", [refuse, lose])
def test_an_image_lost_in_an_association_of_its_own_is_waited_for(
    house: House, trouble: Callable[[House], None]
) -> None:
    house.receive(1, 2)
    house.wait(1)
    trouble(house)
    house.wait(-1)
    assert closes_after(house, POLICY.interrupted_period_s) == (Closing.INTERRUPTED_AND_QUIET, "")


@pytest.mark.parametrize("trouble", [refuse, lose])
def test_a_lost_image_that_is_sent_again_is_lost_no_more(house: House, trouble: Callable[[House], None]) -> None:
    house.receive(1, 2)
    trouble(house)
    house.wait(1)
    house.receive(3)
    assert closes_after(house, POLICY.quiet_period_s) == (Closing.RELEASED_AND_QUIET, "")


def test_an_image_refused_before_its_study_was_known(house: House) -> None:
    association = house.open_association()
    house.wait(1)
    refuse(house)
    house.arrive(image(2), association_id=association)
    house.end_association(association)
    assert closes_after(house, POLICY.interrupted_period_s) == (Closing.INTERRUPTED_AND_QUIET, "")


def test_who_tries_a_bad_image_for_ever_does_not_keep_the_study_for_ever(house: House) -> None:
    house.receive(1, 2)
    for _ in range(3):
        house.wait(POLICY.interrupted_period_s / 4)
        refuse(house)
        lose(house)
    assert house.studies.close_complete(POLICY, now=house.now) == []
    house.wait(POLICY.interrupted_period_s / 4)
    assert house.studies.close_complete(POLICY, now=house.now) == [STUDY]


def test_a_lost_image_of_a_study_that_is_not_received_leaves_no_association(house: House) -> None:
    house.ready(1, 2)
    lose(house)
    lose(house, study="1.2.840.99")
    with Session(house.engine) as session:
        assert session.scalar(select(func.count()).select_from(AssociationRow)) == 1


def test_an_image_of_another_study_lost_in_an_association_that_kept_some(house: House) -> None:
    house.receive(1, 2)
    house.wait(1)
    association = house.open_association()
    house.arrive(image(1, study="1.2.840.2"), association_id=association)
    house.arrivals.end_association(association, released=False, missed=[STUDY], now=house.now)
    house.wait(POLICY.quiet_period_s)
    assert house.studies.close_complete(POLICY, now=house.now) == []
    house.wait(POLICY.interrupted_period_s)
    assert set(house.studies.close_complete(POLICY, now=house.now)) == {STUDY, "1.2.840.2"}
