"""A DICOM node that takes our objects, and what its statuses mean.

What the network does is sorted into the error tree, because only the queue decides on a retry:

    no address, no connection, no answer         Transient  PEER_UNREACHABLE
    certificates that are not taken              Transient  PEER_DENIED            a file gets replaced
    association rejected, for good or for now    Transient  ASSOCIATION_REJECTED   a typo in an AE title gets mended
    aborted, or the connection lost              Transient  ASSOCIATION_LOST
    bytes against the rules                      Transient  PEER_CONFUSED          something else may listen there
    no presentation context accepted             Permanent  NO_ACCEPTED_CONTEXT
    status: out of resources                     Transient  PEER_BUSY
    status: any other failure                    Permanent  PEER_REFUSED
    status: success or warning                   a Receipt
"""

from dataclasses import dataclass
from enum import Enum

from ichd.domain.errors import Permanent, Transient
from ichd.domain.reason import Reason
from ichd.publish.connection import stays_here
from ichd.tls import ClientTls

#: Refused: SOP Class not supported (PS3.7 C.4.2.1.2): it takes another rung of the ladder, perhaps.
CLASS_NOT_SUPPORTED = 0x0122


@dataclass(frozen=True, kw_only=True)
class DimsePeer:
    """A DICOM node that takes our objects."""

    #: How receipts and messages call it.
    name: str
    host: str
    port: int
    ae_title: str
    calling_ae_title: str = "ICHD"
    #: For the TCP connection.
    connect_timeout_s: float = 5.0
    #: For every answer: association, C-STORE, C-ECHO, release; and for a write that the peer does not read.
    timeout_s: float = 30.0
    tls: ClientTls | None = None

    def __str__(self) -> str:
        return f"{self.name} ({self.ae_title}@{self.host}:{self.port})"

    @property
    def is_loopback(self) -> bool:
        """Whether objects sent there stay on this machine: every address of the host is a loopback one."""
        return stays_here(self.host, self.port)


class Verdict(Enum):
    """What a status means to the queue."""

    STORED = "stored"
    BUSY = "busy"
    REFUSED = "refused"


def judge_status(status: int) -> Verdict:
    """The verdict on a status (PS3.4 B.2.3, PS3.7 Annex C).

    The Failure Reasons of STOW-RS are of the same numbers (PS3.18 I.2.2).
    """
    if status == 0x0000 or status in _WARNINGS or 0xB000 <= status <= 0xBFFF:
        return Verdict.STORED
    if status == 0x0213 or 0xA700 <= status <= 0xA7FF:
        return Verdict.BUSY
    return Verdict.REFUSED


#: The general warnings: stored, with attributes coerced or left out.
_WARNINGS = frozenset({0x0001, 0x0107, 0x0116})


def failure(who: object, status: int) -> Transient | Permanent:
    """The error for a status that is no success; without the peer's comment, which may name the patient."""
    said = f"{who} answered 0x{status:04X}"
    if judge_status(status) is Verdict.BUSY:
        return Transient(Reason.PEER_BUSY, said)
    return Permanent(Reason.PEER_REFUSED, said)
