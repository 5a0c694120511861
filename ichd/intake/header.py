"""From the bytes of an image to the facts of its header; pixel data is measured, never decoded.

Nothing that identifies the patient is read at all: the tags of interest are listed, and no other value is copied.
"""

import re
from pathlib import Path

from ichd.domain.errors import Refused
from ichd.domain.geometry import Orientation, Vector
from ichd.domain.placed import LEAST_PIXEL_MM
from ichd.domain.reason import Reason
from ichd.domain.study import CT_IMAGE_STORAGE, MULTI_FRAME_CT, InstanceFacts
from ichd.intake.elements import MAX_INFLATED_BYTES, Elements, walk
from ichd.intake.part10 import split_file
from ichd.intake.syntax import TRANSFER_SYNTAXES, TransferSyntax
from ichd.intake.values import Values, is_uid

_TAGS = {
    "SpecificCharacterSet": 0x00080005,
    "ImageType": 0x00080008,
    "SOPClassUID": 0x00080016,
    "SOPInstanceUID": 0x00080018,
    "StudyDate": 0x00080020,
    "AcquisitionDate": 0x00080022,
    "AcquisitionDateTime": 0x0008002A,
    "StudyTime": 0x00080030,
    "AcquisitionTime": 0x00080032,
    "AccessionNumber": 0x00080050,
    "Modality": 0x00080060,
    "SeriesDescription": 0x0008103E,
    "VolumeBasedCalculationTechnique": 0x00089207,
    "ContrastBolusAgent": 0x00180010,
    "BodyPartExamined": 0x00180015,
    "SliceThickness": 0x00180050,
    "ConvolutionKernel": 0x00181210,
    "PatientPosition": 0x00185100,
    "StudyInstanceUID": 0x0020000D,
    "SeriesInstanceUID": 0x0020000E,
    "SeriesNumber": 0x00200011,
    "AcquisitionNumber": 0x00200012,
    "InstanceNumber": 0x00200013,
    "ImagePositionPatient": 0x00200032,
    "ImageOrientationPatient": 0x00200037,
    "FrameOfReferenceUID": 0x00200052,
    "NumberOfStudyRelatedInstances": 0x00201208,
    "NumberOfSeriesRelatedInstances": 0x00201209,
    "SamplesPerPixel": 0x00280002,
    "NumberOfFrames": 0x00280008,
    "Rows": 0x00280010,
    "Columns": 0x00280011,
    "PixelSpacing": 0x00280030,
    "BitsAllocated": 0x00280100,
    "QualityControlImage": 0x00280300,
}
_WANTED = frozenset(_TAGS.values())
_CT_IMAGES = frozenset((CT_IMAGE_STORAGE, *MULTI_FRAME_CT))

#: No image of a patient lies further from the origin, mm.
_FAR_MM = 1e5


def parse_header(
    dataset: bytes | memoryview, transfer_syntax_uid: str, *, max_inflated_bytes: int = MAX_INFLATED_BYTES
) -> InstanceFacts:
    """The facts of an encoded data set, without preamble and file meta information.

    A deflated one may inflate to as much as is said.

    Raises:
        Refused: NOT_DICOM, TRUNCATED (an element, or native pixel data shorter than rows and columns say), BAD_UID,
            TOO_LARGE, or UNSUPPORTED_TRANSFER_SYNTAX. Missing geometry is no reason: the facts say None.
    """
    syntax = syntax_of(transfer_syntax_uid)
    elements = walk(memoryview(dataset), syntax, _WANTED, max_inflated_bytes=max_inflated_bytes)
    values = Values(elements.values, _TAGS, little_endian=syntax.little_endian)
    facts = _facts(values, syntax)
    _require_whole_pixels(facts, values, elements, syntax)
    return facts


def syntax_of(transfer_syntax_uid: str) -> TransferSyntax:
    """The transfer syntax of a UID.

    Raises:
        Refused: UNSUPPORTED_TRANSFER_SYNTAX.
    """
    syntax = TRANSFER_SYNTAXES.get(transfer_syntax_uid)
    if syntax is None:
        detail = transfer_syntax_uid if is_uid(transfer_syntax_uid) else "not a UID"
        raise Refused(Reason.UNSUPPORTED_TRANSFER_SYNTAX, detail)
    return syntax


def study_uid_of(dataset: memoryview, transfer_syntax_uid: str) -> str | None:
    """The Study Instance UID of a data set that is no good otherwise: the walk ends where it stands.

    None where it can't be read, and of a deflated data set: one that expands without end is not inflated twice.
    """
    syntax = TRANSFER_SYNTAXES.get(transfer_syntax_uid)
    if syntax is None or syntax.deflated:
        return None
    tag = _TAGS["StudyInstanceUID"]
    try:
        elements = walk(dataset, syntax, frozenset((tag,)), last=tag)
    except Refused:
        return None
    return Values(elements.values, _TAGS, little_endian=syntax.little_endian).uid("StudyInstanceUID")


def read_facts(path: Path) -> InstanceFacts:
    """The facts of a DICOM file (PS3.10).

    Raises:
        Refused: as `parse_header`.
        OSError: the file can't be read.
    """
    transfer_syntax_uid, dataset = split_file(path.read_bytes())
    return parse_header(dataset, transfer_syntax_uid)


def _facts(values: Values, syntax: TransferSyntax) -> InstanceFacts:
    return InstanceFacts(
        study_instance_uid=_required_uid(values, "StudyInstanceUID"),
        series_instance_uid=_required_uid(values, "SeriesInstanceUID"),
        sop_instance_uid=_required_uid(values, "SOPInstanceUID"),
        sop_class_uid=_required_uid(values, "SOPClassUID"),
        transfer_syntax_uid=syntax.uid,
        modality=values.code("Modality"),
        image_type=values.codes("ImageType"),
        rows=values.unsigned_short("Rows"),
        columns=values.unsigned_short("Columns"),
        number_of_frames=_frames(values),
        image_position=_position(values),
        image_orientation=_orientation(values),
        pixel_spacing=_spacing(values),
        slice_thickness_mm=_thickness(values),
        frame_of_reference_uid=values.uid("FrameOfReferenceUID"),
        series_number=values.integer("SeriesNumber"),
        series_description=values.text("SeriesDescription"),
        instance_number=values.integer("InstanceNumber"),
        acquisition_number=values.integer("AcquisitionNumber"),
        body_part_examined=values.code("BodyPartExamined"),
        convolution_kernel=values.text("ConvolutionKernel"),
        contrast_agent=values.text("ContrastBolusAgent"),
        patient_position=values.code("PatientPosition"),
        volume_calculation=values.code("VolumeBasedCalculationTechnique"),
        quality_control_image=values.code("QualityControlImage") == "YES",
        acquisition_datetime=_acquisition_datetime(values),
        accession_number=values.text("AccessionNumber"),
        study_datetime=_study_datetime(values),
        study_related_instances=_count(values, "NumberOfStudyRelatedInstances"),
        series_related_instances=_count(values, "NumberOfSeriesRelatedInstances"),
    )


def _required_uid(values: Values, keyword: str) -> str:
    uid = values.uid(keyword)
    if uid is None:
        raise Refused(Reason.BAD_UID, f"{keyword} is {'not a UID' if values.has(keyword) else 'missing'}")
    return uid


def _frames(values: Values) -> int:
    frames = values.integer("NumberOfFrames")
    return frames if frames is not None and frames > 0 else 1


def _count(values: Values, keyword: str) -> int | None:
    number = values.integer(keyword)
    return number if number is not None and number > 0 else None


def _position(values: Values) -> Vector | None:
    numbers = values.decimals("ImagePositionPatient")
    if len(numbers) != 3 or any(abs(n) > _FAR_MM for n in numbers):
        return None
    return (numbers[0], numbers[1], numbers[2])


def _orientation(values: Values) -> Orientation | None:
    numbers = values.decimals("ImageOrientationPatient")
    if len(numbers) != 6:
        return None
    return (numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5])


def _spacing(values: Values) -> tuple[float, float] | None:
    numbers = values.decimals("PixelSpacing")
    if len(numbers) != 2 or not all(LEAST_PIXEL_MM <= n < _FAR_MM for n in numbers):
        return None
    return (numbers[0], numbers[1])


def _thickness(values: Values) -> float | None:
    numbers = values.decimals("SliceThickness")
    return numbers[0] if len(numbers) == 1 and 0 <= numbers[0] < _FAR_MM else None


def _study_datetime(values: Values) -> str:
    """StudyDate + StudyTime; a value that is no date, or no time, is left out."""
    return _datetime(values.text("StudyDate"), values.text("StudyTime"))


def _acquisition_datetime(values: Values) -> str:
    """AcquisitionDateTime without its offset from UTC, else date and time; all images of a series have the same form.

    A time without a date is of the study's day: only the order within one series is asked for.
    """
    moment = re.match(r"[0-9]{14}(\.[0-9]{1,6})?", values.text("AcquisitionDateTime"))
    if moment is not None:
        return moment.group()
    time = values.text("AcquisitionTime")
    return _datetime(values.text("AcquisitionDate") or values.text("StudyDate"), time) if time else ""


def _datetime(date: str, time: str) -> str:
    if not re.fullmatch(r"[0-9]{8}", date):
        return ""
    return date + time if re.fullmatch(r"[0-9]{2,6}(\.[0-9]{1,6})?", time) else date


def _require_whole_pixels(facts: InstanceFacts, values: Values, elements: Elements, syntax: TransferSyntax) -> None:
    """Native pixel data must hold what the header promises (PS3.5 8.1.1); more is padding, less is a broken image.

    A CT image without any pixel data was cut between two elements, which no length betrays.
    """
    if not elements.has_pixels and (facts.rows is not None or facts.sop_class_uid in _CT_IMAGES):
        raise Refused(Reason.TRUNCATED, "no pixel data")
    if facts.rows is None or facts.columns is None or syntax.encapsulated:
        return
    if elements.pixel_bytes is None:
        raise Refused(Reason.NOT_DICOM, "fragments of pixel data in an uncompressed transfer syntax")
    samples = values.unsigned_short("SamplesPerPixel") or 1
    bits = values.unsigned_short("BitsAllocated") or 0
    needed = (facts.rows * facts.columns * samples * facts.number_of_frames * bits + 7) // 8
    if elements.pixel_bytes < needed:
        raise Refused(Reason.TRUNCATED, f"{elements.pixel_bytes} of {needed} pixel bytes")
