"""Images arrive: new, repeated, in conflict, in place of a damaged one."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from ichd.domain.errors import Transient
from ichd.domain.reason import Reason
from ichd.domain.study import StudyState
from ichd.store.arrivals import ArrivalKind
from ichd.store.spool import StoredFile
from tests.store.house import NOON, STUDY, House, image


def test_the_first_slice_opens_its_study(house: House) -> None:
    association_id = house.open_association()
    assert house.arrive(image(1), association_id=association_id) is ArrivalKind.NEW
    summary = house.summary()
    assert (summary.state, summary.revision, summary.series, summary.slices) == (StudyState.RECEIVING, 1, 1, 1)
    assert (summary.received_at, summary.last_instance_at) == (NOON, NOON)
    assert summary.accession_number == "A-17"


def test_a_repeated_slice_is_a_duplicate_and_changes_no_row(house: House) -> None:
    association_id = house.open_association()
    house.arrive(image(1), association_id=association_id)
    with house.engine.connect() as connection:
        before = connection.execute(text("SELECT * FROM instance")).all()
    assert house.arrive(image(1), association_id=association_id) is ArrivalKind.DUPLICATE
    with house.engine.connect() as connection:
        assert connection.execute(text("SELECT * FROM instance")).all() == before


def test_other_bytes_under_the_same_uid_are_kept_flagged_and_not_read(house: House) -> None:
    association_id = house.open_association()
    house.arrive(image(1), association_id=association_id)
    assert house.arrive(image(1), association_id=association_id, content=b"other") is ArrivalKind.CONFLICT
    (conflict,) = house.studies.detail(STUDY).conflicts
    assert house.spool.locate(conflict.path).read_bytes() == b"other"
    assert (conflict.sop_uid, conflict.study_uid) == (image(1).sop_instance_uid, STUDY)
    house.end_association(association_id)
    house.close()
    work = house.studies.begin_analysis(house.claim(), now=house.now)
    assert [file.path.read_bytes() for file in work.files.values()] == [image(1).sop_instance_uid.encode()]


def test_a_repeated_conflict_is_kept_once(house: House) -> None:
    association_id = house.open_association()
    house.arrive(image(1), association_id=association_id)
    kinds = [house.arrive(image(1), association_id=association_id, content=b"other") for _ in range(3)]
    assert kinds == [ArrivalKind.CONFLICT, ArrivalKind.DUPLICATE, ArrivalKind.DUPLICATE]
    assert len(house.studies.detail(STUDY).conflicts) == 1
    assert house.summary().conflicts == 1


def test_one_uid_in_two_studies_is_a_conflict_that_both_show(house: House) -> None:
    association_id = house.open_association()
    house.arrive(image(1), association_id=association_id)
    stolen = replace(image(1, study="1.2.840.2"), sop_instance_uid=image(1).sop_instance_uid)
    assert house.arrive(stolen, association_id=association_id, content=b"other") is ArrivalKind.CONFLICT
    assert [c.study_uid for c in house.studies.detail(STUDY).conflicts] == ["1.2.840.2"]
    other = house.studies.detail("1.2.840.2")
    assert [c.study_uid for c in other.conflicts] == ["1.2.840.2"]
    assert other.summary.slices == 0
    # The second study holds nothing to read, but it does not vanish: it closes, and ends with a reason.
    house.end_association(association_id)
    assert sorted(house.close()) == [STUDY, "1.2.840.2"]


def test_many_senders_at_once_lose_and_double_nothing(house: House) -> None:
    """Four associations send the same two studies at the same time, as a nervous PACS does."""

    def send(_sender: int) -> list[ArrivalKind]:
        association_id = house.open_association()
        return [
            house.arrive(image(number, study=study), association_id=association_id)
            for number in range(10)
            for study in ("1.2.840.5", "1.2.840.6")
        ]

    with ThreadPoolExecutor(4) as pool:
        kinds = [kind for sent in pool.map(send, range(4)) for kind in sent]
    assert kinds.count(ArrivalKind.NEW) == 20
    assert kinds.count(ArrivalKind.DUPLICATE) == 60
    assert [(s.slices, s.series) for s in house.studies.summaries()] == [(10, 1), (10, 1)]


@pytest.mark.parametrize("migrated_url", ["sqlite"], indirect=True)
def test_an_image_that_can_not_be_written_down_is_transient(house: House, engine: Engine) -> None:
    association_id = house.open_association()
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE arrival"))
    with pytest.raises(Transient) as caught:
        house.arrive(image(1), association_id=association_id)
    assert caught.value.reason is Reason.STORE_UNAVAILABLE
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM study")).scalar_one() == 0, "all or nothing"


def test_no_path_of_the_spool_is_unknown(house: House, tmp_path: Path) -> None:
    association_id = house.open_association()
    house.arrive(image(1), association_id=association_id)
    house.arrive(image(1), association_id=association_id, content=b"other")
    paths = [str(p.relative_to(tmp_path / "spool")) for p in (tmp_path / "spool").rglob("*.dcm")]
    assert house.arrivals.known_paths([*paths, "00/" + "0" * 32 + ".dcm"]) == frozenset(paths)
    assert house.arrivals.known_paths([]) == frozenset()


def _first_file(house: House, number: int = 1) -> StoredFile:
    first = house.arrivals.first_file(image(number))
    assert first is not None
    return first


def test_a_resent_image_takes_the_place_of_a_damaged_file(house: House) -> None:
    """The study, finished or not, is read again as a new revision, from the new file."""
    house.ready(1, 2)
    house.analyse()
    damaged = _first_file(house)
    association_id = house.open_association()
    again = house.spool.write([image(1).sop_instance_uid.encode()])
    replaced = house.arrivals.replace(damaged, image(1), again, association_id=association_id, now=house.now)
    assert replaced is ArrivalKind.NEW
    assert _first_file(house) == again
    assert (house.summary().state, house.summary().revision, house.summary().slices) == (StudyState.RECEIVING, 2, 2)
    late = house.spool.write([image(1).sop_instance_uid.encode()])
    assert (
        house.arrivals.replace(damaged, image(1), late, association_id=association_id, now=house.now)
        is ArrivalKind.DUPLICATE
    ), "somebody else was faster"
    house.end_association(association_id)
    house.close()
    work = house.studies.begin_analysis(house.claim(), now=house.now)
    assert work.files[image(1).sop_instance_uid].path == house.spool.locate(again.path)


def test_a_row_is_taken_back_with_what_came_of_it(house: House) -> None:
    association_id = house.open_association()
    house.arrive(image(1), association_id=association_id)
    house.arrive(image(2), association_id=association_id)
    house.arrivals.forget(_first_file(house, 1))
    assert house.arrivals.first_file(image(1)) is None
    assert house.summary().slices == 1
    assert house.arrive(image(1), association_id=association_id) is ArrivalKind.NEW
