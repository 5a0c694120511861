"""An independent AE that takes reports of storage commitment (N-EVENT-REPORT), and answers as it is told."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]

from tests.peers.ports import free_port


@dataclass(frozen=True, kw_only=True)
class Report:
    """One N-EVENT-REPORT as it came."""

    event_type: int
    transaction_uid: str
    committed: list[tuple[str, str]]
    #: SOP Class UID, SOP Instance UID, Failure Reason.
    failed: list[tuple[str, str, int]]


@dataclass(kw_only=True)
class CommitmentScu:
    """A running AE, and what it was told so far."""

    port: int
    ae_title: str
    reports: list[Report] = field(default_factory=list)
    _told: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, count: int = 1, *, timeout_s: float = 20.0) -> list[Report]:
        """All reports, as soon as there are `count`.

        Raises:
            TimeoutError: there are not.
        """
        with self._told:
            if not self._told.wait_for(lambda: len(self.reports) >= count, timeout=timeout_s):
                raise TimeoutError(f"{len(self.reports)} of {count} reports came within {timeout_s:g} s")
            return list(self.reports)

    def take(self, event: evt.Event) -> None:
        """Write a report down."""
        information = event.event_information
        report = Report(
            event_type=event.event_type or 0,
            transaction_uid=str(information.TransactionUID),
            committed=[_pair(item) for item in information.get("ReferencedSOPSequence", ())],
            failed=[(*_pair(item), int(item.FailureReason)) for item in information.get("FailedSOPSequence", ())],
        )
        with self._told:
            self.reports.append(report)
            self._told.notify_all()


@contextmanager
def running_commitment_scu(
    *,
    ae_title: str = "CT1",
    port: int | None = None,
    grants_role: bool = True,
    requires_own_name: bool = False,
    answer: Callable[[], int] | None = None,
) -> Iterator[CommitmentScu]:
    """Listen on loopback. `grants_role`: it answers the role selection, as the standard wants it."""
    scu = CommitmentScu(port=port or free_port(), ae_title=ae_title)

    def on_report(event: evt.Event) -> tuple[int, Dataset | None]:
        scu.take(event)
        return (answer() if answer else 0x0000), None

    ae = AE(ae_title=ae_title)
    ae.require_called_aet = requires_own_name
    if grants_role:
        ae.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
    else:
        ae.add_supported_context(StorageCommitmentPushModel)
    server = ae.start_server(("127.0.0.1", scu.port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, on_report)])
    try:
        yield scu
    finally:
        assert server is not None
        server.shutdown()


def _pair(item: Dataset) -> tuple[str, str]:
    return str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID)
