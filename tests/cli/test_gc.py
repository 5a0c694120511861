"""`ichd gc`: what goes, what stays, and what a dry run would do."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ichd.domain.reason import Reason
from ichd.store.engine import migrate, open_database
from ichd.store.spool import Spool
from tests.cli.test_main import ichd
from tests.store.house import house_on, image


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Ten days ago one study was reported and one failed, a day ago another one was reported; a week is kept."""
    url = f"sqlite:///{tmp_path}/var/ichd.db"
    migrate(url)
    engine, spool = open_database(url), Spool(tmp_path / "var/spool")
    house = house_on(engine, spool, now=datetime.now(UTC) - timedelta(days=10))
    house.ready(study="1.2.1")
    house.analyse()
    house.ready(study="1.2.2")
    job = house.claim()
    house.studies.begin_analysis(job, now=house.now)
    house.studies.failed(job, Reason.INTERNAL_ERROR, "", retry_at=None, now=house.now)
    house.now = datetime.now(UTC) - timedelta(days=1)
    house.ready(study="1.2.3")
    house.analyse()
    engine.dispose()
    (tmp_path / "ichd.toml").write_text("[spool]\nretention_days = 7\nhigh_watermark = 1\nlow_watermark = 1\n")
    return tmp_path


def files(home: Path) -> int:
    return len(list((home / "var/spool").rglob("*.dcm")))


def test_a_dry_run_says_what_would_go_and_leaves_it(home: Path) -> None:
    done = ichd("gc", "--dry-run", "--json", cwd=home)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    size = len(image(1, study="1.2.1").sop_instance_uid) * 2
    assert said["dropped"]["age"] == {"studies": 1, "images": 2, "bytes": size}
    assert [first["study_uid"] for first in said["first"]] == ["1.2.1"]
    assert (said["kept"]["failed"]["studies"], said["not_due"]["studies"]) == (1, 1)
    assert files(home) == 6


def test_what_is_due_goes_and_the_rest_is_accounted_for(home: Path) -> None:
    done = ichd("gc", cwd=home)
    assert done.returncode == 0, done.stderr
    for words in ("finished more than 7 days ago", "failed: run `ichd retry`", "finished, and not due", "disk: "):
        assert words in done.stdout
    assert files(home) == 4
    status = json.loads(ichd("status", "1.2.1", "--json", cwd=home).stdout)
    assert (status["images_dropped"], status["images"], status["triage"]) == (2, 2, "urgent")
    again = ichd("reprocess", "1.2.1", cwd=home)
    assert again.returncode == 2
    assert "send it again" in again.stderr
