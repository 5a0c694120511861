"""What a peer may cost us on an association that we opened: pynetdicom advertises a limit of PDUs and keeps to none.

The one module that reaches into pynetdicom 3.0 beyond its documentation. It relies on: `AE._create_socket` making the
socket of an association; `DULServiceProvider._read_pdu_data` asking its `recv` for a PDU's header and then for the
whole body, after a look at its `ready`, and an `OSError` there closing the association; `DIMSEServiceProvider.message`
holding the message under reception, with its `encoded_command_set` and its `data_set`, and `msg_queue` those that wait.
The attacks in tests/intake/test_ask_hostile.py fail when one of these moves.
"""

import io
import socket
import ssl
import time
from typing import Any, cast

from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RQ, DIMSEMessage
from pynetdicom.transport import AddressInformation, AssociationSocket

from ichd.domain.errors import Permanent
from ichd.domain.reason import Reason

#: What we advertise, for the bodies of P-DATA-TF (PS3.8 D.1).
MAX_PDU = 131072
#: Of any PDU: some peers exceed what was advertised, and an A-ASSOCIATE-AC is bound by nothing else.
_LONGEST_PDU = 1 << 20
#: Of a message that is no image: a command set, or an identifier.
_LONGEST_MESSAGE = 1 << 20
#: Messages that wait for us to look at them; until then nothing more is read.
_MOST_WAITING = 4


class BoundedAE(AE):
    """Its associations take messages of bounded length, each PDU within a bounded time."""

    def __init__(self, ae_title: str, *, max_image_bytes: int, timeout_s: float) -> None:
        super().__init__(ae_title=ae_title)
        self._max_image_bytes = max_image_bytes
        self._timeout_s = timeout_s

    def _create_socket(
        self, assoc: Association, address: AddressInformation, tls_args: tuple[ssl.SSLContext, str] | None
    ) -> AssociationSocket:
        transport = BoundedSocket(assoc, address, max_image_bytes=self._max_image_bytes, timeout_s=self._timeout_s)
        transport.tls_args = tls_args
        return transport


class BoundedSocket(AssociationSocket):
    """Reads PDUs, never longer ones than allowed and never for longer than allowed."""

    def __init__(
        self, association: Association, address: AddressInformation, *, max_image_bytes: int, timeout_s: float
    ) -> None:
        super().__init__(association, address=address)
        self._max_image_bytes = max_image_bytes
        self._timeout_s = timeout_s
        #: Why the connection was closed, where that was ours to do.
        self.trouble: Permanent | None = None

    @property
    def ready(self) -> bool:
        """Whether to read on: a peer that sends faster than we look at its messages waits."""
        return self.assoc.dimse.msg_queue.qsize() < _MOST_WAITING and super().ready

    def recv(self, nr_bytes: int) -> bytearray:
        """Exactly so many bytes, or fewer where the peer closed the connection.

        Raises:
            ConnectionError: the PDU, or the message that it goes on with, is longer than any may be.
            TimeoutError: the PDU did not arrive in time.
        """
        if nr_bytes > _LONGEST_PDU:
            raise self._cut_off("PDU", nr_bytes)
        message = self.assoc.dimse.message
        if message is not None:
            self._bound(message)
        connection = cast(socket.socket, self.socket)
        deadline = time.monotonic() + self._timeout_s
        buffer = bytearray(nr_bytes)
        view = memoryview(buffer)
        filled = 0
        while filled < nr_bytes:
            received = connection.recv_into(view[filled:])
            if received == 0:
                break
            filled += received
            # The socket's own timeout ends silence; this ends a byte now and then.
            if filled < nr_bytes and time.monotonic() > deadline:
                raise TimeoutError("PDU not complete in time")
        view.release()
        del buffer[filled:]
        return buffer

    def _bound(self, message: DIMSEMessage) -> None:
        command = message.encoded_command_set.tell()
        dataset = message.data_set
        held = 0 if dataset is None else dataset.tell()
        is_image = isinstance(message, C_STORE_RQ) and self._max_image_bytes > 0
        if command > _LONGEST_MESSAGE or (not is_image and held > _LONGEST_MESSAGE):
            raise self._cut_off("message", max(command, held))
        if is_image and held > self._max_image_bytes and not isinstance(dataset, _Full):
            # Its sender gets an answer at the end, as PS3.7 has it; cut off, it would only try again.
            message.data_set = _Full(cast(io.BytesIO, dataset))

    def _cut_off(self, what: str, size: int) -> ConnectionError:
        self.trouble = Permanent(Reason.SOURCE_CONFUSED, f"a {what} of {size} bytes")
        return ConnectionError("longer than allowed")


class _Full(io.BytesIO):
    """A data set that grew too large: it keeps what it has, by which it is seen to be too large, and takes no more."""

    def __init__(self, content: io.BytesIO) -> None:
        super().__init__(content.getvalue())

    def write(self, fragment: Any, /) -> int:
        """Drop a fragment."""
        return len(fragment)

    def tell(self) -> int:
        """As far as it is filled, as of one that was written."""
        return len(self.getbuffer())
