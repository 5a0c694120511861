"""Which studies the options of `ichd pull` mean, and that two pulls never run at once."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ichd.app.pull import pulling, studies_meant
from ichd.domain.errors import UserError
from ichd.settings import Settings
from ichd.settings.dicom import SourceSettings
from ichd.settings.sections import DatabaseSettings, SpoolSettings
from ichd.store.engine import migrate

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


def test_two_pulls_do_not_run_at_once(tmp_path: Path) -> None:
    settings = Settings(
        database=DatabaseSettings(url=f"sqlite:///{tmp_path / 'ichd.db'}"),
        spool=SpoolSettings(url=str(tmp_path / "spool")),
        source=(SourceSettings(name="pacs", address="127.0.0.1:104", ae_title="PACS"),),
    )
    migrate(settings.database.url)
    with (
        pulling(settings, "pacs"),
        pytest.raises(UserError, match="another `ichd pull` runs"),
        pulling(settings, "pacs"),
    ):
        pytest.fail("two pulls at once")
    with pulling(settings, "pacs"):
        pass
