"""Objects that are to leave a bucket leave it, whoever dies; and only who holds the claim may say that one has."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from ichd.domain.errors import Transient
from ichd.domain.reason import Reason
from ichd.domain.retention import RetentionPolicy, Watermarks
from ichd.store.draft import StoredFile
from ichd.store.removal import Removals, owe_removal
from ichd.store.retention import Retention
from ichd.store.tables import RemovalRow, UploadRow
from ichd.store.transaction import writing
from tests.store.bucket_house import Site, rows_of
from tests.store.house import STUDY, House, image


def owe(house: House, count: int) -> list[StoredFile]:
    files = [StoredFile(path=f"{n:064x}.dcm", sha256=f"{n:064x}", size=10 + n) for n in range(count)]
    with writing(house.engine) as session:
        owe_removal(session, files, house.now)
    return files


def expire_claims(house: House) -> None:
    with writing(house.engine) as session:
        session.execute(update(RemovalRow).values(claimed_until=house.now - timedelta(days=9000)))


def test_what_retention_could_not_remove_goes_with_the_next_run(site: Site) -> None:
    spool = site.spool("a", durability="remote")
    site.keep(spool, image(1))
    house = site.on(spool)
    assert house.close() == [STUDY]
    house.analyse()
    policy = RetentionPolicy(watermarks=Watermarks(), keep_for=timedelta(days=1), makes_room=False)
    retention, then = Retention(site.engine, spool, policy), house.now + timedelta(days=9)
    with site.s3.away(), pytest.raises(Transient) as caught:
        retention.run(then)
    assert caught.value.reason is Reason.STORE_UNAVAILABLE
    assert (Removals(site.engine).owed().objects, Removals(site.engine).owed().oldest) == (1, then)

    assert retention.run(then + timedelta(minutes=1)).total.studies == 0
    assert (list(site.bucket.objects()), rows_of(site, RemovalRow)) == ([], 0)


def test_each_object_is_removed_once_and_the_oldest_first(house: House) -> None:
    files, removed = owe(house, 40), list[StoredFile]()
    assert Removals(house.engine).work_off(removed.append) == 40
    assert sorted(removed, key=lambda file: file.sha256) == files
    assert {file.sha256 for file in removed[:16]} == {file.sha256 for file in files[:16]}
    assert Removals(house.engine).work_off(removed.append) == 0


def test_one_that_fails_is_free_again_and_the_others_are_gone(house: House) -> None:
    files = owe(house, 3)

    def remove(stored: StoredFile) -> None:
        if stored.sha256 == files[1].sha256:
            raise Transient(Reason.STORE_UNAVAILABLE, "S3: SlowDown")

    with pytest.raises(Transient, match="SlowDown"):
        Removals(house.engine).work_off(remove)
    left: list[StoredFile] = []
    assert Removals(house.engine).work_off(left.append) == 1
    assert left == [files[1]]


def test_a_claim_is_respected_until_it_ends_and_one_that_has_ended_takes_no_row_away(house: House) -> None:
    owe(house, 1)
    removals = Removals(house.engine)
    slow = removals._claim(limit=1)
    assert removals.work_off(lambda _: None) == 0, "somebody has it in hand"

    expire_claims(house)
    quick = removals._claim(limit=1)
    removals._remove(slow, lambda _: None)
    assert removals.owed().objects == 1, "the second is still at it"
    removals._remove(quick, lambda _: None)
    assert removals.owed().objects == 0


def test_a_death_in_the_middle_of_a_removal_is_made_good(house: House) -> None:
    owe(house, 1)

    class Killed(BaseException):
        """Nobody catches it."""

    def die(_: Any) -> None:
        raise Killed

    with pytest.raises(Killed):
        Removals(house.engine).work_off(die)
    assert Removals(house.engine).work_off(lambda _: None) == 0
    expire_claims(house)
    assert Removals(house.engine).work_off(lambda _: None) == 1


def test_an_uploader_that_meets_a_defect_goes_on(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spool = site.spool("a")
    site.keep(spool, image(1))
    real, calls = site.uploads.next, list[int]()

    def crash_once(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("a defect")
        return real(*args, **kwargs)

    uploads = site.uploads
    monkeypatch.setattr(uploads, "next", crash_once)
    site.run_uploader(spool, uploads, until=lambda: rows_of(site, UploadRow) == 0)
    assert len(calls) > 1
