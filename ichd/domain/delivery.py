"""What came of sending a report to a destination."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """Proof that one destination took the objects of one report."""

    destination: str
    sent_at: datetime
    #: SOP Instance UIDs that the destination acknowledged.
    sop_instance_uids: tuple[str, ...]
    #: SOP Class UID of the report as sent: which rung of the capability ladder the peer took.
    sop_class_uid: str
    #: DIMSE status, e.g. "0x0000".
    status: str
    #: Who the destination was then, for the audit trail; kept nowhere else.
    ae_title: str = ""
    address: str = ""
