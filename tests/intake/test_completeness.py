"""How senders behave in truth: what reaches a listener from them is one study each, closed once, by the right evidence.

Senders are real associations; the clock that closes studies is the test's, so that no quiet period is waited for.
"""

from collections.abc import Iterable
from datetime import timedelta

import pytest
from pydicom.dataset import Dataset

from ichd.domain.arrival import AnnouncementKind
from ichd.domain.completeness import Closing, CompletenessPolicy
from ichd.domain.study import StudyState
from ichd.store.announcements import Announcements
from ichd.store.studies import Studies
from ichd.store.tables import AssociationRow, ConflictRow
from tests.acceptance.daemon import wait_until
from tests.intake.conftest import House, now
from tests.intake.images import ROOT, encode, image
from tests.intake.senders import SUCCESS, Sender

POLICY = CompletenessPolicy()
HEAD, FOOT = f"{ROOT}.61", f"{ROOT}.62"


def slices(study: str, numbers: Iterable[int], **attributes: object) -> list[Dataset]:
    return [
        image(
            number,
            StudyInstanceUID=study,
            SeriesInstanceUID=f"{study}.1",
            SOPInstanceUID=f"{study}.1.{number}",
            **attributes,
        )
        for number in numbers
    ]


def send(sender: Sender, *images: Dataset) -> None:
    for each in images:
        assert sender.store(encode(each), str(each.SOPInstanceUID)).status == SUCCESS


def bring(house: House, *images: Dataset, **options: str) -> None:
    """All in one association, and its end written down."""
    with house.sender(**options) as sender:
        send(sender, *images)
    all_ended(house)


def all_ended(house: House) -> None:
    """A release is answered before it is written down."""
    wait_until(lambda: all(row.ended_at is not None for row in house.rows(AssociationRow)), "the ends are written down")


def close(house: House, after_s: float) -> dict[str, Closing | None]:
    """Close what is complete so many seconds from now."""
    studies = Studies(house.engine, house.spool)
    closed = studies.close_complete(POLICY, now=now() + timedelta(seconds=after_s))
    return {uid: studies.detail(uid).summary.closing for uid in closed}


def images_of(house: House, study: str) -> int:
    return Studies(house.engine, house.spool).detail(study).summary.slices


def test_an_association_for_each_image_is_one_study(house: House) -> None:
    for each in slices(HEAD, range(12)):
        with house.sender() as sender:
            send(sender, each)
        # Between two of its associations nothing speaks of an end but their releases.
        assert close(house, 0) == {}
    all_ended(house)
    assert len(house.rows(AssociationRow)) == 12
    assert close(house, POLICY.quiet_period_s) == {HEAD: Closing.RELEASED_AND_QUIET}
    assert images_of(house, HEAD) == 12


def test_a_slow_sender_of_single_images_with_a_count_that_grows_with_it(house: House) -> None:
    """A source that passes images on as it gets them agrees with us after each: no reason to close at once."""
    announcements = Announcements(house.engine)
    for number in (1, 2, 3):
        bring(house, *slices(HEAD, [number]))
        announcements.note(
            AnnouncementKind.COUNT, study_uid=HEAD, source="pacs", complete=False, instances=number, now=now()
        )
        if number > 1:
            assert close(house, POLICY.quiet_period_s / 2) == {}
    assert close(house, POLICY.quiet_period_s) == {HEAD: Closing.COUNT_REACHED}


def test_two_studies_in_one_association(house: House) -> None:
    with house.sender() as sender:
        for head, foot in zip(slices(HEAD, range(8)), slices(FOOT, range(8)), strict=True):
            send(sender, head, foot)
        assert close(house, POLICY.interrupted_period_s) == {}
    all_ended(house)
    assert close(house, POLICY.quiet_period_s) == {
        HEAD: Closing.RELEASED_AND_QUIET,
        FOOT: Closing.RELEASED_AND_QUIET,
    }
    assert (images_of(house, HEAD), images_of(house, FOOT)) == (8, 8)


def test_of_two_studies_in_one_association_the_one_that_is_all_there_need_not_wait(house: House) -> None:
    Announcements(house.engine).note(
        AnnouncementKind.AVAILABILITY, study_uid=HEAD, source="pacs", complete=True, instances=8, now=now()
    )
    with house.sender() as sender:
        send(sender, *slices(HEAD, range(8)), *slices(FOOT, range(3)))
        assert close(house, POLICY.quiet_period_s) == {HEAD: Closing.ANNOUNCED_COMPLETE}
        send(sender, *slices(FOOT, range(3, 8)))
    all_ended(house)
    assert close(house, POLICY.quiet_period_s) == {FOOT: Closing.RELEASED_AND_QUIET}


def test_one_study_from_two_nodes_side_by_side(house: House) -> None:
    first = house.sender(calling_ae_title="CT1", address="127.0.0.2")
    with first, house.sender(calling_ae_title="WORKSTATION", address="127.0.0.3") as second:
        send(first, *slices(HEAD, range(6)))
        # What both send is the same image.
        send(second, *slices(HEAD, range(4, 10)))
        first.association.release()
        assert close(house, POLICY.interrupted_period_s) == {}
    all_ended(house)
    rows = house.rows(AssociationRow)
    assert {(row.calling_ae_title, row.address) for row in rows} == {
        ("CT1", "127.0.0.2"),
        ("WORKSTATION", "127.0.0.3"),
    }
    assert close(house, POLICY.quiet_period_s) == {HEAD: Closing.RELEASED_AND_QUIET}
    assert images_of(house, HEAD) == 10
    assert house.count(ConflictRow) == 0


def test_a_node_that_breaks_off_keeps_the_study_open_for_its_resend(house: House) -> None:
    first, *rest = slices(HEAD, range(6))
    broken = house.sender(calling_ae_title="CT1")
    send(broken, first)
    broken.break_off(encode(rest[0]), str(rest[0].SOPInstanceUID))
    all_ended(house)
    assert close(house, POLICY.quiet_period_s) == {}
    bring(house, *rest, calling_ae_title="CT1")
    assert close(house, POLICY.quiet_period_s) == {HEAD: Closing.RELEASED_AND_QUIET}


@pytest.mark.parametrize(("announced", "closing"), [(9, Closing.FEWER_THAN_EXPECTED), (None, Closing.GAPS)])
def test_a_slice_that_never_came_is_waited_for_and_named(house: House, announced: int | None, closing: Closing) -> None:
    bring(house, *slices(HEAD, (0, 1, 2, 6, 7, 8)))
    numbers = {} if announced is None else {"NumberOfStudyRelatedInstances": announced}
    if announced is not None:
        bring(house, *slices(HEAD, (9,), **numbers))
    assert close(house, POLICY.quiet_period_s) == {}
    assert close(house, POLICY.interrupted_period_s) == {HEAD: closing}
    detail = Studies(house.engine, house.spool).detail(HEAD).summary.closing_detail
    assert "slices missing in 1 place" in detail
    assert ("7 of 9 images" in detail) is (announced is not None)


def test_a_late_slice_opens_the_study_again(house: House) -> None:
    bring(house, *slices(HEAD, range(6)))
    assert close(house, POLICY.quiet_period_s) == {HEAD: Closing.RELEASED_AND_QUIET}
    bring(house, *slices(HEAD, [6]))
    summary = Studies(house.engine, house.spool).detail(HEAD).summary
    assert (summary.state, summary.revision, summary.closing) == (StudyState.RECEIVING, 2, None)
    assert close(house, POLICY.quiet_period_s) == {HEAD: Closing.RELEASED_AND_QUIET}
