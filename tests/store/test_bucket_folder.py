"""The folder that each machine has before a bucket: whose it is, and what of it may go."""

from datetime import timedelta
from pathlib import Path

import pytest

from ichd.domain.errors import Transient, UserError
from ichd.domain.retention import Watermarks
from ichd.store.arrivals import ArrivalKind
from ichd.store.engine import migrate, open_database
from ichd.store.eviction import evict_copies
from ichd.store.ownership import claim_spool
from ichd.store.removal import owe_removal
from ichd.store.spool import Spool
from ichd.store.tables import UploadRow
from ichd.store.transaction import writing
from tests.peers.s3 import S3
from tests.store.bucket_house import CONTENT, Site, local_files, rows_of
from tests.store.house import image


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


def test_what_is_dropped_is_gone_everywhere(site: Site) -> None:
    spool = site.spool("a")
    site.keep(spool, image(1))
    stored = site.first(image(1))
    site.upload(spool)
    with writing(site.engine) as session:
        owe_removal(session, [stored], site.house.now)
    spool.discard(stored.path)
    site.bucket.remove(stored)  # killed in between, it is done again
    assert spool.remove_owed() == 1
    assert (local_files(spool), list(site.bucket.objects()), rows_of(site, UploadRow)) == ([], [], 0)
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
