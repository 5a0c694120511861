"""One DICOM file at a time: its header as a `SliceHeader`, its pixels in HU."""

import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import HTJ2K, JPEG2000, UID, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless

from ichd.domain.errors import NotAnalysable
from ichd.domain.geometry import Orientation, Vector, slice_normal
from ichd.domain.reason import Reason
from ichd.vision.window import LEAST_HU

_INT16_MAX = 32767
#: Syntaxes whose images may have lost something, said or not; with JPEG 2000 (91) and HTJ2K (203) most have.
_LOSSY_SYNTAXES = frozenset({JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000, HTJ2K})
_SMALLEST_IMAGE, _LARGEST_IMAGE = 16, 2048

#: What pydicom and its decoders raise on a damaged file; each was seen in tests/vision or in pydicom's source.
_PARSE_ERRORS = (
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


@dataclass(frozen=True, kw_only=True)
class SliceHeader:
    """Where one image lies, and how its stored values become HU."""

    path: Path
    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    study_instance_uid: str
    frame_of_reference_uid: str
    rows: int
    columns: int
    #: LPS, mm, centre of the first pixel.
    position: Vector
    orientation: Orientation
    #: mm between rows, mm between columns.
    pixel_spacing_mm: tuple[float, float]
    acquisition_number: int
    instance_number: int
    slope: float
    intercept: float
    bits_stored: int
    signed: bool
    #: Lowest and highest stored value that is padding, as the pixels hold it.
    padding: tuple[int, int] | None
    #: Display polarity only (PS3.3 C.7.6.3.1.2): rescaling gives HU all the same, so nothing is inverted.
    monochrome1: bool
    #: Compressed with loss now or ever before.
    lossy: bool

    @property
    def whole_hu(self) -> bool:
        """Whether every stored value becomes a whole number of HU."""
        return self.slope.is_integer() and self.intercept.is_integer()


def read_header(path: Path) -> SliceHeader:
    """Header of one image file; pixels are not read.

    Raises:
        NotAnalysable: FILE_DAMAGED, MISSING_GEOMETRY, MULTI_FRAME or PIXELS_UNREADABLE.
    """
    dataset = _read(path, stop_before_pixels=True)
    frames = _integer(dataset, "NumberOfFrames", default=1)
    if frames > 1:
        raise NotAnalysable(Reason.MULTI_FRAME, f"{path.name} has {frames} frames")
    bits_stored, signed = _pixel_format(dataset, path)
    slope, intercept = _rescale(dataset, path)
    position, orientation, spacing = _geometry(dataset, path)
    return SliceHeader(
        path=path,
        sop_instance_uid=_text(dataset, "SOPInstanceUID"),
        sop_class_uid=_text(dataset, "SOPClassUID"),
        series_instance_uid=_text(dataset, "SeriesInstanceUID"),
        study_instance_uid=_text(dataset, "StudyInstanceUID"),
        frame_of_reference_uid=_text(dataset, "FrameOfReferenceUID"),
        rows=_integer(dataset, "Rows"),
        columns=_integer(dataset, "Columns"),
        position=position,
        orientation=orientation,
        pixel_spacing_mm=spacing,
        acquisition_number=_integer(dataset, "AcquisitionNumber"),
        instance_number=_integer(dataset, "InstanceNumber"),
        slope=slope,
        intercept=intercept,
        bits_stored=bits_stored,
        signed=signed,
        padding=_padding(dataset, bits_stored, signed),
        monochrome1=_text(dataset, "PhotometricInterpretation") == "MONOCHROME1",
        lossy=_text(dataset, "LossyImageCompression") == "01" or _syntax(dataset) in _LOSSY_SYNTAXES,
    )


def read_hu(header: SliceHeader) -> NDArray[np.int16] | NDArray[np.float32]:
    """Pixels in HU [rows, columns], as stored (not turned): int16 where HU are whole numbers, else float32.

    Padding becomes air; below -1024 there is only air, so values are clamped there.

    Raises:
        NotAnalysable: UNSUPPORTED_TRANSFER_SYNTAX, FILE_DAMAGED (pixel data too short) or PIXELS_UNREADABLE.
    """
    stored = _decode(header)
    hu: NDArray[np.int32] | NDArray[np.float32]
    if header.whole_hu:
        # int32, because 16 bit unsigned times a slope leaves int16 before the clamp brings it back.
        hu = np.clip(stored * np.int32(header.slope) + np.int32(header.intercept), LEAST_HU, _INT16_MAX)
    else:
        hu = np.maximum(stored * np.float32(header.slope) + np.float32(header.intercept), np.float32(LEAST_HU))
    if header.padding is not None:
        lowest, highest = header.padding
        hu[(stored >= lowest) & (stored <= highest)] = LEAST_HU
    return hu.astype(np.int16) if header.whole_hu else hu.astype(np.float32)


def _decode(header: SliceHeader) -> NDArray[np.int32]:
    """Stored values, with the bits above BitsStored cut off: some scanners keep overlays or noise there."""
    dataset = _read(header.path, stop_before_pixels=False)
    syntax = _syntax(dataset)
    _require_decoder(syntax, header)
    _require_pixel_bytes(dataset, syntax, header)
    try:
        stored = pixel_array(dataset, raw=True)
    except _PARSE_ERRORS as error:
        raise NotAnalysable(Reason.PIXELS_UNREADABLE, f"{header.path.name}, {syntax.name}: {_first(error)}") from error
    if stored.shape != (header.rows, header.columns):
        raise NotAnalysable(Reason.PIXELS_UNREADABLE, f"{header.path.name} decodes to the shape {stored.shape}")
    unused = 32 - header.bits_stored
    wide = stored.astype(np.int32)
    if header.signed:
        return (wide << unused) >> unused
    return wide & np.int32((1 << header.bits_stored) - 1)


def _syntax(dataset: Dataset) -> UID:
    return UID(_text(dataset.file_meta, "TransferSyntaxUID"))


def _require_decoder(syntax: UID, header: SliceHeader) -> None:
    """Retired JPEG processes have no maintained decoder; 12-bit JPEG Extended has one only under the GPL."""
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available or (syntax == JPEGExtended12Bit and header.bits_stored > 8):
        raise NotAnalysable(
            Reason.UNSUPPORTED_TRANSFER_SYNTAX, f"{header.path.name}, {syntax.name or 'no transfer syntax'}"
        )


def _require_pixel_bytes(dataset: Dataset, syntax: UID, header: SliceHeader) -> None:
    """Uncompressed pixel data must be whole: a short slice would otherwise be half air."""
    element = dataset.get("PixelData")
    if not isinstance(element, bytes) or not element:
        raise NotAnalysable(Reason.FILE_DAMAGED, f"{header.path.name} has no Pixel Data")
    if syntax.is_compressed and not syntax.is_deflated:
        return
    expected = header.rows * header.columns * int(dataset.BitsAllocated) // 8
    if len(element) < expected:
        raise NotAnalysable(
            Reason.FILE_DAMAGED, f"{header.path.name} holds {len(element)} of {expected} bytes of Pixel Data"
        )


def _read(path: Path, *, stop_before_pixels: bool) -> Dataset:
    try:
        return dcmread(path, stop_before_pixels=stop_before_pixels)
    except FileNotFoundError as error:
        raise NotAnalysable(Reason.FILE_DAMAGED, f"{path.name} is missing") from error
    except OSError as error:
        raise NotAnalysable(Reason.FILE_DAMAGED, f"{path.name} can't be read: {error.strerror}") from error
    except _PARSE_ERRORS as error:
        # The parser's own words may quote a value of the header, and headers name patients: say the kind only.
        raise NotAnalysable(
            Reason.FILE_DAMAGED, f"{path.name} is no whole DICOM file: {type(error).__name__}"
        ) from error


def _geometry(dataset: Dataset, path: Path) -> tuple[Vector, Orientation, tuple[float, float]]:
    position = _numbers(dataset, "ImagePositionPatient", 3)
    orientation = _numbers(dataset, "ImageOrientationPatient", 6)
    spacing = _numbers(dataset, "PixelSpacing", 2)
    if position is None or orientation is None or spacing is None or min(spacing) <= 0:
        raise NotAnalysable(Reason.MISSING_GEOMETRY, path.name)
    x, y, z = position
    row_x, row_y, row_z, column_x, column_y, column_z = orientation
    cosines = (row_x, row_y, row_z, column_x, column_y, column_z)
    if slice_normal(cosines) is None:
        raise NotAnalysable(Reason.MISSING_GEOMETRY, f"{path.name}: rows and columns are not at a right angle")
    between_rows, between_columns = spacing
    return (x, y, z), cosines, (between_rows, between_columns)


def _pixel_format(dataset: Dataset, path: Path) -> tuple[int, bool]:
    """BitsStored, and whether values are signed, of an image that can be grey CT at all (PS3.3 C.8.2.1)."""
    allocated, stored = _integer(dataset, "BitsAllocated"), _integer(dataset, "BitsStored")
    photometric = _text(dataset, "PhotometricInterpretation")
    rows, columns = _integer(dataset, "Rows"), _integer(dataset, "Columns")
    representation = _integer(dataset, "PixelRepresentation", default=-1)
    wrong = None
    if not all(_SMALLEST_IMAGE <= n <= _LARGEST_IMAGE for n in (rows, columns)):
        wrong = f"{rows} rows and {columns} columns"
    elif _integer(dataset, "SamplesPerPixel", default=1) != 1 or photometric not in {"MONOCHROME1", "MONOCHROME2"}:
        wrong = "it is not a grey image"
    elif allocated not in {8, 16} or not 1 < stored <= allocated:
        wrong = f"BitsStored {stored} of BitsAllocated {allocated}"
    elif _integer(dataset, "HighBit", default=stored - 1) != stored - 1:
        wrong = f"HighBit {_integer(dataset, 'HighBit')} with BitsStored {stored}"
    elif representation not in {0, 1}:
        wrong = "Pixel Representation is neither 0 nor 1"
    if wrong is not None:
        raise NotAnalysable(Reason.PIXELS_UNREADABLE, f"{path.name}: {wrong}")
    return stored, representation == 1


def _rescale(dataset: Dataset, path: Path) -> tuple[float, float]:
    """Slope and intercept; CT demands them (PS3.3 C.8.2.1), and values that only may be HU are not read."""
    slope = _numbers(dataset, "RescaleSlope", 1)
    intercept = _numbers(dataset, "RescaleIntercept", 1)
    if slope is None or intercept is None or slope[0] == 0 or max(abs(slope[0]), abs(intercept[0])) > _INT16_MAX:
        raise NotAnalysable(Reason.PIXELS_UNREADABLE, f"{path.name}: no usable Rescale Slope and Intercept")
    return slope[0], intercept[0]


def _padding(dataset: Dataset, bits_stored: int, signed: bool) -> tuple[int, int] | None:
    """Pixel Padding Value, with its Range Limit, cut to the stored bits like the pixels themselves.

    Its VR follows Pixel Representation, and writers get that wrong: 63536 and -2000 are the same sixteen bits.
    """
    value = _numbers(dataset, "PixelPaddingValue", 1)
    if value is None:
        return None
    limit = _numbers(dataset, "PixelPaddingRangeLimit", 1) or value
    ends = sorted(_as_stored(int(v[0]), bits_stored, signed) for v in (value, limit))
    return ends[0], ends[1]


def _as_stored(value: int, bits_stored: int, signed: bool) -> int:
    cut = value & ((1 << bits_stored) - 1)
    return cut - (1 << bits_stored) if signed and cut >> (bits_stored - 1) else cut


def _value(dataset: Dataset, keyword: str) -> object:
    """An attribute, or None where it is absent or can't be parsed; pydicom parses values only when asked."""
    try:
        return dataset.get(keyword)
    except _PARSE_ERRORS:
        return None


def _numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    value = _value(dataset, keyword)
    if value is None:
        return None
    try:
        numbers = tuple(float(v) for v in (value if count > 1 else (value,)))  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and all(math.isfinite(n) for n in numbers) else None


def _integer(dataset: Dataset, keyword: str, *, default: int = 0) -> int:
    numbers = _numbers(dataset, keyword, 1)
    return default if numbers is None else int(numbers[0])


def _text(dataset: Dataset, keyword: str) -> str:
    value = _value(dataset, keyword)
    return "" if value is None else str(value).strip()


def _first(error: BaseException) -> str:
    """The first line of a decoder's message; the rest lists plugins."""
    return (str(error) or type(error).__name__).splitlines()[0]
