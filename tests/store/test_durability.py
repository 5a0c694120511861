"""A lease may be lost with the power, and nothing else; a lease that was lost does no harm."""

import pytest
from sqlalchemy import Engine, event, text

from ichd.domain.errors import LeaseLost
from ichd.store.transaction import writing
from tests.store.house import House


def commits_of(engine: Engine) -> list[str]:
    """Whether each commit from now on waits for the disk, as the database has it at that moment."""
    if engine.dialect.name == "sqlite":
        levels: list[str] = []
        word = {1: "unawaited", 2: "awaited"}
        event.listen(
            engine,
            "commit",
            lambda c: levels.append(word[c.connection.driver_connection.execute("PRAGMA synchronous").fetchone()[0]]),
        )
        return levels
    with writing(engine) as session:
        session.execute(text("CREATE TABLE heard (id bigserial, level text)"))
        session.execute(
            text(
                "CREATE FUNCTION hear() RETURNS trigger AS $$ BEGIN INSERT INTO heard (level) "
                "VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$ LANGUAGE plpgsql"
            )
        )
        session.execute(
            text("CREATE TRIGGER hear AFTER UPDATE ON job FOR EACH STATEMENT EXECUTE FUNCTION hear()"),
        )
    return []


def heard(engine: Engine, levels: list[str]) -> list[str]:
    if engine.dialect.name == "sqlite":
        return levels
    word = {"off": "unawaited", "on": "awaited"}
    with engine.connect() as connection:
        return [word[level] for level in connection.scalars(text("SELECT level FROM heard ORDER BY id"))]


def test_a_claim_does_not_wait_for_the_disk_and_whatever_follows_does(house: House) -> None:
    house.ready()
    levels = commits_of(house.engine)
    job = house.claim()
    job = house.queue.extend(job, lease_s=60, now=house.now)
    house.queue.complete(None, job, now=house.now)
    assert heard(house.engine, levels) == ["unawaited", "awaited", "awaited"]


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
