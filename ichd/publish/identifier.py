"""Data sets of services, encoded and decoded; of a peer's, nothing is taken for granted."""

import struct
from io import BytesIO

from pydicom import Dataset
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom.dsutils import decode, encode

from ichd.domain.errors import Permanent
from ichd.domain.reason import Reason
from ichd.publish.messages import Message
from ichd.publish.pdu import Context

#: What pydicom raises on bytes that are none of a data set, and on values that are none of their VR.
UNREADABLE = (
    ValueError,
    TypeError,
    ArithmeticError,
    NotImplementedError,
    LookupError,
    EOFError,
    AttributeError,
    OSError,
    RecursionError,
    struct.error,
)


def encoded(dataset: Dataset, context: Context) -> bytes:
    """A data set as the context has it.

    Raises:
        Permanent: REPORT_INVALID, it can't be encoded.
    """
    content = encode(dataset, context.transfer_syntax == ImplicitVRLittleEndian, is_little_endian=True)
    if content is None:
        raise Permanent(Reason.REPORT_INVALID, f"not to be encoded in {context.transfer_syntax}")
    return content


def decoded(message: Message) -> Dataset:
    """The data set of a message; any look at it may raise one of `UNREADABLE`."""
    is_implicit = message.context.transfer_syntax == ImplicitVRLittleEndian
    return decode(BytesIO(message.data_set), is_implicit, is_little_endian=True)
