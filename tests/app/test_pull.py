"""Which studies the options of `ichd pull` mean, and that two pulls never run at once."""

import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from ichd.app.pull import pulling, studies_meant
from ichd.domain.errors import UserError
from ichd.settings import Settings
from ichd.settings.dicom import SourceSettings
from ichd.settings.sections import DatabaseSettings, SpoolSettings
from ichd.store.arrivals import Arrivals
from ichd.store.engine import migrate, open_database
from ichd.store.tables import AssociationRow

NOW = datetime(2024, 2, 1, 1, 30, tzinfo=UTC)


def meant(*, study: str | None = None, accession: str | None = None, since: str | None = None) -> tuple[str, ...]:
    found = studies_meant(study=study, accession=accession, since=since, now=NOW)
    query = found.query
    return query.study_uid, query.accession_number, query.first_date, f"{found.since:%d %H:%M}" if found.since else ""


@pytest.mark.parametrize(
    ("since", "first_date", "start"),
    [
        ("30m", "20240201", "01 01:00"),
        ("2h", "20240131", "31 23:30"),
        ("1d", "20240131", "31 01:30"),
    ],
)
def test_a_duration_may_cross_midnight(since: str, first_date: str, start: str) -> None:
    assert meant(since=since) == ("", "", first_date, start)


def test_a_study_or_a_number_is_taken_as_it_is() -> None:
    assert meant(study="1.2.3") == ("1.2.3", "", "", "")
    assert meant(accession=" A 4711 ") == ("", "A 4711", "", "")


@pytest.mark.parametrize(
    ("options", "mend"),
    [
        ({}, "one of --study"),
        ({"study": "1.2.3", "since": "1d"}, "one of --study"),
        ({"study": "x"}, "digits and dots"),
        ({"accession": "A*"}, "without wildcards"),
        ({"accession": "A\\B"}, "without wildcards"),
        ({"accession": ""}, "without wildcards"),
        ({"since": "soon"}, "write 30m, 2h or 1d"),
        ({"since": "0h"}, "write 30m, 2h or 1d"),
        ({"since": "999999d"}, "too long"),
    ],
)
def test_what_can_not_be_meant_says_what_can(options: dict[str, str], mend: str) -> None:
    with pytest.raises(UserError, match=mend):
        meant(**options)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    url = f"sqlite:///{tmp_path / 'ichd.db'}"
    migrate(url)
    return Settings(
        database=DatabaseSettings(url=url),
        spool=SpoolSettings(url=str(tmp_path / "spool")),
        source=(SourceSettings(name="pacs", address="127.0.0.1:104", ae_title="PACS"),),
    )


def test_a_pull_that_was_killed_is_ended_by_the_next(settings: Settings) -> None:
    engine = open_database(settings.database.url)
    place = f"{socket.gethostname()}/pull"
    Arrivals(engine).open_association(calling_ae_title="pacs", address="127.0.0.1", listener=place, now=NOW)
    with pulling(settings, "pacs"), Session(engine) as session:
        (row,) = session.scalars(select(AssociationRow))
        assert row.ended_at is not None
        assert not row.released
    engine.dispose()


def test_two_pulls_do_not_run_at_once(settings: Settings) -> None:
    busy = pytest.raises(UserError, match="another `ichd pull` runs")
    with pulling(settings, "pacs"), busy, pulling(settings, "pacs"):
        pytest.fail("two pulls at once")
    with pulling(settings, "pacs"):
        pass
