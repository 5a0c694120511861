"""One DICOM file's header as a `SliceHeader`: where the image lies, and how its stored values become HU."""

import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import HTJ2K, JPEG2000, UID, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless

from ichd.domain.errors import NotAnalysable, Transient
from ichd.domain.geometry import Orientation, Vector, slice_normal
from ichd.domain.reason import Reason

#: Fat to fresh blood, with a margin.
_TISSUE_HU = (-200.0, 200.0)
INT16_MAX = 32767
#: Syntaxes whose images may have lost something, said or not; with JPEG 2000 (91) and HTJ2K (203) most have.
_LOSSY_SYNTAXES = frozenset({JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000, HTJ2K})
_SMALLEST_IMAGE, _LARGEST_IMAGE = 16, 2048

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
    bits_allocated: int
    #: Lowest and highest value of the allocated bits that is padding.
    padding: tuple[int, int] | None
    #: Padding that lies among tissue is not believed: it would cut holes into the brain.
    padding_ignored: bool
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
    dataset = read_dataset(path, stop_before_pixels=True)
    frames = _integer(dataset, "NumberOfFrames", default=1)
    if frames > 1:
        raise NotAnalysable(Reason.MULTI_FRAME, f"{path.name} has {frames} frames")
    bits_stored, signed = _pixel_format(dataset, path)
    slope, intercept = _rescale(dataset, path)
    position, orientation, spacing = _geometry(dataset, path)
    bits_allocated = _integer(dataset, "BitsAllocated")
    padding = _padding(dataset, bits_allocated, signed)
    incredible = padding is not None and _among_tissue(padding, slope, intercept)
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
        bits_allocated=bits_allocated,
        padding=None if incredible else padding,
        padding_ignored=incredible,
        monochrome1=_text(dataset, "PhotometricInterpretation") == "MONOCHROME1",
        lossy=_text(dataset, "LossyImageCompression") == "01" or syntax_of(dataset) in _LOSSY_SYNTAXES,
    )


def syntax_of(dataset: Dataset) -> UID:
    """Transfer Syntax UID of the file meta information; empty where it has none."""
    return UID(_text(dataset.file_meta, "TransferSyntaxUID"))


def read_dataset(path: Path, *, stop_before_pixels: bool) -> Dataset:
    """The file as pydicom parses it.

    Raises:
        NotAnalysable: FILE_DAMAGED, the file is gone or is no whole DICOM file.
        Transient: STORE_UNAVAILABLE, the disk fails.
    """
    try:
        return dcmread(path, stop_before_pixels=stop_before_pixels)
    except FileNotFoundError as error:
        raise NotAnalysable(Reason.FILE_DAMAGED, f"{path.name} is missing") from error
    except OSError as error:
        # A disk or a network share that fails now may answer later; the study must not end as damaged for it.
        raise Transient(Reason.STORE_UNAVAILABLE, f"{path.name} can't be read: {error.strerror}") from error
    except PARSE_ERRORS as error:
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
    if slope is None or intercept is None or slope[0] == 0 or max(abs(slope[0]), abs(intercept[0])) > INT16_MAX:
        raise NotAnalysable(Reason.NO_HOUNSFIELD_UNITS, path.name)
    return slope[0], intercept[0]


def _padding(dataset: Dataset, bits_allocated: int, signed: bool) -> tuple[int, int] | None:
    """Pixel Padding Value, with its Range Limit, as values of the allocated bits.

    Its VR follows Pixel Representation, and writers get that wrong: 63536 and -2000 are the same sixteen bits.
    """
    value = _numbers(dataset, "PixelPaddingValue", 1)
    if value is None:
        return None
    limit = _numbers(dataset, "PixelPaddingRangeLimit", 1) or value
    ends = sorted(_as_allocated(int(v[0]), bits_allocated, signed) for v in (value, limit))
    return ends[0], ends[1]


def _as_allocated(value: int, bits_allocated: int, signed: bool) -> int:
    cut = value & ((1 << bits_allocated) - 1)
    return cut - (1 << bits_allocated) if signed and cut >> (bits_allocated - 1) else cut


def _among_tissue(padding: tuple[int, int], slope: float, intercept: float) -> bool:
    ends = sorted(value * slope + intercept for value in padding)
    return ends[0] < _TISSUE_HU[1] and ends[1] > _TISSUE_HU[0]


def _value(dataset: Dataset, keyword: str) -> object:
    """An attribute, or None where it is absent or can't be parsed; pydicom parses values only when asked."""
    try:
        return dataset.get(keyword)
    except PARSE_ERRORS:
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
