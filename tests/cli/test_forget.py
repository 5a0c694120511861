"""`ichd forget`: what it says, what it asks, and what is gone afterwards."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ichd.store.engine import migrate, open_database
from ichd.store.spool import Spool
from tests.cli.test_main import ichd
from tests.store.house import STUDY, house_on


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """One study that was sent to an archive, and one that is being read."""
    url = f"sqlite:///{tmp_path}/var/ichd.db"
    migrate(url)
    engine = open_database(url)
    house = house_on(engine, Spool(tmp_path / "var/spool"), now=datetime.now(UTC))
    house.ready()
    house.analyse("pacs")
    house.deliver()
    house.ready(study="1.2.2")
    house.claim()
    engine.dispose()
    return tmp_path


def images(home: Path) -> int:
    return len(list((home / "var/spool").rglob("*.dcm")))


def test_it_says_what_there_is_and_removes_it(home: Path) -> None:
    said = json.loads(ichd("forget", STUDY, "--dry-run", "--json", cwd=home).stdout)
    assert (said["dry_run"], said["images"], said["findings"], said["sent_to"]) == (True, 2, 1, ["pacs"])
    assert images(home) == 4

    done = ichd("forget", STUDY, "--yes", cwd=home)

    assert (done.returncode, images(home)) == (0, 2), done.stderr
    assert "2 images" in done.stdout
    assert "its reports stay at pacs: remove them there" in done.stdout
    again = ichd("forget", STUDY, "--yes", cwd=home)
    assert (again.returncode, f"no study {STUDY} is known" in again.stderr) == (2, True)
    (entry,) = json.loads(ichd("audit", "--event", "study_forgotten", "--json", cwd=home).stdout)
    assert entry["subject"]["study_instance_uid"] == STUDY
    assert f"{STUDY} with 2 images" in ichd("audit", cwd=home).stdout.replace("\n", " ")


@pytest.mark.parametrize(("answer", "left"), [("n\n", 4), ("", 4), ("y\n", 2)])
def test_it_asks_before_it_removes(home: Path, answer: str, left: int) -> None:
    command = [sys.executable, "-m", "ichd", "forget", STUDY]
    done = subprocess.run(command, cwd=home, input=answer, capture_output=True, text=True, check=False, timeout=120)
    assert "Remove it for good?" in done.stdout
    assert (done.returncode == 0, images(home)) == (left == 2, left)


def test_without_a_question_json_wants_a_word(home: Path) -> None:
    done = ichd("forget", STUDY, "--json", cwd=home)
    assert (done.returncode, images(home)) == (2, 4)
    assert "add --yes" in done.stderr


def test_what_a_worker_holds_is_left_to_it(home: Path) -> None:
    done = ichd("forget", "1.2.2", "--yes", cwd=home)
    assert (done.returncode, images(home)) == (2, 4)
    assert "a worker reads it at this moment; forget study 1.2.2 once that has ended" in done.stderr
