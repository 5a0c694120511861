"""Images fetched from Orthanc by C-GET, C-MOVE and WADO-RS: all of them, once, and what is said of those that fail."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydicom.uid import SecondaryCaptureImageStorage

from ichd.domain.arrival import Door
from ichd.domain.reason import Reason
from ichd.domain.retention import Watermarks
from ichd.intake.ask.archive import archive_of
from ichd.intake.ask.errand import Retriever
from ichd.intake.ask.find import StudyQuery
from ichd.intake.ask.get import GetRetriever
from ichd.intake.ask.move import MoveRetriever
from ichd.intake.ask.pull import Fetched, Pull
from ichd.intake.ask.sources import DimseSource, Source, WebSource
from ichd.intake.ask.wado import WebRetriever
from ichd.intake.counter import Counter
from ichd.store.held import Holdings
from ichd.store.tables import AssociationRow
from tests.intake.asking import Pacs, running_pacs, send, series
from tests.intake.conftest import House, OpenHouse, now
from tests.intake.images import MARKED_ID, MARKED_NAME
from tests.peers.ports import free_port

HEAD = "1.2.826.0.1.3680043.10.1459.81"
PRIOR = "1.2.826.0.1.3680043.10.1459.82"
OLDER = "1.2.826.0.1.3680043.10.1459.83"
CHEST = "1.2.826.0.1.3680043.10.1459.84"
OTHERS = "1.2.826.0.1.3680043.10.1459.85"
LATER = "1.2.826.0.1.3680043.10.1459.86"
WAYS = ("get", "move", "web")


@pytest.fixture(scope="module")
def listener_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory, listener_port: int) -> Iterator[Pacs]:
    """A head CT of two series, one with a screen capture; priors of the same patient; another patient's study."""
    with running_pacs(tmp_path_factory.mktemp("pacs"), listener_port=listener_port) as running:
        capture = series(HEAD, 2, 3)
        capture[2].SOPClassUID = SecondaryCaptureImageStorage
        running.keep(
            [
                *series(HEAD, 1, 60),
                *capture,
                *series(HEAD, 3, 1, Modality="PR"),
                *series(PRIOR, 1, 2, StudyDate="20231224", BodyPartExamined="HEADNECK"),
                *series(OLDER, 1, 2, StudyDate="20200101"),
                *series(CHEST, 1, 2, StudyDate="20240101", BodyPartExamined="CHEST"),
                *series(OTHERS, 1, 2, StudyDate="20230101", PatientID="SOMEBODY-ELSE"),
                *series(LATER, 1, 2, StudyDate="20240201"),
            ]
        )
        yield running


@pytest.fixture
def house(open_house: OpenHouse, listener_port: int) -> House:
    return open_house(port=listener_port, ae_title="ICHD")


Puller = Callable[..., list[Fetched]]


@pytest.fixture
def pull(pacs: Pacs, house: House) -> Puller:
    """Look and fetch; what came of it."""

    def go(
        way: str,
        query: StudyQuery,
        *,
        since: datetime | None = None,
        priors: int = 0,
        source: Source | None = None,
        tell: Callable[[int], None] = lambda _: None,
        **limits: int,
    ) -> list[Fetched]:
        source = source or (pacs.web() if way == "web" else pacs.dimse(retrieve=way))
        with archive_of(source) as archive:
            pulling = Pull(archive, retriever(source, house, **limits), Holdings(house.engine), settle_s=1.0)
            return list(pulling.fetch(pulling.look(query, since=since, priors=priors), tell))

    return go


def retriever(source: Source, house: House, **limits: int) -> Retriever:
    counter = Counter(house.arrivals, house.spool, watermarks=Watermarks(high=1, low=1), **limits)
    if isinstance(source, WebSource):
        return WebRetriever(source, counter, place="pull", clock=now)
    assert isinstance(source, DimseSource)
    if source.retrieve == "move":
        return MoveRetriever(source)
    return GetRetriever(source, counter, place="pull", clock=now)


@pytest.mark.parametrize("way", WAYS)
def test_all_ct_images_of_a_study_come_once(way: str, pull: Puller, house: House) -> None:
    told: list[int] = []
    (first,) = pull(way, StudyQuery(study_uid=HEAD), tell=told.append)

    assert (first.came, first.missing, first.troubles) == (62, 0, {})
    assert sum(told) == 62
    assert house.count() == 62
    association, *_ = house.rows(AssociationRow)
    assert association.door is (Door.DIMSE if way == "move" else Door.PULL)
    assert association.released

    associations = house.count(AssociationRow)
    (second,) = pull(way, StudyQuery(study_uid=HEAD))
    assert (second.errand.images, second.errand.wanted, second.came, second.missing) == (62, (), 0, 0)
    assert house.count(AssociationRow) == associations, "nothing was asked for"


@pytest.mark.parametrize("way", WAYS)
def test_only_what_is_missing_is_fetched(way: str, pull: Puller, house: House) -> None:
    send(house.port, series(HEAD, 1, 7))
    told: list[int] = []
    (fetched,) = pull(way, StudyQuery(study_uid=HEAD), tell=told.append)

    assert (fetched.errand.missing, fetched.came, fetched.missing) == (55, 55, 0)
    assert sum(told) == 55, "the seven that were here did not come again"
    assert house.count() == 62


@pytest.mark.parametrize("way", ["get", "web"])
def test_an_image_is_the_same_file_by_every_door(way: str, pull: Puller, house: House, pacs: Pacs) -> None:
    pull(way, StudyQuery(study_uid=PRIOR))
    before = len(house.files())
    pull_again = pacs.orthanc.post_json("/tools/find", {"Level": "Study", "Query": {"StudyInstanceUID": PRIOR}})
    pacs.orthanc.post_json("/modalities/ichd/store", pull_again)

    assert len(house.files()) == before, "Orthanc's C-STORE brought duplicates, not conflicts"


def test_priors_are_earlier_head_cts_of_the_same_patient(pull: Puller) -> None:
    fetched = pull("get", StudyQuery(study_uid=HEAD), priors=3)
    assert [(each.errand.study.study_uid, each.errand.prior) for each in fetched] == [
        (HEAD, False),
        (PRIOR, True),
        (OLDER, True),
    ]
    assert all(each.missing == 0 for each in fetched)


def test_of_many_priors_the_newest_are_taken(pull: Puller) -> None:
    fetched = pull("web", StudyQuery(study_uid=HEAD), priors=1)
    assert [each.errand.study.study_uid for each in fetched] == [HEAD, PRIOR]


def test_since_is_a_time_of_day(pull: Puller) -> None:
    """All studies are of 10:11:12."""
    query = StudyQuery(first_date="20240131")
    before = datetime(2024, 1, 31, 10, 11, 12, tzinfo=UTC)
    after = before + timedelta(seconds=1)
    assert {each.errand.study.study_uid for each in pull("get", query, since=before)} == {HEAD, LATER}
    assert {each.errand.study.study_uid for each in pull("get", query, since=after)} == {LATER}


@pytest.mark.parametrize("way", ["get", "web"])
def test_what_we_refuse_has_its_reason(way: str, pull: Puller, house: House) -> None:
    (fetched,) = pull(way, StudyQuery(study_uid=PRIOR), max_instance_bytes=100)

    assert (fetched.came, fetched.missing) == (0, 2)
    assert fetched.troubles == {Reason.TOO_LARGE: 2}
    assert house.count() == 0


def test_a_destination_that_the_archive_does_not_know(pull: Puller, pacs: Pacs, house: House) -> None:
    unknown = pacs.dimse(retrieve="move", calling_ae_title="NOBODY")
    first, second = pull("move", StudyQuery(patient_id=MARKED_ID, last_date="20231231"), source=unknown)

    # 0xC000, though the standard has a status of its own for it.
    assert first.troubles == second.troubles == {Reason.NOT_ARRIVED: 2}
    assert "0xC000" in first.detail
    assert (first.missing, second.missing, house.count()) == (2, 2, 0)


def test_images_that_do_not_arrive_name_the_listener(pull: Puller, house: House) -> None:
    house.listener.stop()
    (fetched,) = pull("move", StudyQuery(study_uid=PRIOR))

    assert fetched.troubles == {Reason.NOT_ARRIVED: 2}


def test_no_word_of_the_patient_in_the_log(pull: Puller, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pull("get", StudyQuery(study_uid=HEAD), priors=3)
    said = capfd.readouterr()
    assert MARKED_ID not in said.out + said.err
    assert MARKED_NAME not in said.out + said.err
    database = b"".join(path.read_bytes() for path in tmp_path.glob("ichd.db*"))
    assert MARKED_ID.encode() not in database
