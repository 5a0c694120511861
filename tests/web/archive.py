"""A store with real files behind the pages: a phantom head, and whatever else a test files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from fastapi.testclient import TestClient
from pydicom import dcmread
from pydicom.dataset import FileDataset
from sqlalchemy import select
from sqlalchemy.orm import Session

from ichd.domain.study import InstanceFacts
from ichd.intake.header import parse_header
from ichd.intake.part10 import split_file
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.store.arrivals import Arrivals
from ichd.store.engine import migrate, open_database
from ichd.store.ownership import claim_spool
from ichd.store.spool import Spool
from ichd.store.tables import InstanceRow
from ichd.web import Entry
from tests.web.conftest import client_of

NAMESPACE = "/dicom-web"


class Answer(Protocol):
    """What tests look at of a response, whichever HTTP library the test client is made of."""

    @property
    def status_code(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def content(self) -> bytes: ...
    @property
    def text(self) -> str: ...
    def json(self) -> Any: ...


@dataclass
class Archive:
    """Files go in as the door files them, without the door."""

    folder: Path
    now: datetime = field(default=datetime(2026, 11, 1, tzinfo=UTC))

    def __post_init__(self) -> None:
        url = f"sqlite:///{self.folder / 'ichd.db'}"
        migrate(url)
        self.engine = open_database(url)
        self.spool = Spool(self.folder / "spool")
        claim_spool(self.engine, self.spool)
        self.arrivals = Arrivals(self.engine)
        self.association = self.arrivals.open_association(calling_ae_title="CT1", address="192.0.2.1", now=self.now)

    def file(self, content: bytes) -> InstanceFacts:
        """Store a DICOM file."""
        syntax, dataset = split_file(content)
        facts = parse_header(dataset, syntax)
        self.now += timedelta(seconds=1)
        stored = self.spool.write([content])
        self.arrivals.record(facts, stored, association_id=self.association, now=self.now)
        return facts

    def file_dataset(self, dataset: FileDataset) -> InstanceFacts:
        """Store a data set."""
        buffer = BytesIO()
        dataset.save_as(buffer)
        return self.file(buffer.getvalue())

    def path_of(self, facts: InstanceFacts) -> Path:
        """Where its file lies."""
        with Session(self.engine) as session:
            statement = select(InstanceRow.path).filter_by(sop_instance_uid=facts.sop_instance_uid)
            return self.spool.locate(session.scalars(statement).one())

    def client(self, *, entry: Entry | None = None, address: str = "127.0.0.1") -> TestClient:
        """A viewer."""
        return client_of(self.folder, entry=entry, address=address)


@cache
def slices(seed: int = 3, count: int = 4) -> list[bytes]:
    """Files of a small phantom study."""
    phantom = render(PhantomRecipe(seed=seed, bleeds=("subdural",), slices=count, rows=128, voxel_mm=3.0))
    with TemporaryDirectory() as folder:
        return [path.read_bytes() for path in write_series(phantom, Path(folder), accession_number=f"A{seed}")]


def changed(content: bytes, **values: object) -> FileDataset:
    """A file with other values."""
    dataset = dcmread(BytesIO(content))
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    if "SOPInstanceUID" in values:
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset
