"""A bucket and the rows held against one another."""

from datetime import timedelta
from typing import Any

import pytest

from ichd.domain.errors import Transient
from ichd.domain.reason import Reason
from ichd.domain.retention import RetentionPolicy, Watermarks
from ichd.store.arrivals import ArrivalKind
from ichd.store.bucket_spool import BucketSpool
from ichd.store.draft import StoredFile
from ichd.store.inventory import Inventory, owe_removal_of_unnamed, take_inventory
from ichd.store.retention import Retention
from ichd.store.tables import InstanceRow, UploadRow
from tests.peers.s3 import overwrite
from tests.store.bucket_house import CONTENT, Site, rows_of
from tests.store.house import STUDY, image

BYTES = b"of a database that was restored"


def look(site: Site) -> Inventory:
    return take_inventory(site.engine, site.bucket)


def forgotten(spool: BucketSpool) -> StoredFile:
    """An object that no row knows."""
    stored = spool.write([BYTES])
    spool.upload(stored)
    spool.discard(stored.path)
    return stored


def test_a_bucket_that_is_as_the_rows_say_has_nothing_to_tell(site: Site) -> None:
    near, far = site.spool("near"), site.spool("far", durability="remote")
    site.keep(far, image(1))
    site.keep(far, image(1), b"a conflict")
    site.keep(near, image(2))  # and still owes it
    assert look(site) == Inventory(objects=2, forgotten=(), dropped=(), missing=())


def test_objects_without_a_row_are_shown_and_stay(site: Site) -> None:
    spool = site.spool("a", durability="remote")
    site.keep(spool, image(1))
    stray = forgotten(spool)
    assert [each.sha256 for each in look(site).forgotten] == [stray.sha256]
    assert len(list(site.bucket.objects())) == 2


def test_an_object_without_a_row_is_copied_before_it_is_removed(site: Site) -> None:
    spool = site.spool("a", durability="remote")
    site.keep(spool, image(1))
    stray = forgotten(spool)
    (found,) = look(site).forgotten
    assert spool.set_aside(found)
    assert owe_removal_of_unnamed(site.engine, [found], now=site.house.now) == 1
    assert spool.remove_owed() == 1
    assert (site.folder / "a.orphans" / f"{stray.sha256}.dcm").read_bytes() == BYTES
    assert look(site) == Inventory(objects=1, forgotten=(), dropped=(), missing=())


def test_a_damaged_object_without_a_row_is_left_to_a_person(site: Site) -> None:
    spool = site.spool("a")
    overwrite(site.bucket, forgotten(spool), BYTES[::-1])
    (found,) = look(site).forgotten
    assert not spool.set_aside(found)
    assert list((site.folder / "a.orphans").glob("*")) == []


@pytest.mark.parametrize("durability", ["local", "remote"])
def test_an_object_whose_image_is_sent_meanwhile_is_not_removed(site: Site, durability: str) -> None:
    spool = site.spool("a", durability=durability)
    stored = spool.write([CONTENT])
    spool.upload(stored)
    (found,) = look(site).forgotten
    assert site.keep(spool, image(1)) is ArrivalKind.NEW
    assert owe_removal_of_unnamed(site.engine, [found], now=site.house.now) == 0
    assert site.bucket.fetch(site.first(image(1))) == CONTENT


def test_an_object_that_retention_could_not_remove_is_told_from_one_that_was_forgotten(site: Site) -> None:
    spool = site.spool("a", durability="remote")
    site.keep(spool, image(1))
    house = site.on(spool)
    assert house.close() == [STUDY]
    house.analyse()
    policy = RetentionPolicy(watermarks=Watermarks(), keep_for=timedelta(days=1), makes_room=False)
    with site.s3.away(), pytest.raises(Transient):
        Retention(site.engine, spool, policy).run(house.now + timedelta(days=9))
    found = look(site)
    assert (len(found.dropped), found.forgotten, found.missing) == (1, (), ())
    assert owe_removal_of_unnamed(site.engine, found.dropped, now=site.house.now) == 1
    assert spool.remove_owed() == 1
    assert list(site.bucket.objects()) == []


@pytest.mark.parametrize("harm", ["gone", "cut"])
def test_an_image_whose_object_is_missing_is_named_and_owed_again(site: Site, harm: str) -> None:
    spool = site.spool("a", durability="remote")
    for number in (1, 2):
        site.keep(spool, image(number))
    stored = site.first(image(1))
    if harm == "gone":
        site.bucket.remove(stored)
    else:
        overwrite(site.bucket, stored, CONTENT[:-1])
    (missing,) = look(site).missing
    assert (missing.stored, missing.study_uid) == (stored, STUDY)
    assert spool.has_copy(stored)
    site.uploads.owe([stored], spool.machine, now=site.house.now)
    assert look(site).missing == (), "it is known to be on its way"
    assert site.upload(spool) == 1
    assert site.bucket.fetch(stored) == CONTENT
    assert (rows_of(site, InstanceRow), rows_of(site, UploadRow)) == (2, 0)


def test_what_is_settled_or_arrives_while_the_bucket_is_listed_is_neither_missing_nor_a_stray(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far = site.spool("near"), site.spool("far", durability="remote")
    site.keep(near, image(1))
    listing = site.bucket.objects

    def slow() -> Any:
        yield from list(listing())
        site.upload(near)
        site.keep(far, image(2))

    monkeypatch.setattr(site.bucket, "objects", slow)
    assert look(site) == Inventory(objects=0, forgotten=(), dropped=(), missing=())


def test_a_bucket_that_is_away_is_not_one_without_objects(site: Site) -> None:
    site.keep(site.spool("a", durability="remote"), image(1))
    with site.s3.away(), pytest.raises(Transient) as caught:
        look(site)
    assert caught.value.reason is Reason.STORE_UNAVAILABLE


def test_backlogs_are_told_by_machine(site: Site) -> None:
    a, b = site.spool("a"), site.spool("b")
    site.keep(a, image(1))
    site.keep(b, image(2))
    site.house.wait(60)
    site.keep(b, image(3))
    found = {machine: (each.files, each.oldest) for machine, each in site.uploads.backlogs().items()}
    first = site.house.now - timedelta(seconds=60)
    assert found == {a.machine: (1, first), b.machine: (2, first)}
