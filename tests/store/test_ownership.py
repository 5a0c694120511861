"""A spool is opened with its own database only."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from ichd.domain.errors import Transient, UserError
from ichd.store.engine import migrate, open_database
from ichd.store.ownership import claim_spool
from ichd.store.spool import Spool
from tests.store.house import House


@pytest.fixture
def other(tmp_path: Path) -> Engine:
    """Another installation's database."""
    url = f"sqlite:///{tmp_path / 'other.db'}"
    migrate(url)
    return open_database(url)


def test_database_and_spool_are_married_once_and_stay_so(house: House) -> None:
    claim_spool(house.engine, house.spool)
    code = house.spool.owner()
    assert code is not None
    assert len(code) == 32
    house.spool.write([b"an image"])
    claim_spool(house.engine, house.spool)
    assert house.spool.owner() == code
    assert [path.name for path in house.spool.root.iterdir() if path.is_file()] == [".owner"]


def test_another_database_is_refused_and_no_file_is_touched(house: House, other: Engine) -> None:
    claim_spool(house.engine, house.spool)
    stored = house.spool.write([b"acknowledged"])
    with pytest.raises(UserError, match=r"belongs to another database; correct database\.url or spool\.url"):
        claim_spool(other, house.spool)
    assert house.spool.locate(stored.path).exists()
    # The refused database is not spoilt: it may still have a spool of its own.
    claim_spool(other, Spool(house.spool.root.with_name("own")))


def test_another_spool_is_refused(house: House, other: Engine, tmp_path: Path) -> None:
    foreign = Spool(tmp_path / "foreign")
    claim_spool(other, foreign)
    claim_spool(house.engine, house.spool)
    with pytest.raises(UserError, match="belongs to another database"):
        claim_spool(house.engine, foreign)


def test_images_of_nobody_are_not_taken_over(house: House) -> None:
    house.spool.write([b"whose?"])
    with pytest.raises(UserError, match="holds images, but nothing says of which database"):
        claim_spool(house.engine, house.spool)
    assert house.spool.owner() is None


def test_a_spool_whose_disk_is_not_mounted_is_missed_and_can_be_given_up(house: House) -> None:
    claim_spool(house.engine, house.spool)
    code = house.spool.owner()
    shutil.rmtree(house.spool.root)
    with pytest.raises(UserError, match=f"mount its disk .* write {code} into") as caught:
        claim_spool(house.engine, house.spool)
    house.spool.root.mkdir()
    with pytest.raises(UserError, match="mount its disk"):
        claim_spool(house.engine, house.spool)
    house.spool.owner_file.write_text(f"{code}\n")
    assert str(house.spool.owner_file) in str(caught.value)
    claim_spool(house.engine, house.spool)


def test_many_at_once_agree(house: House) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: claim_spool(house.engine, house.spool), range(8)))
    with house.engine.connect() as connection:
        rows = connection.execute(text("SELECT code, has_spool FROM installation")).all()
    assert rows == [(house.spool.owner(), True)]


def test_killed_between_its_steps_a_claim_is_finished_by_the_next_one(house: House) -> None:
    claim_spool(house.engine, house.spool)
    code = house.spool.owner()
    with house.engine.begin() as connection:
        connection.execute(text("UPDATE installation SET has_spool = false"))
    claim_spool(house.engine, house.spool)  # the spool had its code, the database had not noted it
    with house.engine.begin() as connection:
        connection.execute(text("UPDATE installation SET has_spool = false"))
    house.spool.owner_file.unlink()
    claim_spool(house.engine, house.spool)  # only the database had its code
    assert house.spool.owner() == code


def test_a_spool_that_can_not_be_made_is_transient(house: House) -> None:
    house.spool.root.write_text("a file where the folder should be")
    with pytest.raises(Transient):
        claim_spool(house.engine, house.spool)
