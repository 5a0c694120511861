"""Heat maps as numbers: one Parametric Map (PS3.3 A.75) over the key slices, for viewers that fuse.

A frame a key slice and class, on the grid of the stored image. Written attribute by attribute: highdicom wants a full
grid of slices by classes, where a finding has heat of some pairs only, and a frame of zeros would claim that there is
none.
"""

from collections.abc import Sequence

import numpy as np
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.sr.coding import Code
from pydicom.uid import ParametricMapStorage

from ichd.domain.delivery import ObjectKind
from ichd.domain.errors import Permanent
from ichd.domain.finding import CLASSES, Finding
from ichd.domain.geometry import dot, slice_normal
from ichd.domain.reason import Reason
from ichd.report import codes
from ichd.report.document import NOT_A_DIAGNOSIS, ReportContext, put_in_study
from ichd.report.equipment import plain, scanner_of
from ichd.report.items import coded
from ichd.report.key_image import HeatField, KeyImage, decimal, references, source_item
from ichd.report.source import legible, source_of

#: What the hottest pixel of a frame is stored as: heat has three digits at best.
HOTTEST = 1000
RELATIVE_HEAT = Code("relative-heat", codes.PRIVATE_SCHEME, "Heat relative to the hottest spot of the slice")
CLASS_ACTIVATION = Code("class-activation", codes.PRIVATE_SCHEME, "Class activation map of a neural network")
_QUANTITY = Code("246205007", "SCT", "Quantity")
_NO_UNITS = Code("1", "UCUM", "no units")
_FRAME_TYPE = ("DERIVED", "PRIMARY", "VOLUME", "QUANTITY")


def build_parametric_map(
    fields: Sequence[HeatField], finding: Finding, sources: Sequence[Dataset], context: ReportContext
) -> Dataset:
    """All heat maps of a finding in one object: 0 to 1 as 16 bits, a frame a class and key slice.

    `sources` are headers of images of the study. Equal arguments give equal bytes.

    Raises:
        Permanent: REPORT_INVALID: no source of this study, no map, images of several sizes, or without a frame of
            reference, so that no viewer could lay the map over them.
    """
    _require_one_grid(fields)
    prediction = finding.prediction
    edition = context.edition(prediction)
    ordered = sorted(fields, key=_order)
    image = Dataset()
    image.SOPClassUID = ParametricMapStorage
    image.ImageType = list(_FRAME_TYPE)
    image.BodyPartExamined = "HEAD"
    image.ContentLabel = "HEAT"
    image.ContentDescription = plain(NOT_A_DIAGNOSIS, limit=64)
    image.ContentCreatorName = None
    image.ContentQualification = "RESEARCH"
    image.BurnedInAnnotation, image.RecognizableVisualFeatures, image.LossyImageCompression = "NO", "NO", "00"
    image.PixelPresentation, image.PresentationLUTShape = "MONOCHROME", "IDENTITY"
    image.AcquisitionContextSequence = []
    image.FrameOfReferenceUID, image.PositionReferenceIndicator = fields[0].image.frame_of_reference_uid, None
    image.CodingSchemeIdentificationSequence = [_private_scheme()]
    _add_dimensions(image, edition.uid(f"{ObjectKind.PARAMETRIC}/dimensions"))
    image.SharedFunctionalGroupsSequence = [_shared()]
    places = sorted({_along(each.image) for each in ordered})
    image.PerFrameFunctionalGroupsSequence = [_frame(each, places) for each in ordered]
    image.ReferencedSeriesSequence = [_series(prediction.series_instance_uid, ordered)]
    _add_pixels(image, ordered)
    put_in_study(
        image,
        kind=ObjectKind.PARAMETRIC,
        edition=edition,
        context=context,
        source=legible(source_of(sources, prediction.study_instance_uid)),
        model=prediction.model,
        scanner=scanner_of(sources, prediction),
    )
    return image


def _require_one_grid(fields: Sequence[HeatField]) -> None:
    if not fields:
        raise Permanent(Reason.REPORT_INVALID, "a parametric map of no heat map")
    if len({each.heat_HW.shape for each in fields}) > 1:
        raise Permanent(Reason.REPORT_INVALID, "key slices of several sizes don't fit into one parametric map")
    frames_of_reference = {each.image.frame_of_reference_uid for each in fields}
    if len(frames_of_reference) > 1 or "" in frames_of_reference:
        raise Permanent(Reason.REPORT_INVALID, "the images have no common Frame of Reference UID for a parametric map")


def _order(field: HeatField) -> tuple[int, float]:
    return CLASSES.index(field.heat.class_name), _along(field.image)


def _along(image: KeyImage) -> float:
    """Position along the slice normal, mm."""
    normal = slice_normal(image.orientation)
    return 0.0 if normal is None else dot(image.position, normal)


def _private_scheme() -> Dataset:
    scheme = Dataset()
    scheme.CodingSchemeDesignator = codes.PRIVATE_SCHEME
    scheme.CodingSchemeName = "ichd"
    scheme.CodingSchemeResponsibleOrganization = "ichd"
    return scheme


def _add_dimensions(image: Dataset, organization_uid: str) -> None:
    """First the class, then the place."""
    organization = Dataset()
    organization.DimensionOrganizationUID = organization_uid
    image.DimensionOrganizationSequence = [organization]
    image.DimensionIndexSequence = [
        _dimension(organization_uid, "LUTLabel", "RealWorldValueMappingSequence", "Class"),
        _dimension(organization_uid, "ImagePositionPatient", "PlanePositionSequence", "Position"),
    ]


def _dimension(organization_uid: str, keyword: str, group: str, label: str) -> Dataset:
    dimension = Dataset()
    dimension.DimensionOrganizationUID = organization_uid
    dimension.DimensionIndexPointer, dimension.FunctionalGroupPointer = tag_for_keyword(keyword), tag_for_keyword(group)
    dimension.DimensionDescriptionLabel = label
    return dimension


def _shared() -> Dataset:
    """What holds for all frames; stored values pass as they are, and are shown from nothing to the hottest."""
    frame_type, identity, window = Dataset(), Dataset(), Dataset()
    frame_type.FrameType = list(_FRAME_TYPE)
    identity.RescaleIntercept, identity.RescaleSlope, identity.RescaleType = 0, 1, "US"
    window.WindowCenter, window.WindowWidth = HOTTEST // 2, HOTTEST
    groups = Dataset()
    groups.ParametricMapFrameTypeSequence = [frame_type]
    groups.PixelValueTransformationSequence = [identity]
    groups.FrameVOILUTSequence = [window]
    return groups


def _frame(field: HeatField, places: Sequence[float]) -> Dataset:
    heat, source = field.heat, field.image
    content, position, orientation, measures = Dataset(), Dataset(), Dataset(), Dataset()
    content.DimensionIndexValues = [CLASSES.index(heat.class_name) + 1, places.index(_along(source)) + 1]
    position.ImagePositionPatient = [decimal(v) for v in source.position]
    orientation.ImageOrientationPatient = [decimal(v) for v in source.orientation]
    measures.PixelSpacing = [decimal(v) for v in source.pixel_spacing_mm]
    if source.slice_thickness_mm is not None:
        measures.SliceThickness = decimal(source.slice_thickness_mm)
    groups = Dataset()
    groups.FrameContentSequence = [content]
    groups.PlanePositionSequence = [position]
    groups.PlaneOrientationSequence = [orientation]
    groups.PixelMeasuresSequence = [measures]
    groups.DerivationImageSequence = [_derivation(source)]
    groups.RealWorldValueMappingSequence = [_mapping(heat.class_name)]
    return groups


def _derivation(source: KeyImage) -> Dataset:
    frames = () if source.frame_number is None else (source.frame_number,)
    derivation = Dataset()
    derivation.SourceImageSequence = [source_item(source.sop_class_uid, source.sop_instance_uid, frames)]
    derivation.DerivationCodeSequence = [coded(CLASS_ACTIVATION)]
    return derivation


def _mapping(class_name: str) -> Dataset:
    """What a stored value means (PS3.3 C.7.6.16.2.11)."""
    mapping = Dataset()
    mapping.RealWorldValueFirstValueMapped, mapping.RealWorldValueLastValueMapped = 0, HOTTEST
    mapping["RealWorldValueFirstValueMapped"].VR = mapping["RealWorldValueLastValueMapped"].VR = "US"
    mapping.RealWorldValueIntercept, mapping.RealWorldValueSlope = 0.0, 1 / HOTTEST
    mapping.LUTLabel = class_name  # the longest name has the 16 characters that SH allows
    mapping.LUTExplanation = plain(f"Where the model saw it, relative to each slice. {NOT_A_DIAGNOSIS}", limit=64)
    mapping.MeasurementUnitsCodeSequence = [coded(_NO_UNITS)]
    mapping.QuantityDefinitionSequence = [
        _quantity(_QUANTITY, RELATIVE_HEAT),
        _quantity(codes.FINDING, codes.FINDING_TYPE[class_name]),
    ]
    return mapping


def _quantity(name: Code, value: Code) -> Dataset:
    """A content item without a tree around it (PS3.3 table 10-2)."""
    item = Dataset()
    item.ValueType = "CODE"
    item.ConceptNameCodeSequence = [coded(name)]
    item.ConceptCodeSequence = [coded(value)]
    return item


def _series(series_instance_uid: str, fields: Sequence[HeatField]) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = series_instance_uid
    instances = references([each.image for each in fields])
    for item in instances:
        item.pop("ReferencedFrameNumber", None)
    series.ReferencedInstanceSequence = instances
    return series


def _add_pixels(image: Dataset, fields: Sequence[HeatField]) -> None:
    image.NumberOfFrames = len(fields)
    image.Rows, image.Columns = fields[0].heat_HW.shape
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
    stored = (np.rint(each.heat_HW * HOTTEST).astype("<u2") for each in fields)
    image.add_new("PixelData", "OW", b"".join(each.tobytes() for each in stored))
