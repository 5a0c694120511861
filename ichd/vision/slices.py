"""Where a slice lies, and how its stored values become HU: the `SliceHeader` of an image, or of one of its frames."""

from dataclasses import dataclass
from pathlib import Path

from pydicom.uid import HTJ2K, JPEG2000, UID, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless

from ichd.domain.errors import NotAnalysable
from ichd.domain.geometry import Orientation, Vector
from ichd.domain.image_file import AnyImage
from ichd.domain.placed import LEAST_PIXEL_MM
from ichd.domain.reason import Reason
from ichd.vision.frames import frame_acquisition_number, frame_attributes, orientation_of, position_of
from ichd.vision.parsed import Attributes, ParsedFile, PixelElement, parse

#: Fat to fresh blood, with a margin.
_TISSUE_HU = (-200.0, 200.0)
INT16_MAX = 32767
#: Syntaxes whose images may have lost something, said or not; with JPEG 2000 (91) and HTJ2K (203) most have.
_LOSSY_SYNTAXES = frozenset({JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000, HTJ2K})
_SMALLEST_IMAGE, _LARGEST_IMAGE = 16, 2048
#: Rescale Types of spectral and dental images (PS3.3 C.11.1.1.2). "US", unspecified, is what older scanners call HU.
_NO_HU = frozenset({"OD", "MGML", "Z_EFF", "ED", "EDW", "PCT"})


@dataclass(frozen=True, kw_only=True)
class SliceHeader:
    """Where one slice lies, and how its stored values become HU."""

    path: Path
    #: What its bytes must be, when the pixels are read too; None where nobody vouches for them.
    sha256: str | None = None
    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    study_instance_uid: str
    frame_of_reference_uid: str
    #: Of the slice in a multi-frame image, counted from 1; None where the image is the slice.
    frame_number: int | None
    rows: int
    columns: int
    #: LPS, mm, centre of the first pixel.
    position: Vector
    orientation: Orientation
    #: mm between rows, mm between columns.
    pixel_spacing_mm: tuple[float, float]
    #: Nominal; None where it is not said.
    slice_thickness_mm: float | None
    #: How the patient lay (PS3.3 C.7.3.1.1.2), e.g. HFS; empty where it is not said.
    patient_position: str
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
    syntax: UID
    #: None where the file has no Pixel Data.
    pixels: PixelElement | None

    @property
    def whole_hu(self) -> bool:
        """Whether every stored value becomes a whole number of HU."""
        return self.slope.is_integer() and self.intercept.is_integer()


def read_header(image: AnyImage, frame_number: int | None = None) -> SliceHeader:
    """Header of one image file, or of one of its frames; pixels are not read.

    Raises:
        NotAnalysable: as `read_headers`.
        Transient: STORE_UNAVAILABLE.
    """
    (header,) = read_headers(image, (frame_number,))
    return header


def read_headers(image: AnyImage, frame_numbers: tuple[int | None, ...]) -> tuple[SliceHeader, ...]:
    """Headers of some frames of one file, which is parsed once; None is the whole of an image with one frame.

    Raises:
        NotAnalysable: FILE_DAMAGED, MISSING_GEOMETRY, NO_HOUNSFIELD_UNITS, PIXELS_UNREADABLE, or MULTI_FRAME: there is
            no such frame, or several and none was named.
        Transient: STORE_UNAVAILABLE, the disk fails.
    """
    return headers_of(parse(image), frame_numbers)


def headers_of(file: ParsedFile, frame_numbers: tuple[int | None, ...]) -> tuple[SliceHeader, ...]:
    """The same of a file that is parsed already, for those who ask it other questions as well.

    Raises:
        NotAnalysable: as `read_headers`.
    """
    frames = frame_attributes(file)
    return tuple(_header(file, frames, number) for number in frame_numbers)


def _header(file: ParsedFile, frames: tuple[Attributes, ...], frame_number: int | None) -> SliceHeader:
    image, path = file.attributes, file.path
    number = _frame_number(file, frames, frame_number)
    frame = image if number is None else frames[number - 1]
    bits_stored, signed = _pixel_format(image, path)
    slope, intercept = _rescale(frame, path, units_must_be_said=number is not None)
    position, orientation, spacing = _geometry(frame, path)
    bits_allocated = image.integer("BitsAllocated")
    padding = _padding(image, bits_allocated, signed)
    incredible = padding is not None and _among_tissue(padding, slope, intercept)
    thickness = frame.numbers("SliceThickness", 1)
    return SliceHeader(
        path=path,
        sha256=file.sha256,
        sop_instance_uid=image.text("SOPInstanceUID"),
        sop_class_uid=image.text("SOPClassUID"),
        series_instance_uid=image.text("SeriesInstanceUID"),
        study_instance_uid=image.text("StudyInstanceUID"),
        frame_of_reference_uid=image.text("FrameOfReferenceUID"),
        frame_number=number,
        rows=image.integer("Rows"),
        columns=image.integer("Columns"),
        position=position,
        orientation=orientation,
        pixel_spacing_mm=spacing,
        slice_thickness_mm=thickness[0] if thickness is not None and thickness[0] > 0 else None,
        patient_position=image.text("PatientPosition").upper(),
        acquisition_number=image.integer("AcquisitionNumber") if number is None else frame_acquisition_number(frame),
        instance_number=image.integer("InstanceNumber") if number is None else number,
        slope=slope,
        intercept=intercept,
        bits_stored=bits_stored,
        signed=signed,
        bits_allocated=bits_allocated,
        padding=None if incredible else padding,
        padding_ignored=incredible,
        monochrome1=image.text("PhotometricInterpretation") == "MONOCHROME1",
        lossy=image.text("LossyImageCompression") == "01" or file.syntax in _LOSSY_SYNTAXES,
        syntax=file.syntax,
        pixels=file.pixels,
    )


def _frame_number(file: ParsedFile, frames: tuple[Attributes, ...], wanted: int | None) -> int | None:
    """The frame that is meant; None for an image without functional groups, which is its own only frame."""
    if not frames and wanted in {None, 1}:
        return None
    if wanted is None and len(frames) == 1:
        return 1
    if wanted is None or not 1 <= wanted <= len(frames):
        which = "none is named" if wanted is None else f"no frame {wanted}"
        raise NotAnalysable(Reason.MULTI_FRAME, f"{file.path.name} has {len(frames)} frames, {which}")
    return wanted


def _geometry(frame: Attributes, path: Path) -> tuple[Vector, Orientation, tuple[float, float]]:
    position, spacing = position_of(frame), frame.numbers("PixelSpacing", 2)
    if position is None or spacing is None or frame.numbers("ImageOrientationPatient", 6) is None:
        raise NotAnalysable(Reason.MISSING_GEOMETRY, path.name)
    if min(spacing) < LEAST_PIXEL_MM:
        raise NotAnalysable(Reason.MISSING_GEOMETRY, f"{path.name}: Pixel Spacing {min(spacing):g}")
    orientation = orientation_of(frame)
    if orientation is None:
        raise NotAnalysable(Reason.MISSING_GEOMETRY, f"{path.name}: rows and columns are not at a right angle")
    between_rows, between_columns = spacing
    return position, orientation, (between_rows, between_columns)


def _pixel_format(image: Attributes, path: Path) -> tuple[int, bool]:
    """BitsStored, and whether values are signed, of an image that can be grey CT at all (PS3.3 C.8.2.1)."""
    allocated, stored = image.integer("BitsAllocated"), image.integer("BitsStored")
    photometric = image.text("PhotometricInterpretation")
    rows, columns = image.integer("Rows"), image.integer("Columns")
    representation = image.integer("PixelRepresentation", default=-1)
    wrong = None
    if not all(_SMALLEST_IMAGE <= n <= _LARGEST_IMAGE for n in (rows, columns)):
        wrong = f"{rows} rows and {columns} columns"
    elif image.integer("SamplesPerPixel", default=1) != 1 or photometric not in {"MONOCHROME1", "MONOCHROME2"}:
        wrong = "it is not a grey image"
    elif allocated not in {8, 16} or not 1 < stored <= allocated:
        wrong = f"BitsStored {stored} of BitsAllocated {allocated}"
    elif image.integer("HighBit", default=stored - 1) != stored - 1:
        wrong = f"HighBit {image.integer('HighBit')} with BitsStored {stored}"
    elif representation not in {0, 1}:
        wrong = "Pixel Representation is neither 0 nor 1"
    if wrong is not None:
        raise NotAnalysable(Reason.PIXELS_UNREADABLE, f"{path.name}: {wrong}")
    return stored, representation == 1


def _rescale(frame: Attributes, path: Path, *, units_must_be_said: bool) -> tuple[float, float]:
    """Slope and intercept; CT demands them (PS3.3 C.8.2.1), and values that only may be HU are not read.

    A frame's Rescale Type is type 1, and maps of perfusion are stored as frames too: there it must be believed.
    """
    slope, intercept = frame.numbers("RescaleSlope", 1), frame.numbers("RescaleIntercept", 1)
    units = frame.text("RescaleType").upper()
    if slope is None or intercept is None or slope[0] == 0 or max(abs(slope[0]), abs(intercept[0])) > INT16_MAX:
        raise NotAnalysable(Reason.NO_HOUNSFIELD_UNITS, path.name)
    if units in _NO_HU or (units_must_be_said and units not in {"HU", "HU_MOD"}):
        raise NotAnalysable(Reason.NO_HOUNSFIELD_UNITS, f"{path.name}: Rescale Type {units or 'is missing'}")
    return slope[0], intercept[0]


def _padding(image: Attributes, bits_allocated: int, signed: bool) -> tuple[int, int] | None:
    """Pixel Padding Value, with its Range Limit, as values of the allocated bits.

    Its VR follows Pixel Representation, and writers get that wrong: 63536 and -2000 are the same sixteen bits.
    """
    value = image.numbers("PixelPaddingValue", 1)
    if value is None:
        return None
    limit = image.numbers("PixelPaddingRangeLimit", 1) or value
    ends = sorted(_as_allocated(int(v[0]), bits_allocated, signed) for v in (value, limit))
    return ends[0], ends[1]


def _as_allocated(value: int, bits_allocated: int, signed: bool) -> int:
    cut = value & ((1 << bits_allocated) - 1)
    return cut - (1 << bits_allocated) if signed and cut >> (bits_allocated - 1) else cut


def _among_tissue(padding: tuple[int, int], slope: float, intercept: float) -> bool:
    ends = sorted(value * slope + intercept for value in padding)
    return ends[0] < _TISSUE_HU[1] and ends[1] > _TISSUE_HU[0]
