"""What commands and the status page look at before they speak."""

from pathlib import Path

import pytest

from ichd.app.checks import check_disk, open_existing, require_database
from ichd.domain.errors import UserError
from ichd.domain.retention import Watermarks
from ichd.intake.disk_gate import DiskGate
from ichd.settings import DatabaseSettings, Settings, SpoolSettings
from ichd.store.engine import migrate
from ichd.store.spool import Spool


def gate_of(spool: Spool, *, high: float) -> DiskGate:
    return DiskGate(spool.free_fraction, Watermarks(high=high, low=high))


def settings_in(folder: Path) -> Settings:
    return Settings(
        database=DatabaseSettings(url=f"sqlite:///{folder / 'ichd.db'}"),
        spool=SpoolSettings(url=str(folder / "spool")),
    )


def test_looking_for_a_database_makes_none(tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "var")

    with pytest.raises(UserError, match="ichd migrate"):
        open_existing(settings)

    assert list(tmp_path.iterdir()) == []


def test_looking_into_a_database_needs_no_spool_and_makes_none(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    migrate(settings.database.url)

    storage = open_existing(settings)

    assert storage.studies.summaries(limit=1) == []
    storage.engine.dispose()
    assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize("url", ["postgresql://ichd@nowhere/ichd", "sqlite://", "not a url"])
def test_whoever_opens_another_database_says_what_is_wrong_with_it(url: str) -> None:
    require_database(url)


def test_a_disk_is_full_from_the_watermark_on(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    used = 1 - spool.free_fraction()

    assert "used, images are refused from 100%" in check_disk(gate_of(spool, high=1.0))
    with pytest.raises(UserError, match=r"until less than .*free some space"):
        check_disk(gate_of(spool, high=used / 2))
    assert not (tmp_path / "spool").exists()
