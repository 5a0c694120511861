"""Pictures as Secondary Captures (PS3.3 A.8.1): the summary page, and a series of heat maps.

The one form that every viewer shows. What stands on a picture is burned in, since it must not come off.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image
from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from ichd.domain.delivery import ObjectKind
from ichd.domain.finding import Finding, SlicePrediction
from ichd.domain.heatmap import HeatMap
from ichd.domain.wording import class_label, percent
from ichd.report.document import NOT_A_DIAGNOSIS, ReportContext, put_in_study
from ichd.report.equipment import plain, scanner_of
from ichd.report.key_image import source_item
from ichd.report.leading import marked_slices, slice_numbers, top_slice
from ichd.report.source import legible, source_of


@dataclass(frozen=True, kw_only=True)
class HeatPicture:
    """A slice under the heat of one class, with all that must be known to read it."""

    heat: HeatMap
    picture: Image.Image


def build_summary(page: Image.Image, finding: Finding, sources: Sequence[Dataset], context: ReportContext) -> Dataset:
    """The page as one Secondary Capture (RGB, 8 bit, Explicit VR Little Endian).

    `sources` are headers of images of the study, no pixels needed. Equal arguments give equal bytes.

    Raises:
        Permanent: REPORT_INVALID: no source of this study, or values that DICOM can't hold.
    """
    shown = marked_slices(finding) or (top_slice(finding),)
    words = f"Head CT, haemorrhage triage: {finding.triage}. {NOT_A_DIAGNOSIS}"
    capture = _capture(page, words, shown)
    return _in_study(capture, ObjectKind.SC, 1, finding, sources, context)


def build_heat_captures(
    pictures: Sequence[HeatPicture], finding: Finding, sources: Sequence[Dataset], context: ReportContext
) -> list[Dataset]:
    """One Secondary Capture a heat map, in one series; in the order of classes, the best slice of each first.

    Numbers, and with them UIDs, are those that the maps have among all that the finding asks for: one that was not
    made leaves a gap instead of lending its name to another.

    Raises:
        Permanent: REPORT_INVALID, as `build_summary`.
    """
    by_place = {(each.heat.class_name, each.heat.sop_instance_uid, each.heat.frame_number): each for each in pictures}
    numbers = slice_numbers(finding)
    captures = []
    places = [(found, key) for found in finding.classes for key in found.key_slices]
    for number, (found, key) in enumerate(places, start=1):
        each = by_place.get((found.name, key.sop_instance_uid, key.frame_number))
        if each is None:
            continue
        probability = key.probabilities[finding.classes.index(found)]
        slice_number = numbers[key.sop_instance_uid, key.frame_number]
        words = f"{class_label(found.name)}, {percent(probability)} on slice {slice_number}. {NOT_A_DIAGNOSIS}"
        captures.append(
            _in_study(_capture(each.picture, words, [key]), ObjectKind.HEAT, number, finding, sources, context)
        )
    return captures


def _in_study(
    capture: Dataset,
    kind: ObjectKind,
    number: int,
    finding: Finding,
    sources: Sequence[Dataset],
    context: ReportContext,
) -> Dataset:
    prediction = finding.prediction
    put_in_study(
        capture,
        kind=kind,
        edition=context.edition(prediction),
        context=context,
        source=legible(source_of(sources, prediction.study_instance_uid)),
        model=prediction.model,
        scanner=scanner_of(sources, prediction),
        number=number,
    )
    return capture


def _capture(picture: Image.Image, words: str, shown: Sequence[SlicePrediction]) -> Dataset:
    """Image, pixels and how they came about; `shown` are the slices that they are about."""
    capture = Dataset()
    capture.SOPClassUID = SecondaryCaptureImageStorage
    capture.ConversionType = "WSD"  # made by a workstation
    capture.ImageType = ["DERIVED", "SECONDARY"]
    capture.BodyPartExamined = "HEAD"  # with another part Laterality would be asked for, and here it is in the picture
    capture.PatientOrientation = None
    capture.BurnedInAnnotation = "YES"
    capture.LossyImageCompression = "00"
    capture.DerivationDescription = plain(words, limit=1024)
    capture.ImageComments = plain(words)
    capture.SourceImageSequence = [_source(each) for each in shown]
    rgb = picture.convert("RGB")
    capture.SamplesPerPixel, capture.PhotometricInterpretation, capture.PlanarConfiguration = 3, "RGB", 0
    capture.Rows, capture.Columns = rgb.height, rgb.width
    capture.BitsAllocated, capture.BitsStored, capture.HighBit, capture.PixelRepresentation = 8, 8, 7, 0
    pixels = rgb.tobytes()
    capture.add_new("PixelData", "OB", pixels if len(pixels) % 2 == 0 else pixels + b"\0")
    return capture


def _source(shown: SlicePrediction) -> Dataset:
    frames = () if shown.frame_number is None else (shown.frame_number,)
    return source_item(shown.sop_class_uid, shown.sop_instance_uid, frames)
