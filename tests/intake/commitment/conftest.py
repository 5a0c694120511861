"""A store with requests for storage commitment, and who answers them."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from ichd.domain.job import RetryPolicy
from ichd.domain.study import CT_IMAGE_STORAGE
from ichd.intake.ask.sources import DimseSource
from ichd.intake.claim import Sender
from ichd.intake.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE, CommitmentRequests
from ichd.intake.commitment_report import CommitmentReporter, ReportingPolicy
from ichd.intake.service import Answer, Operation, Request
from ichd.store.arrivals import Arrivals
from ichd.store.commitments import Commitments
from ichd.store.engine import migrate, open_database
from ichd.store.spool import Spool
from ichd.store.tables import CommitmentRow, InstanceRow
from tests.peers.commitment_scu import CommitmentScu, running_commitment_scu
from tests.store.house import image

EXPLICIT, IMPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
TRANSACTION = "1.2.840.99.1"
#: Everything a hundred times faster than in earnest.
BRISK = ReportingPolicy(
    grace_s=0.3,
    look_again_s=0.05,
    lease_s=1.0,
    poll_s=0.05,
    retry=RetryPolicy(first_s=0.05, ceiling_s=0.2, max_attempts=200),
)


def now() -> datetime:
    return datetime.now(UTC)


def until(condition: Callable[[], bool], *, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def encoded(information: Dataset, transfer_syntax_uid: str) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_implicit_VR = transfer_syntax_uid == IMPLICIT
    buffer.is_little_endian = transfer_syntax_uid != BIG_ENDIAN
    write_dataset(buffer, information)
    return buffer.getvalue()


def item(uid: str, sop_class_uid: str = CT_IMAGE_STORAGE) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = sop_class_uid, uid
    return reference


def question(*items: Dataset, transaction_uid: str = TRANSACTION) -> Dataset:
    information = Dataset()
    information.TransactionUID = transaction_uid
    information.ReferencedSOPSequence = list(items)
    return information


@dataclass(kw_only=True)
class House:
    """A store, the desk that takes requests, and reporters that a test may stop and start."""

    engine: Engine
    spool: Spool
    arrivals: Arrivals
    commitments: Commitments
    sources: dict[str, DimseSource]
    requests: CommitmentRequests
    reporters: list[CommitmentReporter]

    def ask(
        self,
        information: Dataset | bytes,
        *,
        caller: str = "CT1",
        transfer_syntax_uid: str = EXPLICIT,
        **changes: Any,
    ) -> Answer:
        content = information if isinstance(information, bytes) else encoded(information, transfer_syntax_uid)
        request = Request(
            operation=Operation.N_ACTION,
            sop_class_uid=PUSH_MODEL,
            sop_instance_uid=PUSH_MODEL_INSTANCE,
            type_id=1,
            dataset=content,
            transfer_syntax_uid=transfer_syntax_uid,
            sender=Sender(calling_ae_title=caller, address="127.0.0.1"),
            received_at=now(),
        )
        return self.requests.accept(replace(request, **changes))

    def store(self, *numbers: int, content: bytes | None = None) -> list[str]:
        """Images as the doors store them: file first, then the row. Returns their UIDs."""
        association_id = self.arrivals.open_association(calling_ae_title="CT1", address="127.0.0.1", now=now())
        for number in numbers:
            facts = image(number)
            stored = self.spool.write([content or facts.sop_instance_uid.encode() * 100])
            self.arrivals.record(facts, stored, association_id=association_id, now=now())
        return [image(number).sop_instance_uid for number in numbers]

    def file_of(self, uid: str) -> Path:
        with Session(self.engine) as session:
            path = session.scalars(select(InstanceRow.path).filter_by(sop_instance_uid=uid)).one()
        return self.spool.locate(path)

    def row(self) -> CommitmentRow:
        with Session(self.engine) as session:
            return session.scalars(select(CommitmentRow)).one()

    def rows(self) -> list[CommitmentRow]:
        with Session(self.engine) as session:
            return list(session.scalars(select(CommitmentRow)))

    def report(self, *, policy: ReportingPolicy = BRISK) -> CommitmentReporter:
        reporter = CommitmentReporter(self.commitments, self.arrivals, self.spool, self.sources, now, policy=policy)
        reporter.start()
        self.reporters.append(reporter)
        return reporter


@pytest.fixture
def scu() -> Iterator[CommitmentScu]:
    with running_commitment_scu() as running:
        yield running


def source_at(port: int, ae_title: str = "CT1") -> DimseSource:
    return DimseSource(name="scanner", host="127.0.0.1", port=port, ae_title=ae_title, timeout_s=5.0)


@pytest.fixture
def house(tmp_path: Path, scu: CommitmentScu) -> Iterator[House]:
    url = f"sqlite:///{tmp_path / 'ichd.db'}"
    migrate(url)
    engine = open_database(url)
    arrivals, commitments = Arrivals(engine), Commitments(engine)
    reporters: list[CommitmentReporter] = []

    def wake() -> None:
        for reporter in reporters:
            reporter.wake()

    yield House(
        engine=engine,
        spool=Spool(tmp_path / "spool"),
        arrivals=arrivals,
        commitments=commitments,
        sources={"CT1": source_at(scu.port)},
        requests=CommitmentRequests(commitments, arrivals, answerable=["CT1"], filed=wake),
        reporters=reporters,
    )
    for reporter in reporters:
        reporter.stop()
    engine.dispose()
