"""A spool in a bucket: taken on one machine, read on another, and never wrong bytes, whatever is damaged or away."""

import hashlib
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from ichd.domain.errors import Permanent, Transient, UserError
from ichd.domain.reason import Reason
from ichd.domain.retention import Watermarks
from ichd.intake.uploader import Uploader
from ichd.store.arrivals import ArrivalKind
from ichd.store.engine import migrate, open_database
from ichd.store.eviction import evict_copies
from ichd.store.ownership import claim_spool
from ichd.store.spool import Spool
from ichd.store.tables import ConflictRow, InstanceRow, UploadRow
from ichd.store.transaction import reading
from ichd.store.uploads import Uploads
from tests.peers.s3 import S3, overwrite
from tests.store.bucket_house import Site, local_files
from tests.store.house import SERIES, STUDY, image

BOTH_DURABILITIES = pytest.mark.parametrize("durability", ["local", "remote"])
CONTENT = image(1).sop_instance_uid.encode()


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)


def count(site: Site, table: type[InstanceRow | ConflictRow | UploadRow]) -> int:
    with reading(site.engine) as session:
        return session.query(table).count()


@BOTH_DURABILITIES
def test_an_image_that_one_machine_took_is_read_on_another(site: Site, durability: str) -> None:
    taker, reader = site.spool("a", durability=durability), site.spool("b", durability=durability)
    for number in (1, 2, 3):
        assert site.keep(taker, image(number)) is ArrivalKind.NEW
    assert site.upload(taker) == (3 if durability == "local" else 0)
    house = site.on(reader)
    assert house.close() == [STUDY]
    work = house.studies.begin_analysis(house.claim(), now=house.now)
    assert local_files(reader) == []
    work.bring([image(1).sop_instance_uid, image(3).sop_instance_uid])
    assert len(local_files(reader)) == 2, "only what is asked for is brought"
    for uid in (image(1).sop_instance_uid, image(3).sop_instance_uid):
        assert work.files[uid].path.read_bytes() == uid.encode()
        assert work.files[uid].sha256 == hashlib.sha256(uid.encode()).hexdigest()


def test_objects_are_named_by_their_content(site: Site) -> None:
    spool = site.spool("a", durability="remote")
    site.keep(spool, image(1))
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    assert list(site.bucket.objects()) == [(sha256, len(CONTENT))]
    assert site.bucket.key(site.first(image(1))) == f"ichd/sha256/{sha256[:2]}/{sha256}.dcm"


def test_an_image_that_is_still_owed_by_another_machine_is_waited_for(site: Site) -> None:
    taker, reader = site.spool("a"), site.spool("b")
    site.keep(taker, image(1))
    stored = site.first(image(1))
    with pytest.raises(Transient) as caught:
        reader.bring([stored])
    assert caught.value.reason is Reason.NOT_UPLOADED
    assert reader.is_intact(stored), "a resend must not take its place"
    site.upload(taker)
    reader.bring([stored])
    assert reader.locate(stored.path).read_bytes() == CONTENT


def test_with_the_bucket_away_local_durability_goes_on_and_remote_says_no(site: Site) -> None:
    near, far = site.spool("near"), site.spool("far", durability="remote")
    with site.s3.away():
        assert site.keep(near, image(1)) is ArrivalKind.NEW
        with pytest.raises(Transient) as caught:
            site.keep(far, image(2))
        assert caught.value.reason is Reason.STORE_UNAVAILABLE
        with pytest.raises(Transient):
            site.upload(near)
    assert (count(site, InstanceRow), local_files(far)) == (1, []), "what was refused leaves nothing"
    assert site.upload(near) == 1
    assert site.keep(far, image(2)) is ArrivalKind.NEW
    assert {sha256 for sha256, _ in site.bucket.objects()} == {
        hashlib.sha256(image(number).sop_instance_uid.encode()).hexdigest() for number in (1, 2)
    }


def test_a_bucket_that_is_not_there_is_no_bucket_without_objects(site: Site, s3: S3) -> None:
    site.keep(site.spool("a", durability="remote"), image(1))
    elsewhere = s3.bucket("misspelt")
    for ask in (elsewhere.fetch, elsewhere.holds):
        with pytest.raises(Transient, match="there is no bucket misspelt"):
            ask(site.first(image(1)))


@pytest.mark.parametrize("steps", ["seal", "seal upload", "seal upload commit"])
def test_killed_anywhere_before_the_answer_a_resend_makes_it_right_remotely(site: Site, steps: str) -> None:
    before = site.spool("a", durability="remote")
    stored = before.write([CONTENT])
    if "upload" in steps:
        before.upload(stored)
    if "commit" in steps:
        association_id = site.house.open_association()
        site.house.arrivals.record(image(1), stored, association_id=association_id, now=site.house.now)
    after = site.spool("a", durability="remote")
    kind = site.keep(after, image(1))
    assert kind is (ArrivalKind.DUPLICATE if "commit" in steps else ArrivalKind.NEW)
    assert count(site, InstanceRow) == 1
    assert site.bucket.fetch(site.first(image(1))) == CONTENT
    later = site.house.now + timedelta(days=9999)
    after.sweep(known=site.house.arrivals.known_paths, older_than=timedelta(0), now=later)
    assert [path.read_bytes() for path in local_files(after)] == [CONTENT]


@pytest.mark.parametrize("steps", ["seal", "seal commit", "seal commit upload"])
def test_killed_anywhere_before_the_answer_a_resend_makes_it_right_locally(site: Site, steps: str) -> None:
    before = site.spool("a")
    stored = before.write([CONTENT])
    if "commit" in steps:
        association_id, now = site.house.open_association(), site.house.now
        debtor = before.debtor
        site.house.arrivals.record(image(1), stored, association_id=association_id, now=now, debtor=debtor)
    if "upload" in steps:
        before.upload(stored)
    after = site.spool("a")
    assert site.keep(after, image(1)) is (ArrivalKind.DUPLICATE if "commit" in steps else ArrivalKind.NEW)
    assert (count(site, InstanceRow), count(site, UploadRow)) == (1, 1)
    assert site.upload(after) == 1
    assert (count(site, UploadRow), site.bucket.fetch(site.first(image(1)))) == (0, CONTENT)


def test_a_conflict_is_owed_and_a_duplicate_is_not(site: Site) -> None:
    spool = site.spool("a")
    site.keep(spool, image(1))
    assert site.keep(spool, image(1)) is ArrivalKind.DUPLICATE
    assert count(site, UploadRow) == 1
    assert site.keep(spool, image(1), b"other bytes") is ArrivalKind.CONFLICT
    assert site.upload(spool) == 2
    assert len(list(site.bucket.objects())) == 2


def test_a_damaged_copy_is_replaced_by_the_buckets(site: Site) -> None:
    spool = site.spool("a", durability="remote")
    site.keep(spool, image(1))
    stored = site.first(image(1))
    damage(spool.locate(stored.path))
    spool.bring([stored])
    assert spool.locate(stored.path).read_bytes() == CONTENT


@pytest.mark.parametrize("size", ["same", "other"])
def test_a_damaged_object_is_never_taken_for_the_image(site: Site, size: str) -> None:
    taker, reader = site.spool("a", durability="remote"), site.spool("b")
    site.keep(taker, image(1))
    stored = site.first(image(1))
    overwrite(site.bucket, stored, CONTENT[::-1] if size == "same" else b"")
    reader.bring([stored])
    assert local_files(reader) == []
    assert not reader.is_intact(stored)
    assert taker.is_intact(stored)


def test_what_is_damaged_in_both_places_stays_damaged_until_it_is_sent_again(site: Site) -> None:
    spool = site.spool("a", durability="remote")
    site.keep(spool, image(1))
    stored = site.first(image(1))
    damage(spool.locate(stored.path))
    overwrite(site.bucket, stored, b"")
    spool.bring([stored])
    assert spool.locate(stored.path).read_bytes() != CONTENT
    assert site.keep(spool, image(1)) is ArrivalKind.NEW, "its study is read again"
    spool.bring([site.first(image(1))])
    assert spool.locate(site.first(image(1)).path).read_bytes() == CONTENT


def test_bytes_that_were_damaged_before_they_were_uploaded_never_reach_the_bucket(site: Site) -> None:
    spool = site.spool("a")
    site.keep(spool, image(1))
    stored = site.first(image(1))
    damage(spool.locate(stored.path))
    with pytest.raises(Permanent) as caught:
        spool.upload(stored)
    assert caught.value.reason is Reason.FILE_DAMAGED
    assert site.upload(spool) == 1
    assert list(site.bucket.objects()) == []
    assert not spool.is_intact(stored)
    assert site.keep(spool, image(1)) is ArrivalKind.NEW, "a resend mends it"
    assert site.upload(spool) == 1
    assert site.bucket.fetch(site.first(image(1))) == CONTENT


def test_a_folder_that_is_not_mounted_is_not_taken_for_lost_files(site: Site) -> None:
    spool = site.spool("a")
    site.keep(spool, image(1))
    assert spool.debtor is not None
    spool.root.rename(spool.root.with_name("unmounted"))
    with pytest.raises(Transient, match="not mounted"):
        site.upload(spool)
    spool.root.with_name("unmounted").rename(spool.root)
    assert site.upload(spool) == 1


def test_a_copy_is_evicted_once_the_bucket_has_it_and_comes_back_when_needed(site: Site) -> None:
    spool = site.spool("a")
    site.keep(spool, image(1))
    stored = site.first(image(1))
    assert not spool.evict(stored), "nobody else has it yet"
    site.upload(spool)
    assert spool.evict(stored)
    assert local_files(spool) == []
    assert site.keep(spool, image(1)) is ArrivalKind.DUPLICATE
    spool.bring([stored])
    assert spool.locate(stored.path).read_bytes() == CONTENT


def test_what_is_dropped_is_gone_everywhere(site: Site) -> None:
    spool = site.spool("a")
    site.keep(spool, image(1))
    stored = site.first(image(1))
    site.upload(spool)
    for _ in range(2):  # killed in between, it is done again
        spool.drop(stored)
    assert (local_files(spool), list(site.bucket.objects()), count(site, UploadRow)) == ([], [], 0)
    site.house.now += timedelta(days=1)
    assert site.keep(spool, image(1)) is ArrivalKind.NEW


def test_a_second_machine_starts_with_an_empty_folder_and_a_foreign_database_does_not(
    site: Site, tmp_path: Path
) -> None:
    site.keep(site.spool("a", durability="remote"), image(1))
    assert site.spool("b").owner() == site.spool("a").owner()
    url = f"sqlite:///{tmp_path / 'other.db'}"
    migrate(url)
    other = open_database(url)
    with pytest.raises(UserError, match=r"the spool s3://images-[0-9]+/ichd belongs to another database"):
        claim_spool(other, site.spool("c"))
    other.dispose()


def test_a_folder_of_unknown_images_is_not_adopted(site: Site) -> None:
    site.spool("a")
    Spool(site.folder / "b").write([b"whose?"])
    with pytest.raises(UserError, match="holds images, but nothing says of which database"):
        site.spool("b")


def test_a_folder_that_was_the_whole_spool_moves_into_a_bucket(site: Site) -> None:
    folder = Spool(site.folder / "a")
    claim_spool(site.engine, folder)
    house = site.house
    association_id = house.open_association()
    for number in (1, 2):
        stored = folder.write([image(number).sop_instance_uid.encode()])
        house.arrivals.record(image(number), stored, association_id=association_id, now=house.now)
    spool = site.spool("a")
    assert site.upload(spool) == 2
    other = site.spool("b")
    other.bring([site.first(image(1))])
    assert other.locate(site.first(image(1)).path).read_bytes() == CONTENT


def test_the_bucket_of_a_database_that_is_emptied_is_missed(site: Site, s3: S3) -> None:
    site.spool("a")
    site.bucket = s3.make(f"{site.name}-other")
    site.name = f"{site.name}-other"
    with pytest.raises(UserError, match="is gone"):
        site.spool("b")


def test_an_uploader_works_by_itself_and_outlives_a_bucket_that_is_away(site: Site) -> None:
    spool = site.spool("a")
    with site.s3.away():
        site.keep(spool, image(1))
        uploader = Uploader(spool, site.uploads)
        uploader.start()
        time.sleep(0.6)  # it has tried, or will: either way it must get there
        assert count(site, UploadRow) == 1
    patience = time.monotonic() + 60
    while count(site, UploadRow) and time.monotonic() < patience:
        time.sleep(0.05)
    uploader.stop()
    assert (count(site, UploadRow), site.bucket.fetch(site.first(image(1)))) == (0, CONTENT)


_CHILD = """
import sys
from pathlib import Path
from ichd.intake.uploader import Uploader
from ichd.store.bucket import Bucket
from ichd.store.bucket_spool import BucketSpool
from ichd.store.engine import open_database
from ichd.store.uploads import Uploads
database, folder, bucket, endpoint = sys.argv[1:]
uploads = Uploads(open_database(database))
bucket = Bucket(bucket, endpoint=endpoint, access_key="key", secret_key="secret")
Uploader(BucketSpool(Path(folder), bucket, uploads, at_once=False), uploads).start()
print("started", flush=True)
sys.stdin.read()
"""


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
    assert count(site, UploadRow) == 0
    digests = {hashlib.sha256(uid.encode()).hexdigest(): len(uid) for uid in uids}
    assert dict(site.bucket.objects()) == digests


def test_objects_without_a_row_are_shown_and_stay(site: Site) -> None:
    spool = site.spool("a", durability="remote")
    site.keep(spool, image(1))
    forgotten = spool.write([b"of a database that was restored"])
    spool.upload(forgotten)
    assert list(spool.strays()) == [forgotten.sha256]
    assert len(list(site.bucket.objects())) == 2


def test_the_backlog_is_counted(site: Site) -> None:
    spool = site.spool("a")
    site.keep(spool, image(1))
    backlog = Uploads(site.engine).backlog(spool.machine)
    assert (backlog.files, backlog.bytes, backlog.oldest) == (1, len(CONTENT), site.house.now)
    assert Uploads(site.engine).backlog("another").files == 0


def test_a_short_disk_loses_its_oldest_copies_and_nothing_that_the_bucket_lacks(site: Site) -> None:
    spool = site.spool("a")
    for number in (1, 2, 3):
        site.keep(spool, image(number))
    site.upload(spool)
    site.keep(spool, image(4))  # and is not uploaded yet
    used = iter((0.99, 0.99, 0.99, 0.50))
    # How full a disk is comes from outside; the files and the bucket are real.
    spool.free_fraction = lambda: 1 - next(used)  # type: ignore[method-assign]
    assert evict_copies(site.engine, spool, Watermarks()) == 2
    assert {path.name for path in local_files(spool)} == {
        spool.locate(site.first(image(number)).path).name for number in (3, 4)
    }
    spool.free_fraction = lambda: 0.0  # type: ignore[method-assign]
    assert evict_copies(site.engine, spool, Watermarks()) == 1
    assert [path.name for path in local_files(spool)] == [spool.locate(site.first(image(4)).path).name]
