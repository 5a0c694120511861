"""What the settings make of a spool in a bucket, and what doctor says of it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from ichd.app.bucket import LATE
from ichd.app.clock import utc_now
from ichd.app.doctor import Check, examine
from ichd.app.storage import Storage, open_storage
from ichd.app.uploading import uploading
from ichd.cli.main import app
from ichd.domain.errors import UserError
from ichd.domain.study import InstanceFacts
from ichd.intake.uploader import Uploader
from ichd.settings import load_settings
from ichd.store.arrivals import Arrivals
from ichd.store.bucket_spool import BucketSpool
from ichd.store.draft import StoredFile
from ichd.store.engine import migrate
from ichd.store.uploads import Uploads
from tests.peers.s3 import S3
from tests.store.bucket_house import s3  # noqa: F401 - a fixture
from tests.store.house import STUDY, image


def write_settings(folder: Path, s3: S3, bucket: str, durability: str = "local") -> Path:  # noqa: F811
    path = folder / "ichd.toml"
    path.write_text(
        f'[spool]\nurl = "s3://{bucket}/site"\nfolder = "{folder / "cache"}"\nendpoint = "{s3.endpoint}"\n'
        f'access_key = "key"\nsecret_key = "secret"\ndurability = "{durability}"\n'
        f'[database]\nurl = "sqlite:///{folder / "ichd.db"}"\n'
    )
    return path


@dataclass(frozen=True, kw_only=True)
class Owing:
    """A machine whose uploader does not run by itself."""

    config: Path
    storage: Storage

    @property
    def spool(self) -> BucketSpool:
        assert isinstance(self.storage.spool, BucketSpool)
        return self.storage.spool

    def take(self, facts: InstanceFacts, *, ago: timedelta) -> None:
        arrivals, when = Arrivals(self.storage.engine), datetime.now(UTC) - ago
        visit = arrivals.open_association(calling_ae_title="CT1", address="192.0.2.1", now=when)
        stored = self.spool.write([facts.sop_instance_uid.encode()])
        arrivals.record(facts, stored, association_id=visit, now=when, debtor=self.spool.debtor)

    def upload(self) -> None:
        Uploader(self.spool, Uploads(self.storage.engine), utc_now).round()


def spool_line(path: Path) -> Check:
    return next(check for check in examine(load_settings(path)) if check.name == "spool")


def test_doctor_writes_reads_and_removes_a_small_object(tmp_path: Path, s3: S3) -> None:  # noqa: F811
    bucket = s3.make("doctors")
    check = spool_line(write_settings(tmp_path, s3, "doctors", "remote"))
    assert check.ok
    assert "s3://doctors/site takes, gives and removes objects; images go there before" in check.detail
    assert bucket._files.call_s3("list_objects_v2", Bucket="doctors").get("KeyCount", 0) == 0


def test_doctor_says_that_there_is_no_such_bucket(tmp_path: Path, s3: S3) -> None:  # noqa: F811
    check = spool_line(write_settings(tmp_path, s3, "misspelt"))
    assert not check.ok
    assert "bucket" in check.detail


def test_settings_open_a_spool_with_a_bucket(tmp_path: Path, s3: S3) -> None:  # noqa: F811
    s3.make("opened")
    settings = load_settings(write_settings(tmp_path, s3, "opened"))
    migrate(settings.database.url)
    storage = open_storage(settings)
    assert isinstance(storage.spool, BucketSpool)
    assert storage.spool.place == "s3://opened/site"
    with uploading(storage):
        pass
    storage.engine.dispose()


def test_a_url_without_a_bucket_is_refused(tmp_path: Path, s3: S3) -> None:  # noqa: F811
    settings = load_settings(write_settings(tmp_path, s3, "NotAName"))
    migrate(settings.database.url)
    with pytest.raises(UserError, match=r"spool\.url names no bucket"):
        open_storage(settings)


@pytest.fixture
def owing(tmp_path: Path, s3: S3) -> Iterator[Owing]:  # noqa: F811
    """A machine that took an image a while ago and has not brought it to the bucket."""
    name = f"owing-{uuid4().hex[:8]}"
    s3.make(name)
    path = write_settings(tmp_path, s3, name)
    settings = load_settings(path)
    migrate(settings.database.url)
    storage = open_storage(settings)
    yield Owing(config=path, storage=storage)
    storage.engine.dispose()


def uploads_line(path: Path) -> Check:
    return next(check for check in examine(load_settings(path)) if check.name == "uploads")


def ask(owing: Owing, *arguments: str) -> tuple[int, Any]:
    done = CliRunner().invoke(app, ["--config", str(owing.config), *arguments, "--json"])
    return done.exit_code, json.loads(done.stdout)


def test_doctor_tells_what_is_owed_to_the_bucket_and_that_it_is_late(owing: Owing) -> None:
    assert uploads_line(owing.config).detail == "the bucket has all that was acknowledged"
    owing.take(image(1), ago=timedelta(minutes=2))
    recent = uploads_line(owing.config)
    assert recent.ok
    assert f"machine {owing.spool.machine} owes it 1 image (0.0 MB), the oldest for 2 min" in recent.detail
    owing.take(image(2), ago=timedelta(minutes=20))
    late = uploads_line(owing.config)
    assert not late.ok
    assert "2 images" in late.detail
    assert "see that `ichd listen` or `ichd web` runs there" in late.detail


def test_doctor_and_the_alert_draw_the_same_line() -> None:
    rules = (Path(__file__).parents[2] / "deploy/prometheus/ichd.rules.yml").read_text()
    assert f"ichd_oldest_upload_age_seconds) > {LATE.total_seconds():.0f}\n" in rules


def test_status_tells_what_is_owed(owing: Owing) -> None:
    owing.take(image(1), ago=timedelta(minutes=2))
    said = CliRunner().invoke(app, ["--config", str(owing.config), "status"]).stdout
    assert "bucket: machine" in said
    _, shape = ask(owing, "status")
    assert shape["owed_to_bucket"][owing.spool.machine]["images"] == 1


def test_the_bucket_is_listed_and_mended_only_when_asked(owing: Owing) -> None:
    spool = owing.spool
    owing.take(image(1), ago=timedelta(minutes=2))
    owing.upload()
    ((sha256, _),) = spool.bucket.objects()
    known = StoredFile(path=f"{sha256}.dcm", sha256=sha256, size=0)
    spool.bucket.remove(known)
    stray = spool.write([b"nobody knows"])
    spool.upload(stray)
    spool.discard(stray.path)
    code, said = ask(owing, "bucket")
    assert (code, said["missing"]["images"], said["forgotten"]["first"], said["lost"]) == (1, 1, [stray.sha256], 1)
    assert said["missing"]["first"][0]["study_uid"] == STUDY
    assert said["mended"] is None
    assert [each for each, _ in spool.bucket.objects()] == [stray.sha256]
    code, said = ask(owing, "bucket", "--mend")
    assert (code, said["mended"]) == (0, {"set_aside": 1, "removed": 0, "owed_again": 1})
    owing.upload()
    code, said = ask(owing, "bucket")
    assert (code, said["objects"], said["forgotten"]["objects"], said["missing"]["images"]) == (0, 1, 0, 0)
    assert [path.read_bytes() for path in spool.root.with_name("cache.orphans").iterdir()] == [b"nobody knows"]


def test_what_no_machine_has_whole_is_named_to_be_sent_again(owing: Owing) -> None:
    owing.take(image(1), ago=timedelta(minutes=2))
    owing.upload()
    ((sha256, _),) = owing.spool.bucket.objects()
    owing.spool.bucket.remove(StoredFile(path=f"{sha256}.dcm", sha256=sha256, size=0))
    (copy,) = owing.spool.root.glob("[0-9a-f][0-9a-f]/*")
    copy.write_bytes(b"damaged")
    done = CliRunner().invoke(app, ["--config", str(owing.config), "bucket", "--mend"])
    assert done.exit_code == 1
    assert f"misses images: {STUDY}" in done.stdout
    assert "to be sent again" in done.stdout


def test_the_bucket_of_another_database_is_left_alone(owing: Owing, tmp_path: Path) -> None:
    other = f"sqlite:///{tmp_path / 'other.db'}"
    migrate(other)
    config = tmp_path / "other.toml"
    config.write_text(owing.config.read_text().replace("ichd.db", "other.db"))
    done = CliRunner().invoke(app, ["--config", str(config), "bucket", "--mend"])
    assert isinstance(done.exception, UserError)
    assert "does not belong to this database" in str(done.exception)


def test_a_spool_without_a_bucket_has_nothing_to_compare(tmp_path: Path) -> None:
    config = tmp_path / "ichd.toml"
    config.write_text(f'[database]\nurl = "sqlite:///{tmp_path / "ichd.db"}"\n[spool]\nurl = "{tmp_path / "spool"}"\n')
    migrate(load_settings(config).database.url)
    done = CliRunner().invoke(app, ["--config", str(config), "bucket"])
    assert isinstance(done.exception, UserError)
    assert "spool.url names no bucket" in str(done.exception)
