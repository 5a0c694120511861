"""Senders, uploaders and retention in every order: what is acknowledged is in the bucket, what is dropped is not."""

import hashlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from ichd.domain.errors import Transient
from ichd.domain.reason import Reason
from ichd.domain.retention import RetentionPolicy, Watermarks
from ichd.store.arrivals import ArrivalKind
from ichd.store.bucket_spool import BucketSpool
from ichd.store.retention import Retention
from ichd.store.tables import ConflictRow, InstanceRow, RemovalRow, UploadRow
from ichd.store.transaction import reading
from tests.store.bucket_house import CONTENT, Site, local_files, rows_of
from tests.store.house import STUDY, image

OTHER = b"other bytes under the same UID"


def nothing() -> None:
    """Happens."""


def at(room: Any, method: str, *, before: Callable[[], None] = nothing, after: Callable[[], None] = nothing) -> None:
    """Let something else happen right before or after a room does something next; it does it all the same."""
    real = getattr(room, method)

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        setattr(room, method, real)
        before()
        done = real(*args, **kwargs)
        after()
        return done

    setattr(room, method, interrupted)


def done_with(site: Site, spool: BucketSpool) -> Callable[[], None]:
    """A study of one image that was reported long ago; the retention that is due for it."""
    site.keep(spool, image(1))
    site.upload(spool)
    house = site.on(spool)
    assert house.close() == [STUDY]
    house.analyse()
    site.house.now = house.now + timedelta(days=10)
    policy = RetentionPolicy(watermarks=Watermarks(), keep_for=timedelta(days=1), makes_room=False)

    def strike() -> None:
        assert Retention(site.engine, spool, policy).run(site.house.now).total.studies == 1

    return strike


def here(site: Site, table: type[InstanceRow | ConflictRow]) -> int:
    with reading(site.engine) as session:
        return session.query(table).filter(table.dropped_at.is_(None)).count()


MOMENTS = ["before its row", "after its row", "before its object", "after its object", "before it is settled"]


def when(moment: str, site: Site, spool: BucketSpool, strike: Callable[[], None]) -> None:
    word, _, step = moment.partition(" ")
    room, method = {
        "its row": (site.house.arrivals, "record"),
        "its object": (spool._bucket, "put"),
        "it is settled": (site.house.arrivals, "settle"),
    }[step]
    at(room, method, **{word: strike})


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_resend_that_retention_meets_is_in_the_bucket_once_it_is_acknowledged(site: Site, moment: str) -> None:
    spool = site.spool("a", durability="remote")
    when(moment, site, spool, done_with(site, spool))
    assert site.keep(spool, image(1)) is ArrivalKind.NEW
    assert site.bucket.fetch(site.first(image(1))) == CONTENT
    assert (here(site, InstanceRow), rows_of(site, UploadRow)) == (1, 0)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_fresh_conflict_that_retention_meets_is_in_the_bucket_or_not_acknowledged(site: Site, moment: str) -> None:
    """It reopens nothing, so that its study is as due as before."""
    spool = site.spool("a", durability="remote")
    when(moment, site, spool, done_with(site, spool))
    if moment != "before its row":
        with pytest.raises(Transient) as caught:
            site.keep(spool, image(1), OTHER)
        assert caught.value.reason is Reason.STORE_UNAVAILABLE
        assert here(site, ConflictRow) == 0
    assert site.keep(spool, image(1), OTHER) is ArrivalKind.CONFLICT
    assert [sha256 for sha256, _ in site.bucket.objects()] == [hashlib.sha256(OTHER).hexdigest()]
    assert (here(site, ConflictRow), rows_of(site, ConflictRow), rows_of(site, UploadRow)) == (1, 1, 0)


@pytest.mark.parametrize("durability", ["local", "remote"])
def test_what_is_sent_again_between_the_drop_and_the_removal_stays(site: Site, durability: str) -> None:
    spool = site.spool("a", durability=durability)
    strike, kinds = done_with(site, spool), list[ArrivalKind]()
    at(spool, "remove_owed", before=lambda: kinds.append(site.keep(spool, image(1))))
    strike()
    site.upload(spool)
    assert kinds == [ArrivalKind.NEW]
    assert site.bucket.fetch(site.first(image(1))) == CONTENT


@pytest.mark.parametrize("durability", ["local", "remote"])
def test_a_removal_that_hangs_holds_up_no_image_and_takes_none_away(
    site: Site, durability: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ichd.store.removal._WAIT_S", 0.2)
    spool = site.spool("a", durability=durability)
    strike, hangs, goes_on = done_with(site, spool), threading.Event(), threading.Event()

    def hang() -> None:
        hangs.set()
        assert goes_on.wait(60)

    at(spool._bucket, "remove", before=hang)
    with ThreadPoolExecutor(1) as retention:
        removal = retention.submit(strike)
        assert hangs.wait(60)
        # Of the very study, with whose row retention has to do.
        assert site.keep(spool, image(2)) is ArrivalKind.NEW
        if durability == "remote":
            with pytest.raises(Transient, match="just being removed"):
                site.keep(spool, image(1))
        else:
            assert site.keep(spool, image(1)) is ArrivalKind.NEW
        site.upload(spool)
        assert (here(site, InstanceRow), rows_of(site, UploadRow)) == (2, 1), "the same bytes wait for the removal"
        goes_on.set()
        removal.result()
    if durability == "remote":
        assert site.keep(spool, image(1)) is ArrivalKind.DUPLICATE
    site.upload(spool)
    assert site.bucket.fetch(site.first(image(1))) == CONTENT
    assert (here(site, InstanceRow), rows_of(site, UploadRow), rows_of(site, RemovalRow)) == (2, 0, 0)


@pytest.mark.parametrize("durability", ["local", "remote"])
def test_what_is_sent_again_during_the_removal_is_in_the_bucket_afterwards(site: Site, durability: str) -> None:
    spool = site.spool("a", durability=durability)
    strike, knocked = done_with(site, spool), threading.Event()
    at(site.house.arrivals, "record", after=knocked.set)
    with ThreadPoolExecutor(1) as sender:
        resends: list[Any] = []

        def knock() -> None:
            resends.append(sender.submit(site.keep, spool, image(1)))
            assert knocked.wait(60)

        at(spool._bucket, "remove", before=knock)
        strike()
        assert resends[0].result() is ArrivalKind.NEW
    site.upload(spool)
    assert site.bucket.fetch(site.first(image(1))) == CONTENT
    assert (here(site, InstanceRow), rows_of(site, UploadRow)) == (1, 0)


@pytest.mark.parametrize("fate", ["lives", "fails"])
def test_a_repeated_image_is_not_acknowledged_on_the_word_of_who_has_not_brought_it_yet(site: Site, fate: str) -> None:
    first, second = site.spool("a", durability="remote"), site.spool("b", durability="remote")
    kinds: list[ArrivalKind] = []

    def overtake() -> None:
        assert rows_of(site, UploadRow) == 1
        kinds.append(site.keep(second, image(1)))
        assert site.bucket.fetch(site.first(image(1))) == CONTENT
        assert rows_of(site, UploadRow) == 0
        if fate == "fails":
            raise Transient(Reason.STORE_UNAVAILABLE, "the bucket is away again")

    at(first._bucket, "put", before=overtake)
    if fate == "fails":
        with pytest.raises(Transient):
            site.keep(first, image(1))
    else:
        assert site.keep(first, image(1)) is ArrivalKind.NEW
    assert kinds == [ArrivalKind.DUPLICATE]
    assert site.bucket.fetch(site.first(image(1))) == CONTENT
    assert (here(site, InstanceRow), rows_of(site, UploadRow), local_files(second)) == (1, 0, [])


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_uploader_leaves_no_object_of_what_was_dropped_meanwhile(site: Site, moment: str) -> None:
    spool = site.spool("a")
    strike = done_with(site, spool)
    assert site.keep(spool, image(1), OTHER) is ArrivalKind.CONFLICT
    at(spool._bucket, "put", **{moment: strike})
    site.upload(spool)
    assert (list(site.bucket.objects()), rows_of(site, UploadRow)) == ([], 0)


@pytest.mark.parametrize("mend", ["resend", "uploader"])
def test_an_outage_keeps_what_was_under_way_and_refuses_the_rest_at_the_door(site: Site, mend: str) -> None:
    spool = site.spool("a", durability="remote")
    assert site.keep(spool, image(1)) is ArrivalKind.NEW
    with site.s3.away():
        for number in (2, 3):
            with pytest.raises(Transient) as caught:
                site.keep(spool, image(number))
            assert caught.value.reason is Reason.STORE_UNAVAILABLE
        assert (rows_of(site, InstanceRow), rows_of(site, UploadRow)) == (2, 1)
        assert len(local_files(spool)) == 2
    if mend == "resend":
        assert site.keep(spool, image(2)) is ArrivalKind.DUPLICATE
    else:
        assert site.upload(spool) == 1
    assert rows_of(site, UploadRow) == 0
    assert site.bucket.fetch(site.first(image(2))) == image(2).sop_instance_uid.encode()
    assert site.keep(spool, image(3)) is ArrivalKind.NEW


def test_an_uploader_leaves_alone_what_its_takers_are_just_bringing(site: Site) -> None:
    spool = site.spool("a", durability="remote")
    seen: list[Sequence[object]] = []
    at(spool._bucket, "put", before=lambda: seen.append(site.uploads.next(spool.machine, limit=9, up_to=0)))
    site.keep(spool, image(1))
    assert seen == [[]]
    stored = spool.write([OTHER])
    site.house.arrivals.record(
        image(2),
        stored,
        association_id=site.house.open_association(),
        now=site.house.now,
        debtor=spool.debtor,
    )
    assert site.uploads.next(spool.machine, limit=9, up_to=site.uploads.newest(spool.machine)) == [stored]
