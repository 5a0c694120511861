"""Key slices in the right window, as a Grayscale Softcopy Presentation State (PS3.3 A.33.1).

Written attribute by attribute: highdicom's own demands headers that real scanners don't write, takes one frame of a
multi-frame image for all of them, and stamps the wall clock.
"""

from collections.abc import Mapping, Sequence

from pydicom import Dataset
from pydicom.uid import GrayscaleSoftcopyPresentationStateStorage

from ichd.domain.delivery import ObjectKind
from ichd.domain.errors import Permanent
from ichd.domain.finding import ClassFinding, Finding
from ichd.domain.note import Remark
from ichd.domain.reason import Reason
from ichd.domain.wording import class_label, percent
from ichd.report.document import NOT_A_DIAGNOSIS, ReportContext, put_in_study
from ichd.report.equipment import plain
from ichd.report.key_image import DisplayWindow, KeyImage, decimal, references
from ichd.report.leading import slice_numbers
from ichd.report.source import legible, source_of

_LAYER = "AI_RESULT"
#: Corners of the text, as shares of the displayed area: at the bottom, where viewers write little.
_TEXT_BOX = ((0.02, 0.88), (0.98, 0.98))


def build_presentation(
    images: Sequence[KeyImage],
    windows: Mapping[str, DisplayWindow],
    finding: Finding,
    sources: Sequence[Dataset],
    context: ReportContext,
) -> Dataset:
    """Opens `images`, the key slices, each in the window of the class that it shows best, named on it.

    `windows` by class name. Frames of a multi-frame image are named one by one. Polarity is that of HU whatever the
    images' Photometric Interpretation, which a presentation state stands above: blood is bright (PS3.3 C.11.6).

    Raises:
        Permanent: REPORT_INVALID: no source of this study, no image, values that DICOM can't hold; or images whose
            stored values become HU in different ways, of which a presentation state can say one (PS3.3 C.11.1).
    """
    slope, intercept = _one_rescale(images, finding)
    prediction = finding.prediction
    state = Dataset()
    state.SOPClassUID = GrayscaleSoftcopyPresentationStateStorage
    state.BodyPartExamined = "HEAD"  # with another part, or none, Laterality would be asked for
    state.ContentLabel = "AI_KEY_SLICES"
    state.ContentDescription = plain(f"Head CT triage {finding.triage}. {NOT_A_DIAGNOSIS}", limit=64)
    state.ContentCreatorName = None
    state.ReferencedSeriesSequence = [_series(prediction.series_instance_uid, images)]
    state.RescaleIntercept, state.RescaleSlope, state.RescaleType = decimal(intercept), decimal(slope), "HU"
    shown = {image.frame: _shown(finding, image) for image in images}
    state.SoftcopyVOILUTSequence = _windows(images, {frame: windows[c.name] for frame, c in shown.items()})
    state.PresentationLUTShape = "IDENTITY"
    state.DisplayedAreaSelectionSequence = _areas(images)
    state.GraphicAnnotationSequence = [_annotation(finding, image, shown[image.frame]) for image in images]
    state.GraphicLayerSequence = [_layer()]
    put_in_study(
        state,
        kind=ObjectKind.GSPS,
        edition=context.edition(prediction),
        context=context,
        source=legible(source_of(sources, prediction.study_instance_uid)),
        model=prediction.model,
    )
    state.PresentationCreationDate, state.PresentationCreationTime = state.SeriesDate, state.SeriesTime
    return state


def _one_rescale(images: Sequence[KeyImage], finding: Finding) -> tuple[float, float]:
    if not images:
        raise Permanent(Reason.REPORT_INVALID, "a presentation state of no image")
    if any(note.remark is Remark.HU_REPAIRED for note in finding.prediction.notes):
        raise Permanent(Reason.REPORT_INVALID, "the images' own Rescale Intercept is wrong: no window fits them")
    ways = {(image.slope, image.intercept) for image in images}
    if len(ways) > 1:
        raise Permanent(
            Reason.REPORT_INVALID, f"key slices with {len(ways)} pairs of Rescale Slope and Intercept; one is possible"
        )
    return ways.pop()


def _series(series_instance_uid: str, images: Sequence[KeyImage]) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = series_instance_uid
    series.ReferencedImageSequence = references(images)
    return series


def _shown(finding: Finding, image: KeyImage) -> ClassFinding:
    """The kind that a slice is the best evidence of; `any` where it is that of no kind."""
    number = slice_numbers(finding)[image.frame] - 1
    probabilities = finding.prediction.slices[number].probabilities
    kinds = [
        index
        for index, found in enumerate(finding.classes)
        if index > 0 and any((key.sop_instance_uid, key.frame_number) == image.frame for key in found.key_slices)
    ]
    return finding.classes[max(kinds, key=lambda index: probabilities[index], default=0)]


def _windows(images: Sequence[KeyImage], windows: Mapping[tuple[str, int | None], DisplayWindow]) -> list[Dataset]:
    """One item a window, with the images that are seen in it."""
    items = []
    for window in dict.fromkeys(windows[image.frame] for image in images):
        item = Dataset()
        item.ReferencedImageSequence = references([image for image in images if windows[image.frame] == window])
        item.WindowCenter, item.WindowWidth = window.level, window.width
        item.WindowCenterWidthExplanation = plain(window.name, limit=64)
        items.append(item)
    return items


def _areas(images: Sequence[KeyImage]) -> list[Dataset]:
    """The whole of each image, as large as the screen allows, true to its proportions."""
    items = []
    for size in dict.fromkeys((image.rows, image.columns, image.pixel_spacing_mm) for image in images):
        rows, columns, spacing_mm = size
        item = Dataset()
        item.ReferencedImageSequence = references(
            [image for image in images if (image.rows, image.columns, image.pixel_spacing_mm) == size]
        )
        item.DisplayedAreaTopLeftHandCorner, item.DisplayedAreaBottomRightHandCorner = [1, 1], [columns, rows]
        item.PresentationSizeMode = "SCALE TO FIT"
        item.PresentationPixelSpacing = [decimal(each) for each in spacing_mm]
        items.append(item)
    return items


def _annotation(finding: Finding, image: KeyImage, shown: ClassFinding) -> Dataset:
    number = slice_numbers(finding)[image.frame]
    probability = finding.prediction.slices[number - 1].probabilities[finding.classes.index(shown)]
    text = Dataset()
    text.UnformattedTextValue = f"{class_label(shown.name)} {percent(probability)}. {NOT_A_DIAGNOSIS}"
    text.BoundingBoxAnnotationUnits = "DISPLAY"
    text.BoundingBoxTopLeftHandCorner, text.BoundingBoxBottomRightHandCorner = map(list, _TEXT_BOX)
    text.BoundingBoxTextHorizontalJustification = "LEFT"
    annotation = Dataset()
    annotation.GraphicLayer = _LAYER
    annotation.ReferencedImageSequence = references([image])
    annotation.TextObjectSequence = [text]
    return annotation


def _layer() -> Dataset:
    layer = Dataset()
    layer.GraphicLayer, layer.GraphicLayerOrder = _LAYER, 1
    layer.GraphicLayerDescription = NOT_A_DIAGNOSIS
    return layer
