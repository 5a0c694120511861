"""An independent AE that writes to a folder what it receives, and one that answers as it is told."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import AllTransferSyntaxes
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode_file_meta

from tests.peers.ports import free_port

AE_TITLE = "RECEIVER"

Answer = int | Dataset


@dataclass(kw_only=True)
class Receiver:
    """A running receiver, and what it has so far."""

    port: int
    folder: Path
    ae_title: str = AE_TITLE
    host: str = "127.0.0.1"
    #: SOP Instance UIDs in the order of arrival, repeats included.
    received: list[str] = field(default_factory=list)
    associations: int = 0
    _arrived: threading.Condition = field(default_factory=threading.Condition)

    def files(self) -> list[Path]:
        """One file an instance, named by its SOP Instance UID."""
        return sorted(self.folder.glob("*.dcm"))

    def wait_for(self, count: int, *, timeout_s: float = 30.0) -> list[Path]:
        """The files, as soon as `count` instances have arrived.

        Raises:
            TimeoutError: they have not.
        """
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(set(self.received)) >= count, timeout=timeout_s):
                raise TimeoutError(f"{len(set(self.received))} of {count} instances arrived within {timeout_s:g} s")
        return self.files()

    def store(self, event: evt.Event) -> int:
        """Write the data set as its bytes came."""
        request = event.request
        if not isinstance(request, C_STORE) or request.DataSet is None:
            return 0xC000
        uid = str(request.AffectedSOPInstanceUID)
        part10 = b"\0" * 128 + b"DICM" + encode_file_meta(event.file_meta) + request.DataSet.getvalue()
        (self.folder / f"{uid}.dcm").write_bytes(part10)
        with self._arrived:
            self.received.append(uid)
            self._arrived.notify_all()
        return 0x0000


@contextmanager
def running_receiver(
    folder: Path,
    *,
    port: int | None = None,
    sop_classes: Sequence[str] | None = None,
    answer: Callable[[evt.Event], Answer] | None = None,
    require_called_ae_title: bool = False,
    require_calling_ae_titles: Sequence[str] = (),
) -> Iterator[Receiver]:
    """Listen on loopback; with `answer`, store nothing and answer each C-STORE with what it returns."""
    folder.mkdir(parents=True, exist_ok=True)
    receiver = Receiver(port=port or free_port(), folder=folder)

    def count(event: evt.Event) -> None:
        receiver.associations += 1

    ae = AE(ae_title=receiver.ae_title)
    ae.require_called_aet = require_called_ae_title
    ae.require_calling_aet = list(require_calling_ae_titles)
    ae.maximum_pdu_size = 131072
    for uid in sop_classes if sop_classes is not None else _all_storage_classes():
        ae.add_supported_context(uid, AllTransferSyntaxes)
    ae.add_supported_context("1.2.840.10008.1.1")  # Verification
    ae.start_server(
        ("127.0.0.1", receiver.port),
        block=False,
        evt_handlers=[(evt.EVT_C_STORE, answer or receiver.store), (evt.EVT_ESTABLISHED, count)],
    )
    try:
        yield receiver
    finally:
        ae.shutdown()


def _all_storage_classes() -> list[str]:
    return [str(context.abstract_syntax) for context in AllStoragePresentationContexts]


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """A receiver that takes everything."""
    with running_receiver(tmp_path / "received") as running:
        yield running
