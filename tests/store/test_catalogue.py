"""The catalogue: what is found, in which order, and what is never shown."""

from typing import cast

import pytest
from sqlalchemy import ClauseElement, event
from sqlalchemy.orm import ORMExecuteState, Session

from ichd.domain.study import InstanceFacts
from ichd.store import catalogue as catalogue_module
from ichd.store.catalogue import Catalogue
from ichd.store.criteria import Criteria
from tests.store.house import House, image

EVERYTHING = Criteria()


def facts(number: int, *, study: str, series: str | None = None, **changed: object) -> InstanceFacts:
    made = image(number, study=study, series=series)
    return InstanceFacts(**(made.__dict__ | {"instance_number": number} | changed))


@pytest.fixture
def catalogue(house: House) -> Catalogue:
    """Two CT studies, the second with a scout of its own, and an MR study between them."""
    association = house.open_association()
    house.arrive(facts(1, study="1.2.1", study_datetime="20260101080000"), association_id=association)
    house.arrive(facts(2, study="1.2.1", study_datetime="20260101080000"), association_id=association)
    house.wait(1)
    mr = {"modality": "MR", "accession_number": "B_1", "study_datetime": "20260215"}
    house.arrive(facts(1, study="1.2.2", **mr), association_id=association)
    house.wait(1)
    late = {"study_datetime": "20260301120000", "accession_number": "B91"}
    house.arrive(facts(1, study="1.2.3", series="1.2.3.8", series_number=1, **late), association_id=association)
    for number in (1, 2, 3):
        house.arrive(facts(number, study="1.2.3", series="1.2.3.9", **late), association_id=association)
    return Catalogue(house.engine, house.spool)


def found(catalogue: Catalogue, criteria: Criteria, *, limit: int = 10, offset: int = 0) -> list[str]:
    return [study.study_instance_uid for study in catalogue.studies(criteria, limit=limit, offset=offset)]


def test_studies_are_newest_first_and_come_in_pages(catalogue: Catalogue) -> None:
    assert found(catalogue, EVERYTHING) == ["1.2.3", "1.2.2", "1.2.1"]
    assert found(catalogue, EVERYTHING, limit=1, offset=1) == ["1.2.2"]
    assert found(catalogue, EVERYTHING, offset=3) == []


def test_a_study_says_what_it_holds(catalogue: Catalogue) -> None:
    study = catalogue.studies(Criteria(study_uids=["1.2.3"]), limit=1)[0]

    assert (study.series, study.instances, study.modalities) == (2, 4, ("CT",))
    assert study.sample.facts.sop_instance_uid == "1.2.3.9.3"
    assert study.sample.path.read_bytes() == b"1.2.3.9.3"


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        (Criteria(study_uids=["1.2.1", "1.2.3", "9.9"]), ["1.2.3", "1.2.1"]),
        (Criteria(modalities=["MR"]), ["1.2.2"]),
        (Criteria(modalities=["MR", "CT"]), ["1.2.3", "1.2.2", "1.2.1"]),
        (Criteria(accession_number="A-17"), ["1.2.1"]),
        (Criteria(accession_number="B*"), ["1.2.3", "1.2.2"]),
        (Criteria(accession_number="B_*"), ["1.2.2"]),
        (Criteria(accession_number="?9?"), ["1.2.3"]),
        (Criteria(accession_number="%"), []),
        (Criteria(study_date=("20260215", "20260215")), ["1.2.2"]),
        (Criteria(study_date=("20260215", "")), ["1.2.3", "1.2.2"]),
        (Criteria(study_date=("", "20260215")), ["1.2.2", "1.2.1"]),
    ],
)
def test_studies_are_found(catalogue: Catalogue, criteria: Criteria, expected: list[str]) -> None:
    assert found(catalogue, criteria) == expected


def test_a_study_without_a_date_lies_in_no_range(house: House) -> None:
    house.arrive(image(1), association_id=house.open_association())

    assert found(Catalogue(house.engine, house.spool), Criteria(study_date=("", "99991231"))) == []


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        (EVERYTHING, ["1.2.3.8", "1.2.3.9", "1.2.2.1", "1.2.1.1"]),
        (Criteria(study_uids=["1.2.3"]), ["1.2.3.8", "1.2.3.9"]),
        (Criteria(study_uids=["1.2.3"], series_number=1), ["1.2.3.8"]),
        (Criteria(modalities=["MR"]), ["1.2.2.1"]),
        (Criteria(series_uids=["1.2.3.9"]), ["1.2.3.9"]),
    ],
)
def test_series_are_found(catalogue: Catalogue, criteria: Criteria, expected: list[str]) -> None:
    series = catalogue.series(criteria, limit=10)

    assert [each.series_instance_uid for each in series] == expected
    counts = {"1.2.3.8": 1, "1.2.3.9": 3, "1.2.2.1": 1, "1.2.1.1": 2}
    assert all(each.instances == counts[each.series_instance_uid] for each in series)
    assert all(each.sample.facts.series_instance_uid == each.series_instance_uid for each in series)


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        (Criteria(study_uids=["1.2.1"]), ["1.2.1.1.1", "1.2.1.1.2"]),
        (Criteria(series_uids=["1.2.3.9"], instance_number=2), ["1.2.3.9.2"]),
        (Criteria(instance_uids=["1.2.3.9.2", "1.2.2.1.1"]), ["1.2.2.1.1", "1.2.3.9.2"]),
        (Criteria(study_uids=["1.2.1"], series_uids=["1.2.3.9"]), []),
        (Criteria(modalities=["MR"]), ["1.2.2.1.1"]),
        (Criteria(sop_class_uids=["1.2.3"]), []),
    ],
)
def test_images_are_found(catalogue: Catalogue, criteria: Criteria, expected: list[str]) -> None:
    assert [i.facts.sop_instance_uid for i in catalogue.instances(criteria, limit=10)] == expected
    assert [i.facts.sop_instance_uid for i in catalogue.files(criteria)] == expected


def test_a_conflicting_duplicate_is_not_shown(house: House, catalogue: Catalogue) -> None:
    association = house.open_association()
    house.arrive(facts(1, study="1.2.1"), association_id=association, content=b"other bytes")
    house.arrive(
        InstanceFacts(**(facts(1, study="1.2.1").__dict__ | {"study_instance_uid": "1.2.9"})),
        association_id=association,
        content=b"other bytes of another study",
    )

    assert "1.2.9" not in found(catalogue, EVERYTHING)
    image_of_study = next(iter(catalogue.instances(Criteria(instance_uids=["1.2.1.1.1"]), limit=1)))
    assert image_of_study.path.read_bytes() == b"1.2.1.1.1"


def test_files_of_a_long_study_come_in_batches(house: House) -> None:
    association = house.open_association()
    for number in range(1, 504):
        house.arrive(image(number), association_id=association)
    statements: list[str] = []
    event.listen(house.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))

    files = list(Catalogue(house.engine, house.spool).files(Criteria(study_uids=["1.2.840.1"])))

    assert len({each.facts.sop_instance_uid for each in files}) == 503
    assert len([s for s in statements if "instance.sha256" in s]) == 2


def test_no_statement_binds_more_ids_than_a_database_takes(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists: list[int] = []

    def note(execution: ORMExecuteState) -> None:
        compiled = cast("ClauseElement", execution.statement).compile()
        lists.extend(len(value) for value in compiled.params.values() if isinstance(value, list | tuple))

    def everything() -> tuple[object, ...]:
        two = Criteria(study_uids=["1.2.3", "1.2.1"])
        return (
            catalogue.studies(EVERYTHING, limit=10),
            catalogue.series(EVERYTHING, limit=10),
            catalogue.instances(two, limit=10),
            list(catalogue.files(two)),
        )

    event.listen(Session, "do_orm_execute", note)
    try:
        at_once, most_at_once = everything(), max(lists)
        monkeypatch.setattr(catalogue_module, "_IDS_BATCH", 2)
        lists.clear()
        in_batches = everything()
    finally:
        event.remove(Session, "do_orm_execute", note)

    assert in_batches == at_once
    assert (max(lists), most_at_once) == (2, 4)


def test_a_file_that_is_gone_or_cut_is_not_whole(catalogue: Catalogue) -> None:
    one, two = catalogue.instances(Criteria(study_uids=["1.2.1"]), limit=2)
    assert catalogue.is_whole(one)

    one.path.unlink()
    two.path.write_bytes(b"1")

    assert not catalogue.is_whole(one)
    assert not catalogue.is_whole(two)
