"""What the settings make of a spool in a bucket, and what doctor says of it."""

from pathlib import Path

import pytest

from ichd.app.doctor import Check, examine
from ichd.app.storage import open_storage
from ichd.app.uploading import uploading
from ichd.domain.errors import UserError
from ichd.settings import load_settings
from ichd.store.bucket_spool import BucketSpool
from ichd.store.engine import migrate
from tests.peers.s3 import S3
from tests.store.bucket_house import s3  # noqa: F401 - a fixture


def write_settings(folder: Path, s3: S3, bucket: str, durability: str = "local") -> Path:  # noqa: F811
    path = folder / "ichd.toml"
    path.write_text(
        f'[spool]\nurl = "s3://{bucket}/site"\nfolder = "{folder / "cache"}"\nendpoint = "{s3.endpoint}"\n'
        f'access_key = "key"\nsecret_key = "secret"\ndurability = "{durability}"\n'
        f'[database]\nurl = "sqlite:///{folder / "ichd.db"}"\n'
    )
    return path


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
