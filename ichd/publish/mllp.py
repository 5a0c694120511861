"""HL7 v2 messages over MLLP (Minimal Lower Layer Protocol), each until it is acknowledged."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import hl7

from ichd.domain.delivery import Outgoing, Parcel, Receipt
from ichd.domain.errors import Permanent, Transient
from ichd.domain.reason import Reason
from ichd.publish.connection import Connection, connect, stays_here
from ichd.tls import ClientTls

START = b"\x0b"
END = b"\x1c\r"
#: An acknowledgment has three or four short segments.
_LONGEST = 64 << 10
_ACCEPTED = frozenset({"AA", "CA"})
_REFUSED = frozenset({"AE", "AR", "CE", "CR"})


class NoAcknowledgment(ValueError):
    """Bytes that are no acknowledgment; the words name what is missing, and never bytes of the peer."""


@dataclass(frozen=True, kw_only=True)
class Acknowledgment:
    """What an ACK says (HL7 v2.5.1 2.14.8), without its free text, which may name the patient."""

    #: MSA-1, one of AA, AE, AR, CA, CE, CR.
    code: str
    #: MSA-2: the message that it is about.
    control_id: str


@dataclass(frozen=True, kw_only=True)
class MllpPeer:
    """Who takes HL7 messages."""

    #: How receipts and messages call it.
    name: str
    host: str
    port: int
    tls: ClientTls | None = None
    connect_timeout_s: float = 5.0
    #: For each acknowledgment, from its message to its last byte; and for a write that the peer does not read.
    timeout_s: float = 30.0

    def __str__(self) -> str:
        return f"{self.name} ({self.host}:{self.port})"


@dataclass(frozen=True, kw_only=True)
class Mllp:
    """The way to one HL7 receiver."""

    peer: MllpPeer

    @property
    def name(self) -> str:
        """How receipts and messages call it."""
        return self.peer.name

    @property
    def is_loopback(self) -> bool:
        """Whether what is sent there stays on this machine."""
        return stays_here(self.peer.host, self.peer.port)

    def deliver(self, parcel: Parcel, *, now: datetime) -> Receipt:
        """Send the messages of a parcel over one connection, each once the one before is acknowledged.

        Raises:
            Transient: no connection, no acknowledgment in time, or something else in its place.
            Permanent: PEER_REFUSED, the receiver does not take a message.
        """
        messages = parcel.fetch(parcel.wanted)
        return Receipt(
            destination=self.name,
            sent_at=now,
            sop_instance_uids=tuple(each.sop_instance_uid for each in messages),
            sop_class_uid="",
            status=self._send(messages) if messages else "",
            address=self.peer.host,
        )

    def check(self) -> str:
        """Connect; to send something would be a delivery.

        Raises:
            Transient: nobody there, or no agreement on TLS.
        """
        self._connected().close()
        return "takes connections"

    def _send(self, messages: Sequence[Outgoing]) -> str:
        """The code of the last acknowledgment."""
        connection = self._connected()
        try:
            return [self._exchange(connection, each) for each in messages][-1]
        finally:
            connection.close()

    def _exchange(self, connection: Connection, each: Outgoing) -> str:
        connection.send([framed(each.path.read_bytes())])
        frame = connection.receive_until(END, at_most=_LONGEST, deadline=time.monotonic() + self.peer.timeout_s)
        try:
            answer = read_acknowledgment(unframed(frame))
        except NoAcknowledgment as error:
            raise Transient(Reason.PEER_CONFUSED, f"{self.peer} answered with {error}") from error
        if answer.control_id != each.sop_instance_uid:
            # Sent again, ours has the same control ID: who had it already knows it.
            raise Transient(Reason.PEER_CONFUSED, f"{self.peer} acknowledged another message than {each.kind}")
        if answer.code in _REFUSED:
            raise Permanent(Reason.PEER_REFUSED, f"{self.peer} answered {each.kind} with {answer.code}")
        return answer.code

    def _connected(self) -> Connection:
        peer = self.peer
        return connect(
            str(peer), peer.host, peer.port, tls=peer.tls, connect_s=peer.connect_timeout_s, timeout_s=peer.timeout_s
        )


def framed(message: bytes) -> bytes:
    """A message between the signs of where it starts and ends.

    Raises:
        Permanent: REPORT_INVALID, it holds one of them.
    """
    if START in message or END[:1] in message:
        raise Permanent(Reason.REPORT_INVALID, "an HL7 message with a control character of MLLP")
    return START + message + END


def unframed(frame: bytes) -> bytes:
    """The message in a frame that ends as it should; what stands before its start is noise, as of a keep-alive.

    Raises:
        NoAcknowledgment: it has no start.
    """
    _, start, message = frame.removesuffix(END).rpartition(START)
    if not start:
        raise NoAcknowledgment("bytes without the start of a frame")
    return message


def read_acknowledgment(message: bytes) -> Acknowledgment:
    """The acknowledgment in a message.

    Raises:
        NoAcknowledgment: there is none.
    """
    # Of Latin-1 every byte is a character; what is read of it is ASCII.
    text = message.decode("latin-1").replace("\r\n", "\r").replace("\n", "\r")
    try:
        segment = hl7.parse(text).segment("MSA")
        code, control_id = str(segment[1]).strip(), str(segment[2]).strip()
    except (hl7.HL7Exception, ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        # The last is what hl7 raises where a header names one separator twice.
        raise NoAcknowledgment("what is no acknowledgment") from error
    if code not in _ACCEPTED | _REFUSED:
        raise NoAcknowledgment("a code that HL7 does not know")
    return Acknowledgment(code=code, control_id=control_id)
