"""Machines that share one database and one bucket, each with a folder of its own."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Engine

from ichd.domain.retention import Watermarks
from ichd.domain.study import InstanceFacts
from ichd.intake.disk_gate import DiskGate
from ichd.intake.shelf import Shelf
from ichd.intake.uploader import Uploader
from ichd.store.arrivals import ArrivalKind
from ichd.store.bucket import Bucket
from ichd.store.bucket_spool import BucketSpool
from ichd.store.deliveries import Deliveries
from ichd.store.draft import StoredFile
from ichd.store.ownership import claim_spool
from ichd.store.studies import Studies
from ichd.store.tables import ConflictRow, InstanceRow, RemovalRow, UploadRow
from ichd.store.transaction import reading
from ichd.store.uploads import Uploads
from tests.peers.s3 import S3, S3Absent, running_s3
from tests.store.house import House, image

#: Of the image that most tests send.
CONTENT = image(1).sop_instance_uid.encode()
_NAMES = (f"images-{number}" for number in count())


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """A server for the session."""
    try:
        with running_s3() as server:
            yield server
    except S3Absent as absent:
        pytest.skip(str(absent))


@dataclass(kw_only=True)
class Site:
    """One database and one bucket."""

    house: House
    s3: S3
    bucket: Bucket
    name: str
    folder: Path

    @property
    def engine(self) -> Engine:
        return self.house.engine

    @property
    def uploads(self) -> Uploads:
        return Uploads(self.engine)

    def spool(self, machine: str, *, durability: str = "local") -> BucketSpool:
        """That of a machine, as a process sees it that has just started."""
        bucket = self.s3.bucket(self.name)
        spool = BucketSpool(self.folder / machine, bucket, self.uploads, at_once=durability == "remote")
        claim_spool(self.engine, spool)
        return spool

    def on(self, spool: BucketSpool) -> House:
        """The store's rooms as they are on a machine."""
        studies, deliveries = Studies(self.engine, spool), Deliveries(self.engine, spool)
        return replace(self.house, spool=spool, studies=studies, deliveries=deliveries)

    def keep(self, spool: BucketSpool, facts: InstanceFacts, content: bytes | None = None) -> ArrivalKind:
        """An image comes to a machine's door: as with every door, when this returns its sender is told yes."""
        association_id = self.house.open_association()
        shelf = Shelf(self.house.arrivals, spool, DiskGate(spool.free_fraction, Watermarks(high=1.0, low=1.0)))
        try:
            with shelf.draft() as draft:
                draft.write(content or facts.sop_instance_uid.encode())
                return shelf.keep(draft, facts, association_id=association_id, now=self.house.now)
        finally:
            self.house.end_association(association_id)

    def first(self, facts: InstanceFacts) -> StoredFile:
        """The file of an image, as its row says."""
        stored = self.house.arrivals.first_file(facts)
        assert stored is not None
        return stored

    def run_uploader(self, spool: BucketSpool, uploads: Uploads, *, until: Callable[[], bool]) -> None:
        """As beside a door, until something is so."""
        uploader, patience = Uploader(spool, uploads, lambda: self.house.now), time.monotonic() + 60
        uploader.start()
        while not until() and time.monotonic() < patience:
            time.sleep(0.05)
        uploader.stop()
        assert until()

    def upload(self, spool: BucketSpool) -> int:
        """All that a machine owes."""
        uploader, settled = Uploader(spool, self.uploads, lambda: self.house.now), 0
        while done := uploader.round():
            settled += done
        return settled


@pytest.fixture
def site(house: House, s3: S3, tmp_path: Path) -> Site:
    name = next(_NAMES)
    return Site(house=house, s3=s3, bucket=s3.make(name), name=name, folder=tmp_path / "machines")


def local_files(spool: BucketSpool) -> list[Path]:
    """Images that lie on a machine, finished or not."""
    return [path for path in spool.root.glob("[0-9a-f][0-9a-f]/*") if path.is_file()]


def rows_of(site: Site, table: type[InstanceRow | ConflictRow | UploadRow | RemovalRow]) -> int:
    with reading(site.engine) as session:
        return session.query(table).count()
