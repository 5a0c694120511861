"""Damaged copies, damaged objects: never wrong bytes, and mended from wherever the right ones are."""

from pathlib import Path

import pytest

from ichd.domain.errors import Permanent
from ichd.domain.reason import Reason
from ichd.store.arrivals import ArrivalKind
from tests.peers.s3 import overwrite
from tests.store.bucket_house import CONTENT, Site, local_files
from tests.store.house import image


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)


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
