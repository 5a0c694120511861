"""The DICOM file around a data set (PS3.10 chapter 7): preamble and file meta information, written and split."""

import struct

from ichd.domain.errors import Refused
from ichd.domain.reason import Reason
from ichd.intake.elements import LONG_VRS
from ichd.intake.values import is_uid

#: Names this implementation in files and associations (PS3.7 D.3.3.2); the UUID was drawn once, for this purpose.
IMPLEMENTATION_CLASS_UID = "2.25.85222476386257362570743422347361750621"
#: Without a version: the same image must be the same file before and after an upgrade, or a resend is a conflict.
IMPLEMENTATION_VERSION_NAME = "ICHD"

_PREAMBLE = bytes(128) + b"DICM"
_SOP_CLASS_UID = 0x0002
_SOP_INSTANCE_UID = 0x0003
_TRANSFER_SYNTAX_UID = 0x0010
_UIDS = frozenset((_SOP_CLASS_UID, _SOP_INSTANCE_UID, _TRANSFER_SYNTAX_UID))
#: Private Information (0002,0102) may be long; no more is held of what nobody vouches for.
_MAX_META_BYTES = 1 << 16


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

    Raises:
        Refused: NOT_DICOM, or TRUNCATED inside the meta information.
    """
    head = FileHead()
    rest = head.feed(content)
    if rest is None:
        rest = head.finish()
    if not is_uid(head.transfer_syntax_uid):
        raise Refused(Reason.NOT_DICOM, "no Transfer Syntax UID in the file meta information")
    return head.transfer_syntax_uid, rest


class FileHead:
    """Preamble and file meta information of a DICOM file that comes in pieces.

    The group length (0002,0000) is not believed; the meta information ends where another group begins.
    """

    def __init__(self) -> None:
        self._held = bytearray()
        #: Where the element begins that is waited for.
        self._offset = len(_PREAMBLE)
        self._values: dict[int, str] = {}

    @property
    def transfer_syntax_uid(self) -> str:
        """(0002,0010), empty where it is missing; like the others it may be anything but a UID."""
        return self._values.get(_TRANSFER_SYNTAX_UID, "")

    @property
    def sop_class_uid(self) -> str:
        """(0002,0002), empty where it is missing."""
        return self._values.get(_SOP_CLASS_UID, "")

    @property
    def sop_instance_uid(self) -> str:
        """(0002,0003), empty where it is missing."""
        return self._values.get(_SOP_INSTANCE_UID, "")

    def feed(self, fragment: bytes | memoryview) -> memoryview | None:
        """Take the next piece; what of it is data set already, or None while the meta information goes on.

        An element is looked at again with each piece until it is whole, and then no more: pieces of one byte cost no
        more than their number.

        Raises:
            Refused: NOT_DICOM.
        """
        piece = memoryview(fragment)
        before = len(self._held)
        self._held += piece[:_MAX_META_BYTES]
        if len(self._held) < len(_PREAMBLE):
            return None
        if not self._held.startswith(b"DICM", 128):
            raise Refused(Reason.NOT_DICOM, "no DICM prefix")
        while (group := self._held[self._offset : self._offset + 2]) == b"\x02\x00" or len(group) < 2:
            end = self._element()
            if end is None:
                if len(self._held) >= _MAX_META_BYTES:
                    raise Refused(Reason.NOT_DICOM, f"more than {_MAX_META_BYTES} bytes of file meta information")
                return None
            self._offset = end
        # The group may have been split between two pieces: its first byte then lies in what is held.
        split = bytes(self._held[self._offset : before])
        return memoryview(split + bytes(piece)) if split else piece[self._offset - before :]

    def finish(self) -> memoryview:
        """What of a file that is over now is data set: nothing, or a single byte.

        Raises:
            Refused: NOT_DICOM, or TRUNCATED where the meta information breaks off.
        """
        if len(self._held) < len(_PREAMBLE):
            raise Refused(Reason.NOT_DICOM, "no DICM prefix")
        rest = bytes(self._held[self._offset :])
        if len(rest) > 1:
            raise Refused(Reason.TRUNCATED, "the bytes end inside the file meta information")
        return memoryview(rest)

    def _element(self) -> int | None:
        """Note the element at the offset; where it ends, None while it is not whole."""
        start = self._offset + 8
        if len(self._held) < start:
            return None
        _, element, vr, length = struct.unpack_from("<HH2sH", self._held, self._offset)
        if vr in LONG_VRS:
            if len(self._held) < start + 4:
                return None
            (length,) = struct.unpack_from("<L", self._held, start)
            start += 4
        if len(self._held) < start + length:
            return None
        if element in _UIDS:
            self._values[element] = self._held[start : start + length].decode("ascii", errors="replace").rstrip("\0 ")
        return int(start + length)


def _short_element(element: int, vr: bytes, value: str) -> bytes:
    encoded = value.encode("ascii")
    if len(encoded) % 2:
        encoded += b"\0" if vr == b"UI" else b" "
    return struct.pack("<HH2sH", 0x0002, element, vr, len(encoded)) + encoded
