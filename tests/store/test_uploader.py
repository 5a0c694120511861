"""What is owed to a bucket gets there, whoever dies and whatever is away."""

import hashlib
import signal
import subprocess
import sys
import time

import pytest

from ichd.domain.errors import Transient
from ichd.intake.uploader import Uploader
from ichd.store.tables import UploadRow
from ichd.store.uploads import Uploads
from tests.store.bucket_house import CONTENT, Site, rows_of
from tests.store.house import SERIES, image

_CHILD = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from ichd.intake.uploader import Uploader
from ichd.store.bucket import Bucket
from ichd.store.bucket_spool import BucketSpool
from ichd.store.engine import open_database
from ichd.store.uploads import Uploads
database, folder, bucket, endpoint = sys.argv[1:]
uploads = Uploads(open_database(database))
bucket = Bucket(bucket, endpoint=endpoint, access_key="key", secret_key="secret")
Uploader(BucketSpool(Path(folder), bucket, uploads, at_once=False), uploads, lambda: datetime.now(UTC)).start()
print("started", flush=True)
sys.stdin.read()
"""


def test_an_uploader_works_by_itself_and_outlives_a_bucket_that_is_away(site: Site) -> None:
    spool = site.spool("a")
    with site.s3.away():
        site.keep(spool, image(1))
        uploader = Uploader(spool, site.uploads, lambda: site.house.now)
        uploader.start()
        time.sleep(0.6)  # it has tried, or will: either way it must get there
        assert rows_of(site, UploadRow) == 1
    patience = time.monotonic() + 60
    while rows_of(site, UploadRow) and time.monotonic() < patience:
        time.sleep(0.05)
    uploader.stop()
    assert (rows_of(site, UploadRow), site.bucket.fetch(site.first(image(1)))) == (0, CONTENT)


def test_where_takers_bring_what_they_take_an_uploader_brings_what_they_left(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = site.spool("a", durability="remote")
    site.keep(spool, image(1))
    with site.s3.away(), pytest.raises(Transient):
        site.keep(spool, image(2))
    assert rows_of(site, UploadRow) == 1
    monkeypatch.setattr("ichd.intake.uploader._LEFT_S", 0.1)
    uploader = Uploader(spool, site.uploads, lambda: site.house.now)
    uploader.start()
    patience = time.monotonic() + 60
    while rows_of(site, UploadRow) and time.monotonic() < patience:
        time.sleep(0.05)
    uploader.stop()
    assert rows_of(site, UploadRow) == 0
    assert site.bucket.fetch(site.first(image(2))) == image(2).sop_instance_uid.encode()


def test_an_uploader_that_is_killed_leaves_no_debt_and_no_half_an_object(site: Site) -> None:
    spool = site.spool("a")
    uids = [f"{SERIES}.{number}" for number in range(1, 81)]
    for number in range(1, 81):
        site.keep(spool, image(number))
    url = site.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", _CHILD, url, str(spool.root), site.bucket.url, site.s3.endpoint]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        patience = time.monotonic() + 120
        while next(site.bucket.objects(), None) is None and time.monotonic() < patience:
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
    assert next(site.bucket.objects(), None) is not None
    site.upload(spool)
    assert rows_of(site, UploadRow) == 0
    digests = {hashlib.sha256(uid.encode()).hexdigest(): len(uid) for uid in uids}
    assert dict(site.bucket.objects()) == digests


def test_the_backlog_is_counted(site: Site) -> None:
    spool = site.spool("a")
    site.keep(spool, image(1))
    backlog = Uploads(site.engine).backlog(spool.machine)
    assert (backlog.files, backlog.bytes, backlog.oldest) == (1, len(CONTENT), site.house.now)
    assert Uploads(site.engine).backlog("another").files == 0
