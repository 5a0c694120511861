"""One DICOM file, parsed once: what its header says, and where in the file its pixels lie."""

import hashlib
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset, dcmread
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from ichd.domain.errors import NotAnalysable, Transient
from ichd.domain.image_file import AnyImage, path_of, sha256_of
from ichd.domain.reason import Reason

#: What pydicom and its decoders raise on a damaged file; each was seen in tests/vision or in pydicom's source.
PARSE_ERRORS = (
    InvalidDicomError,
    BytesLengthException,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    NotImplementedError,
    OverflowError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
_PIXEL_DATA = (0x7FE0, 0x0010)
_UNDEFINED_LENGTH = 0xFFFFFFFF


class Attributes:
    """Values of a header by keyword; what is absent or can't be parsed is None, or its default.

    Of several data sets the first that has an attribute counts: those of a frame stand before those of its image.
    """

    def __init__(self, *datasets: Dataset) -> None:
        self.datasets = datasets

    def value(self, keyword: str) -> object:
        """The value as pydicom gives it; it parses values only when asked."""
        for dataset in self.datasets:
            try:
                value = dataset.get(keyword)
            except PARSE_ERRORS:
                continue
            if value is not None:
                return value
        return None

    def numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """`count` finite numbers."""
        value = self.value(keyword)
        if value is None:
            return None
        try:
            numbers = tuple(float(v) for v in (value if count > 1 else (value,)))  # type: ignore[attr-defined]
        except (TypeError, ValueError):
            return None
        return numbers if len(numbers) == count and all(math.isfinite(n) for n in numbers) else None

    def integer(self, keyword: str, *, default: int = 0) -> int:
        """One number, cut to an integer."""
        numbers = self.numbers(keyword, 1)
        return default if numbers is None else int(numbers[0])

    def text(self, keyword: str) -> str:
        """The value as text without its padding."""
        value = self.value(keyword)
        return "" if value is None else str(value).strip()

    def texts(self, keyword: str) -> tuple[str, ...]:
        """The values of an attribute that may have several."""
        value = self.value(keyword)
        if value is None or isinstance(value, str):
            return (value.strip(),) if value else ()
        try:
            return tuple(str(v).strip() for v in value)  # type: ignore[attr-defined]
        except TypeError:
            return ()

    def items(self, keyword: str) -> tuple[Dataset, ...]:
        """The items of a sequence."""
        value = self.value(keyword)
        try:
            return tuple(item for item in value or () if isinstance(item, Dataset))  # type: ignore[attr-defined]
        except PARSE_ERRORS:
            return ()


@dataclass(frozen=True, kw_only=True)
class PixelElement:
    """Where Pixel Data lies, so that pixels are read without parsing the header again."""

    #: Of the value's first byte in the file; None where the data set is deflated, and the value has no place there.
    offset: int | None
    #: Bytes of the value that the file really holds; None where the length is undefined (fragments, PS3.5 A.4).
    length: int | None
    vr: str
    number_of_frames: int
    #: Extended Offset Table and its Lengths (PS3.3 C.7.6.3.1.8), encoded.
    extended_offsets: tuple[bytes, bytes] | None = None
    #: The value of a deflated image with several frames: to inflate the file for each of them would take minutes.
    inflated: bytes | None = None
    #: All of a file with several frames whose bytes were vouched for: to hash it for each of them would take minutes.
    content: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class ParsedFile:
    """A file's header."""

    path: Path
    #: What its bytes must be, and were when it was parsed; None where nobody vouched for them.
    sha256: str | None = None
    syntax: UID
    attributes: Attributes
    #: None where the file has no Pixel Data.
    pixels: PixelElement | None


def parse(image: AnyImage) -> ParsedFile:
    """The header of a file, pixels left where they are.

    Raises:
        NotAnalysable: FILE_DAMAGED, the file is gone, is no whole DICOM file, or differs from what is vouched for.
        Transient: STORE_UNAVAILABLE, the disk fails.
    """
    path, sha256 = path_of(image), sha256_of(image)
    with opened(path, sha256) as file:
        try:
            dataset = dcmread(file, stop_before_pixels=True)
            attributes, syntax = Attributes(dataset), syntax_of(dataset)
            # pydicom stops, and stands, before the first byte of the pixels' element.
            pixels = _pixel_element(file, dataset, attributes)
            if pixels is not None and pixels.number_of_frames > 1 and isinstance(file, BytesIO):
                pixels = replace(pixels, content=file.getvalue())
        except PARSE_ERRORS as error:
            raise _damaged(path, error) from error
    # By its UID: pydicom raises where one is asked about that it does not know.
    if syntax == DeflatedExplicitVRLittleEndian:
        frames = _frames(attributes)
        pixels = PixelElement(
            offset=None,
            length=None,
            vr="OW",
            number_of_frames=frames,
            inflated=inflated_pixels(path, sha256) if frames > 1 else None,
        )
    return ParsedFile(path=path, sha256=sha256, syntax=syntax, attributes=attributes, pixels=pixels)


def inflated_pixels(path: Path, sha256: str | None = None) -> bytes:
    """Pixel Data of a deflated file; empty where it has none.

    Raises:
        NotAnalysable, Transient: as `parse`.
    """
    with opened(path, sha256) as file:
        try:
            value = dcmread(file).get("PixelData")
        except PARSE_ERRORS as error:
            raise _damaged(path, error) from error
    return value if isinstance(value, bytes) else b""


@contextmanager
def opened(path: Path, sha256: str | None = None) -> Iterator[BinaryIO]:
    """The file, its faults as coded reasons, for as long as it is read.

    With a checksum it is read to the end at once and what is yielded are the bytes that were checked, from memory: a
    disk that reads a sector rightly the first time may read it wrongly the second.

    Raises:
        NotAnalysable: FILE_DAMAGED, the file is gone, or its bytes are not those of the checksum.
        Transient: STORE_UNAVAILABLE, the disk fails.
    """
    try:
        with path.open("rb") as file:
            yield file if sha256 is None else _checked(path, file.read(), sha256)
    except FileNotFoundError as error:
        raise NotAnalysable(Reason.FILE_DAMAGED, f"{path.name} is missing") from error
    except OSError as error:
        # A disk or a network share that fails now may answer later; the study must not end as damaged for it.
        raise Transient(Reason.STORE_UNAVAILABLE, f"{path.name} can't be read: {error.strerror}") from error


def syntax_of(dataset: Dataset) -> UID:
    """Transfer Syntax UID of the file meta information; empty where it has none."""
    return UID(Attributes(dataset.file_meta).text("TransferSyntaxUID"))


def is_encapsulated(syntax: UID) -> bool:
    """Whether pixels lie in fragments (PS3.5 A.4); deflating is no such compression."""
    return bool(syntax.is_compressed and not syntax.is_deflated)


def _damaged(path: Path, error: BaseException) -> NotAnalysable:
    # The parser's own words may quote a value of the header, and headers name patients: say the kind only.
    return NotAnalysable(Reason.FILE_DAMAGED, f"{path.name} is no whole DICOM file: {type(error).__name__}")


def _checked(path: Path, content: bytes, sha256: str) -> BytesIO:
    if hashlib.sha256(content).hexdigest() != sha256:
        raise NotAnalysable(Reason.FILE_DAMAGED, f"{path.name} differs from the bytes that were received")
    return BytesIO(content)


def _frames(attributes: Attributes) -> int:
    return max(1, attributes.integer("NumberOfFrames", default=1))


def _pixel_element(file: BinaryIO, dataset: Dataset, attributes: Attributes) -> PixelElement | None:
    """The element at which the file stands; None where it is another one, or the file has ended."""
    implicit, little = dataset.original_encoding
    order = "<" if little else ">"
    head = file.read(8)
    if len(head) < 8 or struct.unpack(order + "HH", head[:4]) != _PIXEL_DATA:
        return None
    if implicit:
        vr, length = "OW", struct.unpack(order + "L", head[4:])[0]
    else:
        vr = head[4:6].decode("latin-1")
        # Pixel Data is OB or OW with a long length; a writer that thinks otherwise is read as it wrote.
        if vr in EXPLICIT_VR_LENGTH_32:
            length = struct.unpack(order + "L", file.read(4))[0]
        else:
            length = struct.unpack(order + "H", head[6:])[0]
    offset = file.tell()
    tables = tuple(attributes.value(k) for k in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"))
    return PixelElement(
        offset=offset,
        length=None if length == _UNDEFINED_LENGTH else min(length, file.seek(0, 2) - offset),
        vr=vr,
        number_of_frames=_frames(attributes),
        extended_offsets=tables if all(isinstance(t, bytes) and t for t in tables) else None,  # type: ignore[arg-type]
    )
