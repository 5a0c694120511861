"""How a refusal is said in DIMSE: the statuses of the Storage Service (PS3.4 table B.2-1)."""

from collections.abc import Mapping

from ichd.domain.errors import Refused, Transient
from ichd.domain.reason import Reason

SUCCESS = 0x0000

#: 0xA7xx: out of resources. 0xA9xx: data set does not match SOP class. 0xCxxx: cannot understand.
STATUS: Mapping[Reason, int] = {
    Reason.DISK_LOW: 0xA700,
    Reason.STORE_UNAVAILABLE: 0xA700,
    Reason.ASSOCIATION_TOO_LARGE: 0xA700,
    Reason.UID_MISMATCH: 0xA900,
    Reason.WRONG_MODALITY: 0xA900,
    Reason.NO_REVIEW: 0xA900,
    Reason.REVIEW_UNKNOWN: 0xA900,
    Reason.NOT_DICOM: 0xC000,
    Reason.TRUNCATED: 0xC001,
    Reason.BAD_UID: 0xC002,
    Reason.UNSUPPORTED_TRANSFER_SYNTAX: 0xC003,
    Reason.TOO_LARGE: 0xC004,
}


def failure(error: Refused | Transient) -> tuple[int, str]:
    """Status and Error Comment of a C-STORE-RSP; the comment holds numbers, and never a value of the image.

    The detail of our own trouble stays in the log: it speaks of disks and servers.
    """
    words = f"{error.reason}: {error.detail}" if isinstance(error, Refused) and error.detail else str(error.reason)
    return STATUS[error.reason], words
