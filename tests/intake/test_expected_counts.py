"""How many images a study has is asked where it came from, against Orthanc; nothing that goes wrong there is felt."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError
from structlog.testing import capture_logs

from ichd.domain.arrival import AnnouncementKind
from ichd.domain.study import CT_IMAGE_STORAGE, InstanceFacts
from ichd.intake.ask.expected import ExpectedCounts
from ichd.intake.ask.sources import DimseSource, Source
from ichd.store.announcements import Announcements
from ichd.store.tables import AnnouncementRow
from tests.intake.asking import Pacs, running_pacs, series
from tests.intake.conftest import House, now

STUDY = "1.2.826.0.1.3680043.10.1459.81"
OTHER = "1.2.826.0.1.3680043.10.1459.82"
EXPECTED = {STUDY: 4, OTHER: 2}


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pacs]:
    with running_pacs(tmp_path_factory.mktemp("pacs")) as running:
        running.keep([image for study, images in EXPECTED.items() for image in series(study, 1, images)])
        yield running


def bring(house: House, study: str, number: int, *, calling_ae_title: str) -> None:
    """One image in one association."""
    facts = InstanceFacts(
        study_instance_uid=study,
        series_instance_uid=f"{study}.1",
        sop_instance_uid=f"{study}.1.{number}",
        sop_class_uid=CT_IMAGE_STORAGE,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality="CT",
    )
    association = house.arrivals.open_association(calling_ae_title=calling_ae_title, address="192.0.2.1", now=now())
    stored = house.spool.write([facts.sop_instance_uid.encode()])
    house.arrivals.record(facts, stored, association_id=association, now=now())
    house.arrivals.end_association(association, released=True, now=now())


def counting(house: House, *sources: Source, **options: float) -> ExpectedCounts:
    return ExpectedCounts(Announcements(house.engine), sources, now, **options)


def counts(house: House) -> set[tuple[str, str, int | None]]:
    rows = house.rows(AnnouncementRow)
    assert all(row.kind is AnnouncementKind.COUNT and not row.complete for row in rows)
    return {(row.study_instance_uid, row.source, row.instances) for row in rows}


@contextmanager
def hanging_up() -> Iterator[tuple[DimseSource, list[float]]]:
    """An archive that closes every connection, and when it did."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        calls: list[float] = []

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                calls.append(time.monotonic())
                connection.close()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        port = server.getsockname()[1]
        yield DimseSource(name="deaf", host="127.0.0.1", port=port, ae_title="DEAF", timeout_s=3.0), calls
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.mark.parametrize("kind", ["dimse", "web"])
def test_the_source_is_asked_once_an_association_ended(house: House, pacs: Pacs, kind: str) -> None:
    expected = counting(house, pacs.dimse() if kind == "dimse" else pacs.web())
    expected.look()
    assert counts(house) == set()
    bring(house, STUDY, 1, calling_ae_title="SCANNER")
    bring(house, OTHER, 1, calling_ae_title="SCANNER")
    expected.look()
    assert counts(house) == {(STUDY, "pacs", 4), (OTHER, "pacs", 2)}


def test_it_is_asked_again_after_the_next_end_and_not_before(house: House, pacs: Pacs) -> None:
    expected = counting(house, pacs.dimse())
    asked = []
    for number in (1, 1, 2):
        bring(house, STUDY, number, calling_ae_title="SCANNER")
        for _ in range(2):
            expected.look()
            (row,) = house.rows(AnnouncementRow)
            asked.append(row.made_at)
    assert asked[0] == asked[1] < asked[2] == asked[3] < asked[4] == asked[5]


def test_of_several_sources_the_sender_itself_is_asked(house: House, pacs: Pacs) -> None:
    with hanging_up() as (deaf, calls):
        expected = counting(house, deaf, pacs.dimse())
        bring(house, STUDY, 1, calling_ae_title="ORTHANC")
        expected.look()
        assert calls == []
        assert counts(house) == {(STUDY, "pacs", 4)}


def test_a_source_that_fails_is_left_alone_and_the_others_are_asked(house: House, pacs: Pacs) -> None:
    with hanging_up() as (deaf, calls), capture_logs() as logs:
        expected = counting(house, deaf, pacs.dimse())
        bring(house, STUDY, 1, calling_ae_title="SCANNER")
        expected.look()
        before = len(calls)
        bring(house, OTHER, 1, calling_ae_title="SCANNER")
        expected.look()
    assert before > 0
    assert len(calls) == before
    assert counts(house) == {(STUDY, "pacs", 4), (OTHER, "pacs", 2)}
    assert [log["source"] for log in logs if log["event"] == "source_not_counting"] == ["deaf"]


def test_a_source_that_failed_is_asked_about_the_same_study_after_a_pause(house: House, pacs: Pacs) -> None:
    """Nothing more of the study comes, and the others that have answered are not asked again."""
    time_now = now()
    with hanging_up() as (deaf, calls):
        expected = ExpectedCounts(Announcements(house.engine), [deaf, pacs.dimse()], lambda: time_now, pause_s=60.0)
        bring(house, STUDY, 1, calling_ae_title="SCANNER")
        expected.look()
        (count,) = house.rows(AnnouncementRow)
        before = len(calls)
        for seconds, asked_again in ((59, False), (1, True)):
            time_now += timedelta(seconds=seconds)
            expected.look()
            assert (len(calls) > before > 0) is asked_again
    assert [row.made_at for row in house.rows(AnnouncementRow)] == [count.made_at]


def test_a_count_that_could_not_be_written_down_is_asked_for_again(house: House, pacs: Pacs) -> None:
    expected = counting(house, pacs.dimse())
    bring(house, STUDY, 1, calling_ae_title="SCANNER")
    full = "CREATE TRIGGER full BEFORE INSERT ON announcement BEGIN SELECT RAISE(ABORT, 'full'); END"
    with house.engine.begin() as connection:
        connection.execute(text(full))
    with pytest.raises(DatabaseError):
        expected.look()
    with house.engine.begin() as connection:
        connection.execute(text("DROP TRIGGER full"))
    expected.look()
    assert counts(house) == {(STUDY, "pacs", 4)}


def test_it_looks_by_itself(house: House, pacs: Pacs) -> None:
    expected = counting(house, pacs.dimse(), look_every_s=0.02)
    expected.start()
    try:
        bring(house, STUDY, 1, calling_ae_title="SCANNER")
        deadline = time.monotonic() + 20
        while not counts(house) and time.monotonic() < deadline:
            threading.Event().wait(0.02)
    finally:
        expected.stop()
    assert counts(house) == {(STUDY, "pacs", 4)}
