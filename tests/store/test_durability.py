"""A lease may be lost with the power, and nothing else; a lease that was lost does no harm."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, event, text

from ichd.domain.errors import LeaseLost
from ichd.store.transaction import writing
from tests.store.house import House

_HEAR = (
    "CREATE TABLE heard (id bigserial, level text)",
    "CREATE FUNCTION hear() RETURNS trigger AS $$ BEGIN INSERT INTO heard (level) "
    "VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$ LANGUAGE plpgsql",
    "CREATE TRIGGER hear AFTER UPDATE ON job FOR EACH STATEMENT EXECUTE FUNCTION hear()",
)
_HEAR_NO_MORE = ("DROP TRIGGER hear ON job", "DROP FUNCTION hear", "DROP TABLE heard")


@contextmanager
def commits_of(engine: Engine) -> Iterator[list[str]]:
    """Whether each commit within the block waited for the disk, as the database itself had it then."""
    levels: list[str] = []
    if engine.dialect.name == "sqlite":
        asked = "PRAGMA synchronous"
        event.listen(
            engine, "commit", lambda c: levels.extend(c.connection.driver_connection.execute(asked).fetchone())
        )
        yield levels
        levels[:] = [{1: "unawaited", 2: "awaited"}[int(level)] for level in levels]
        return
    _execute(engine, *_HEAR)
    try:
        yield levels
        with engine.connect() as connection:
            heard = connection.scalars(text("SELECT level FROM heard ORDER BY id"))
            levels.extend({"off": "unawaited", "on": "awaited"}[level] for level in heard)
    finally:
        _execute(engine, *_HEAR_NO_MORE)


def _execute(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_a_claim_does_not_wait_for_the_disk_and_whatever_follows_does(house: House) -> None:
    house.ready()
    with commits_of(house.engine) as commits:
        job = house.claim()
        job = house.queue.extend(job, lease_s=60, now=house.now)
        house.queue.complete(None, job, now=house.now)
    assert commits == ["unawaited", "awaited", "awaited"]


def test_an_image_on_the_connection_of_a_claim_is_awaited(house: House) -> None:
    house.ready()
    house.claim()
    with house.engine.connect() as connection:
        if house.engine.dialect.name == "sqlite":
            assert connection.scalar(text("PRAGMA synchronous")) == 2
        else:
            assert connection.scalar(text("SHOW synchronous_commit")) == "on"


def test_a_lease_that_the_power_took_leaves_its_job_to_the_next(house: House) -> None:
    house.ready()
    before = {"state": "queued", "owner": None, "attempt": 0, "lease_until": None, "begun": False}
    job = house.claim("worker-a")
    with writing(house.engine) as session:
        columns = ", ".join(f"{name} = :{name}" for name in before)
        session.execute(text(f"UPDATE job SET {columns}"), before)  # noqa: S608 - our own words
    with pytest.raises(LeaseLost):
        house.studies.begin_analysis(job, now=house.now)
    assert not house.studies.exonerate(job, now=house.now)
    successor = house.claim("worker-b")
    assert successor.attempt == 1
    with pytest.raises(LeaseLost):
        house.queue.extend(job, lease_s=1, now=house.now)
    house.studies.begin_analysis(successor, now=house.now)
