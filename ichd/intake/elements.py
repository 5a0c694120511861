"""The data elements of an encoded data set (PS3.5 chapter 7), walked without decoding them.

A DICOM reader is built to understand; a door has to survive. So this walk only follows lengths: it recurses into
nothing, copies only the few short values that were asked for, counts its steps, and checks every length against the
bytes that are really there. Whatever it does not understand ends in `Refused`. A full reader (pydicom) parses nested
sequences recursively and takes ten times as long, on bytes that nobody has vouched for yet.
"""

import mmap
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from queue import SimpleQueue

from ichd.domain.errors import Refused
from ichd.domain.reason import Reason
from ichd.intake.syntax import TransferSyntax

PIXEL_DATA = 0x7FE00010

ITEM = 0xFFFEE000
ITEM_END = 0xFFFEE00D
SEQUENCE_END = 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF

#: VRs with two reserved bytes and a length of four bytes (PS3.5 7.1.2); all others have a length of two.
LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())

#: An Enhanced CT of 2,000 frames with undefined lengths throughout takes about 200,000 steps; half a second here.
MAX_STEPS = 500_000
#: Open sequences and items; real data sets nest five sequences deep.
MAX_OPEN = 64
#: A longer value is taken as absent: no attribute of interest may be longer by its VR.
MAX_VALUE_BYTES = 1024
#: Of a deflated data set this much is inflated to look for the header ...
MAX_DEFLATED_HEADER_BYTES = 8 << 20
#: ... and the rest is only counted, up to here: a deflate stream expands a thousandfold.
MAX_INFLATED_BYTES = 1 << 30
_DEFLATED_STEP = 1 << 16
_INFLATED_STEP = 1 << 18
#: Where headers are inflated to, of two data sets at a time: what each thread frees, its allocator would keep.
_BENCHES: SimpleQueue[mmap.mmap] = SimpleQueue()
for _ in range(2):
    # Mapped, not filled: where nobody deflates, it costs no memory.
    _BENCHES.put(mmap.mmap(-1, MAX_DEFLATED_HEADER_BYTES))


@dataclass(frozen=True, kw_only=True)
class Elements:
    """What the walk brings home."""

    #: Encoded values by tag, (group << 16) + element; of a repeated tag the last, as pydicom has it.
    values: Mapping[int, bytes]
    #: Length of the native Pixel Data in bytes; None where there is none or it is encapsulated.
    pixel_bytes: int | None
    has_pixels: bool


def walk(
    dataset: memoryview,
    syntax: TransferSyntax,
    wanted: frozenset[int],
    *,
    last: int = 0xFFFFFFFF,
    max_inflated_bytes: int = MAX_INFLATED_BYTES,
) -> Elements:
    """Follow the top level of a data set from its first byte to its last, or up to the tag `last`.

    A deflated one waits for its turn: two are inflated at a time.

    Raises:
        Refused: TRUNCATED where the bytes end inside an element, NOT_DICOM where they make no sense, TOO_LARGE for
            a deflated data set that expands to more than `max_inflated_bytes`.
    """
    if not syntax.deflated:
        return _walk(dataset, len(dataset), syntax, wanted, last)
    bench = _BENCHES.get()
    try:
        size = _inflate(dataset, bench, min(max_inflated_bytes, MAX_INFLATED_BYTES))
        return _walk(memoryview(bench)[:size], size, syntax, wanted, last)
    finally:
        _BENCHES.put(bench)


def _walk(head: memoryview, size: int, syntax: TransferSyntax, wanted: frozenset[int], last: int) -> Elements:
    if size == 0:
        raise Refused(Reason.NOT_DICOM, "no bytes")
    return Walk(head, size, syntax).top_level(wanted, last)


def _inflate(dataset: memoryview, head: mmap.mmap, most: int) -> int:
    """The size of a deflated data set; as much of it as has room is in `head`."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    size = 0
    try:
        for begin in range(0, len(dataset), _DEFLATED_STEP):
            waiting: bytes | memoryview = dataset[begin : begin + _DEFLATED_STEP]
            while waiting and not stream.eof:
                inflated = stream.decompress(waiting, _INFLATED_STEP)
                waiting = stream.unconsumed_tail
                room = max(len(head) - size, 0)
                head[size : size + len(inflated[:room])] = inflated[:room]
                size += len(inflated)
                if size > most:
                    raise Refused(Reason.TOO_LARGE, f"inflates to more than {most} bytes")
            if stream.eof:
                return size
    except zlib.error:
        raise Refused(Reason.NOT_DICOM, "the deflated stream is damaged") from None
    raise Refused(Reason.TRUNCATED, f"the deflated stream breaks off after {size} bytes")


class Walk:
    """One pass over the bytes; `head` may be the beginning only of the `size` bytes that exist."""

    def __init__(self, head: memoryview, size: int, syntax: TransferSyntax, *, most_steps: int = MAX_STEPS) -> None:
        order = "<" if syntax.little_endian else ">"
        self._head = head
        self._size = size
        self._explicit_vr = syntax.explicit_vr
        self._implicit_header = struct.Struct(order + "HHL")
        self._explicit_header = struct.Struct(order + "HH2sH")
        self._long_length = struct.Struct(order + "L")
        self._readable = min(size, len(head))
        self._most_steps = most_steps
        self._steps = 0

    def top_level(self, wanted: frozenset[int], last: int) -> Elements:
        """A hundred elements an image: what is done for each of them is written out, not called."""
        values: dict[int, bytes] = {}
        pixel_bytes: int | None = None
        has_pixels = False
        offset = 0
        while offset < len(self._head):
            if has_pixels and self._is_padding(offset):
                break
            tag, vr, length, start = self.element(offset, self._explicit_vr)
            if tag > last:
                break
            end = start + length
            if length == UNDEFINED:
                end = self.skip_sequence(start, self._explicit_vr and vr != b"UN")
            elif end > self._size:
                raise self._truncated(start, length)
            if tag == PIXEL_DATA:
                has_pixels = True
                pixel_bytes = None if length == UNDEFINED else length
            elif tag in wanted and length <= MAX_VALUE_BYTES:
                values[tag] = bytes(self._head[start:end])
            offset = end
        return Elements(values=values, pixel_bytes=pixel_bytes, has_pixels=has_pixels)

    def element(self, offset: int, explicit_vr: bool) -> tuple[int, bytes, int, int]:
        """Tag, VR, length and place of the value of the element at `offset`."""
        self._step(offset + 8)
        start = offset + 8
        if not explicit_vr:
            group, element, length = self._implicit_header.unpack_from(self._head, offset)
            vr = b""
        else:
            group, element, vr, length = self._explicit_header.unpack_from(self._head, offset)
            if vr in LONG_VRS:
                self._step(start + 4)
                (length,) = self._long_length.unpack_from(self._head, start)
                start += 4
            elif vr not in _SHORT_VRS and group != 0xFFFE:
                raise Refused(Reason.NOT_DICOM, f"unknown value representation at byte {offset}")
        if group == 0xFFFE:
            raise Refused(Reason.NOT_DICOM, f"item or delimiter out of place at byte {offset}")
        return (group << 16) + element, vr, length, start

    def skip_sequence(self, offset: int, explicit_vr: bool) -> int:
        """Where a sequence of undefined length ends, fragments of pixel data included.

        Iterative, with its own stack: what is open, and whether VRs are explicit in it, because inside an UN of
        undefined length they never are (PS3.5 6.2.2).
        """
        stack: list[tuple[bool, bool]] = [(False, explicit_vr)]
        while stack:
            inside_item, explicit_vr = stack[-1]
            tag, length = self.marker(offset)
            if tag == (ITEM_END if inside_item else SEQUENCE_END):
                stack.pop()
                offset += 8
            elif inside_item:
                _, vr, length, start = self.element(offset, explicit_vr)
                if length == UNDEFINED:
                    stack.append((False, explicit_vr and vr != b"UN"))
                    offset = start
                else:
                    offset = self.past(start, length)
            elif tag != ITEM:
                raise Refused(Reason.NOT_DICOM, f"no item where a sequence needs one, at byte {offset}")
            elif length == UNDEFINED:
                stack.append((True, explicit_vr))
                offset += 8
            else:
                offset = self.past(offset + 8, length)
            if len(stack) > MAX_OPEN:
                raise Refused(Reason.NOT_DICOM, f"sequences nest deeper than {MAX_OPEN // 2}")
        return offset

    def marker(self, offset: int) -> tuple[int, int]:
        """Tag and length at `offset` of an item or delimiter: they have no VR in any syntax (PS3.5 7.5)."""
        self._step(offset + 8)
        group, element, length = self._implicit_header.unpack_from(self._head, offset)
        return (group << 16) + element, length

    def past(self, start: int, length: int) -> int:
        """Where a value of defined length ends."""
        if start + length > self._size:
            raise self._truncated(start, length)
        return start + length

    def _truncated(self, start: int, length: int) -> Refused:
        return Refused(Reason.TRUNCATED, f"{length} bytes announced, {self._size - start} there")

    def _step(self, end: int) -> None:
        """One more header, or the rest of one, which ends at `end`."""
        self._steps += 1
        if end > self._readable or self._steps > self._most_steps:
            raise self._lost(end)

    def _lost(self, end: int) -> Refused:
        if self._steps > self._most_steps:
            return Refused(Reason.NOT_DICOM, f"more than {self._most_steps} elements")
        if end > self._size:
            return Refused(Reason.TRUNCATED, f"the bytes end inside an element header before byte {end}")
        return Refused(Reason.TOO_LARGE, f"the header is longer than {len(self._head)} bytes")

    def _is_padding(self, offset: int) -> bool:
        """Fewer bytes than an element header has, all zero: some writers round a file up."""
        return self._size - offset < 8 and not any(self._head[offset:])
