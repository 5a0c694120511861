"""A spool in a bucket: taken on one machine, read on another, whatever is away and whoever dies."""

import hashlib
from datetime import timedelta

import pytest

from ichd.domain.errors import Transient
from ichd.domain.reason import Reason
from ichd.store.arrivals import ArrivalKind
from ichd.store.tables import InstanceRow, UploadRow
from tests.peers.s3 import S3
from tests.store.bucket_house import CONTENT, Site, local_files, rows_of
from tests.store.house import STUDY, image

BOTH_DURABILITIES = pytest.mark.parametrize("durability", ["local", "remote"])


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
    assert (rows_of(site, InstanceRow), local_files(far)) == (1, []), "what was refused leaves nothing"
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


@pytest.mark.parametrize("steps", ["seal", "seal commit", "seal commit upload", "seal commit upload settle"])
def test_killed_anywhere_before_the_answer_a_resend_makes_it_right_remotely(site: Site, steps: str) -> None:
    before = site.spool("a", durability="remote")
    stored, arrivals = before.write([CONTENT]), site.house.arrivals
    if "commit" in steps:
        association_id, now = site.house.open_association(), site.house.now
        arrivals.record(image(1), stored, association_id=association_id, now=now, debtor=before.debtor)
    if "upload" in steps:
        before.upload(stored)
    if "settle" in steps:
        assert arrivals.settle(image(1), stored)
    after = site.spool("a", durability="remote")
    kind = site.keep(after, image(1))
    assert kind is (ArrivalKind.DUPLICATE if "commit" in steps else ArrivalKind.NEW)
    assert (rows_of(site, InstanceRow), rows_of(site, UploadRow)) == (1, 0)
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
    assert (rows_of(site, InstanceRow), rows_of(site, UploadRow)) == (1, 1)
    assert site.upload(after) == 1
    assert (rows_of(site, UploadRow), site.bucket.fetch(site.first(image(1)))) == (0, CONTENT)


def test_a_conflict_is_owed_and_a_duplicate_is_not(site: Site) -> None:
    spool = site.spool("a")
    site.keep(spool, image(1))
    assert site.keep(spool, image(1)) is ArrivalKind.DUPLICATE
    assert rows_of(site, UploadRow) == 1
    assert site.keep(spool, image(1), b"other bytes") is ArrivalKind.CONFLICT
    assert site.upload(spool) == 2
    assert len(list(site.bucket.objects())) == 2
