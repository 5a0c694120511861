"""The history of a study: its revisions, and what was rendered about them."""

from datetime import timedelta

import pytest

from ichd.domain.delivery import ObjectKind, Rendered
from ichd.domain.errors import Permanent
from ichd.domain.reason import Reason
from ichd.store.history import History
from ichd.store.outbox import Outbox
from tests.store.house import STUDY, House, unread


@pytest.fixture
def history(house: House) -> History:
    return History(house.engine, house.spool)


def rendered(name: str, content: bytes) -> Rendered:
    return Rendered(sop_class_uid="1.2.3", sop_instance_uid=name, content=content)


def test_each_revision_says_what_it_came_to(house: House, history: History) -> None:
    assert history.revisions(STUDY) == ()
    house.ready()
    job = house.claim()
    house.studies.begin_analysis(job, now=house.now)
    house.studies.not_analysed(job, record=unread(), now=house.now)
    (revision,) = history.revisions(STUDY)
    assert (revision.number, revision.triage, revision.scan, revision.model) == (1, None, None, "")
    assert revision.reason is Reason(unread()["reason"])
    assert revision.concluded_at == house.now
    assert history.revisions("9.9") == ()


def test_what_was_rendered_is_listed_and_comes_back_byte_for_byte(house: House, history: History) -> None:
    house.ready()
    study_id = house.analyse("pacs").study_id
    outbox = Outbox(house.engine, house.spool)
    outbox.keep(study_id, 1, {ObjectKind.SR: [rendered("1.1", b"report")]}, destination="pacs", now=house.now)
    outbox.keep(study_id, 1, {ObjectKind.HEAT: []}, destination="pacs", now=house.now)
    outbox.keep(study_id, 1, {ObjectKind.RESULT: [rendered("m1", b"MSH|")]}, destination="ris", now=house.now)

    listed = history.objects(STUDY)
    assert [(each.kind, each.destination, each.size, each.is_here) for each in listed] == [
        (ObjectKind.RESULT, "ris", 4, True),
        (ObjectKind.SR, "", 6, True),
    ]
    assert history.content(STUDY, listed[1].id) == (ObjectKind.SR, b"report")
    assert history.content("9.9", listed[1].id) is None, "of another study"
    assert history.content(STUDY, listed[1].id + 999) is None


def test_what_went_with_age_is_listed_and_can_not_be_had(house: House, history: History) -> None:
    house.ready()
    job = house.analyse("pacs")
    outbox = Outbox(house.engine, house.spool)
    outbox.keep(job.study_id, 1, {ObjectKind.SR: [rendered("1.1", b"report")]}, destination="pacs", now=house.now)
    house.deliver()
    day = timedelta(days=1)
    outbox.sweep(older_than=day, orphans_after=day, now=house.now + 2 * day)
    (listed,) = history.objects(STUDY)
    assert not listed.is_here
    with pytest.raises(Permanent) as raised:
        history.content(STUDY, listed.id)
    assert raised.value.reason is Reason.FILE_DAMAGED
