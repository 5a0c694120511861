"""The DICOM file around a data set (PS3.10 chapter 7): preamble and file meta information, written and split."""

import struct

from ichd.domain.errors import Refused
from ichd.domain.reason import Reason
from ichd.intake.values import is_uid

#: Names this implementation in files and associations (PS3.7 D.3.3.2); the UUID was drawn once, for this purpose.
IMPLEMENTATION_CLASS_UID = "2.25.85222476386257362570743422347361750621"
#: Without a version: the same image must be the same file before and after an upgrade, or a resend is a conflict.
IMPLEMENTATION_VERSION_NAME = "ICHD"

_PREAMBLE = bytes(128) + b"DICM"
_TRANSFER_SYNTAX_UID = 0x0010
_LONG_VRS = frozenset((b"OB", b"UN"))


def file_meta(*, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Preamble and file meta information; the encoded data set follows as it is.

    Who sent the image is left out on purpose (it stands in the database): the same image from two nodes is the
    same file.
    """
    elements = b"".join(
        (
            struct.pack("<HH2sHLH", 0x0002, 0x0001, b"OB", 0, 2, 0x0100),
            _short_element(0x0002, b"UI", sop_class_uid),
            _short_element(0x0003, b"UI", sop_instance_uid),
            _short_element(0x0010, b"UI", transfer_syntax_uid),
            _short_element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
            _short_element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
        )
    )
    return _PREAMBLE + struct.pack("<HH2sHL", 0x0002, 0x0000, b"UL", 4, len(elements)) + elements


def split_file(content: bytes) -> tuple[str, memoryview]:
    """Transfer Syntax UID and encoded data set of a DICOM file.

    The group length (0002,0000) is not believed; the meta information ends where another group begins.

    Raises:
        Refused: NOT_DICOM, or TRUNCATED inside the meta information.
    """
    if content[128:132] != b"DICM":
        raise Refused(Reason.NOT_DICOM, "no DICM prefix")
    offset = len(_PREAMBLE)
    transfer_syntax_uid = ""
    while content[offset : offset + 2] == b"\x02\x00":
        element, value, offset = _meta_element(content, offset)
        if element == _TRANSFER_SYNTAX_UID:
            transfer_syntax_uid = value.decode("ascii", errors="replace").rstrip("\0 ")
    if not is_uid(transfer_syntax_uid):
        raise Refused(Reason.NOT_DICOM, "no Transfer Syntax UID in the file meta information")
    return transfer_syntax_uid, memoryview(content)[offset:]


def _meta_element(content: bytes, offset: int) -> tuple[int, bytes, int]:
    try:
        _, element, vr, length = struct.unpack_from("<HH2sH", content, offset)
        start = offset + 8
        if vr in _LONG_VRS:
            (length,) = struct.unpack_from("<L", content, start)
            start += 4
    except struct.error:
        raise Refused(Reason.TRUNCATED, "the bytes end inside the file meta information") from None
    if start + length > len(content):
        raise Refused(Reason.TRUNCATED, f"{length} bytes announced, {len(content) - start} there")
    return element, content[start : start + length], start + length


def _short_element(element: int, vr: bytes, value: str) -> bytes:
    encoded = value.encode("ascii")
    if len(encoded) % 2:
        encoded += b"\0" if vr == b"UI" else b" "
    return struct.pack("<HH2sH", 0x0002, element, vr, len(encoded)) + encoded
