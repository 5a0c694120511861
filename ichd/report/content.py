"""The content tree of a Measurement Report (PS3.16 TID 1500) on a finding.

The tree, with the templates whose rows it fills:

    Imaging Measurement Report            TID 1500
    ├── language, device observer         TID 1204, 1002, 1004
    ├── procedure reported: CT of head    TID 1500
    ├── Image Library                     TID 1600
    │   └── what the series has in common TID 1602
    │       └── key slices                TID 1601
    ├── Imaging Measurements              TID 1500
    │   └── six Measurement Groups        TID 1501: one a class, negatives too
    │       ├── tracking                  TID 4108
    │       ├── finding, site, algorithm  TID 4019
    │       ├── Probability of the scan   TID 300: in percent, derived by the bundle's calibration, where it has one
    │       ├── Probability of the scan   derived as the maximum of
    │       ├── Probability of each key slice, inferred from it
    │       ├── key slices                images
    │       └── Presence                  coded
    └── Qualitative Evaluations           TID 1500
        ├── triage, status of the result  coded
        └── comments, notes on the input  text

Only key slices are referenced: every reference costs time and bytes, and a whole series of them makes megabytes.
"""

from collections.abc import Iterator, Sequence

from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.sr.coding import Code

from ichd.domain.finding import CLASSES, ClassFinding, Finding, ModelIdentity, SlicePrediction
from ichd.domain.note import Note, Remark
from ichd.domain.wording import meaning_of_probabilities
from ichd.report import codes
from ichd.report.document import NOT_A_DIAGNOSIS, ReportContext
from ichd.report.equipment import MANUFACTURER, plain
from ichd.report.identity import device_uid, tracking_uid
from ichd.report.items import Relationship, code_item, container, image_item, number_item, text_item, uid_item

#: Row titles in viewers that list measurement groups.
TRACKING_IDENTIFIER = {name: f"ICH {'any kind' if name == CLASSES[0] else name}" for name in CLASSES}
#: A study of a hundred series must not drown its finding in the reasons why 99 were not read.
MAX_SKIPPED_COMMENTS = 10


def measurement_report(
    finding: Finding, images: Sequence[SlicePrediction], source: Dataset, context: ReportContext
) -> Dataset:
    """The root of the tree; `images` are the slices of the library, `source` is the (legible) header of an image."""
    return root(
        codes.CT_OF_HEAD,
        context,
        [
            _image_library(finding, images, source),
            container(codes.IMAGING_MEASUREMENTS, [_measurement_group(finding, c) for c in finding.classes]),
            container(codes.QUALITATIVE_EVALUATIONS, _evaluations(finding, context)),
        ],
    )


def root(procedure: Code, context: ReportContext, children: Sequence[Dataset]) -> Dataset:
    """The rows that every Measurement Report begins with."""
    return container(
        codes.IMAGING_MEASUREMENT_REPORT,
        [
            code_item(codes.LANGUAGE, codes.ENGLISH, Relationship.HAS_CONCEPT_MOD),
            *device_observer(context),
            code_item(codes.PROCEDURE_REPORTED, procedure, Relationship.HAS_CONCEPT_MOD),
            *children,
        ],
        None,
        template="1500",
    )


def device_observer(context: ReportContext) -> list[Dataset]:
    """A device, and no person: nobody has looked at this result yet (TID 1002, 1004)."""
    observer = Relationship.HAS_OBS_CONTEXT
    return [
        code_item(codes.OBSERVER_TYPE, codes.DEVICE, observer),
        uid_item(codes.DEVICE_UID, device_uid(), observer),
        text_item(codes.DEVICE_NAME, MANUFACTURER, observer),
        text_item(codes.DEVICE_MANUFACTURER, MANUFACTURER, observer),
        text_item(codes.DEVICE_MODEL, plain(f"{MANUFACTURER} {context.software_version}"), observer),
    ]


def _image_library(finding: Finding, images: Sequence[SlicePrediction], source: Dataset) -> Dataset:
    acquisition = Relationship.HAS_ACQ_CONTEXT
    descriptors = [
        code_item(codes.MODALITY, codes.COMPUTED_TOMOGRAPHY, acquisition),
        code_item(codes.TARGET_REGION, codes.HEAD, acquisition),
    ]
    if source.get("SeriesInstanceUID") == finding.prediction.series_instance_uid:
        descriptors.extend(_common_to_the_series(source))
    entries = [image_item(image) for image in images]
    return container(codes.IMAGE_LIBRARY, [container(codes.IMAGE_LIBRARY_GROUP, [*descriptors, *entries])])


def _common_to_the_series(source: Dataset) -> Iterator[Dataset]:
    """What TID 1602 and 1604 have for a stack, as far as the header has it."""
    acquisition = Relationship.HAS_ACQ_CONTEXT
    if frame_of_reference := source.get("FrameOfReferenceUID"):
        yield uid_item(codes.FRAME_OF_REFERENCE, str(frame_of_reference), acquisition)
    spacing = source.get("PixelSpacing")
    row_spacing, column_spacing = spacing if isinstance(spacing, MultiValue) and len(spacing) == 2 else (None, None)
    for name, value, unit in (
        (codes.PIXEL_ROWS, source.get("Rows"), codes.PIXELS),
        (codes.PIXEL_COLUMNS, source.get("Columns"), codes.PIXELS),
        (codes.HORIZONTAL_SPACING, column_spacing, codes.MILLIMETRE),
        (codes.VERTICAL_SPACING, row_spacing, codes.MILLIMETRE),
        (codes.SLICE_THICKNESS, source.get("SliceThickness"), codes.MILLIMETRE),
    ):
        if isinstance(value, int | float) and value > 0:
            yield number_item(name, float(value), unit, acquisition)


def _measurement_group(finding: Finding, class_finding: ClassFinding) -> Dataset:
    prediction = finding.prediction
    index = CLASSES.index(class_finding.name)
    tracking = tracking_uid(
        study_instance_uid=prediction.study_instance_uid,
        bundle_sha256=prediction.model.bundle_sha256,
        class_name=class_finding.name,
    )
    return container(
        codes.MEASUREMENT_GROUP,
        [
            text_item(codes.TRACKING_IDENTIFIER, TRACKING_IDENTIFIER[class_finding.name], Relationship.HAS_OBS_CONTEXT),
            uid_item(codes.TRACKING_UID, tracking, Relationship.HAS_OBS_CONTEXT),
            code_item(codes.FINDING, codes.FINDING_TYPE[class_finding.name]),
            code_item(codes.SITE, codes.FINDING_SITE[class_finding.name], Relationship.HAS_CONCEPT_MOD),
            *_algorithm(prediction.model, class_finding),
            *_of_scan(class_finding),
            *(
                _probability(
                    s.probabilities[index],
                    image_item(s, Relationship.INFERRED_FROM, name=codes.SOURCE_OF_MEASUREMENT),
                )
                for s in class_finding.key_slices
            ),
            *(image_item(s, name=codes.SOURCE_OF_MEASUREMENT) for s in class_finding.key_slices),
            code_item(codes.PRESENCE, codes.PRESENCE_VALUE[class_finding.presence]),
        ],
        template="1501",
    )


def _of_scan(class_finding: ClassFinding) -> Iterator[Dataset]:
    """The scan's probability first: who takes one number from the group takes this."""
    modifier = Relationship.HAS_CONCEPT_MOD
    if class_finding.calibration is not None:
        yield _probability(class_finding.probability, code_item(codes.DERIVATION, codes.CALIBRATED, modifier))
    yield _probability(class_finding.highest_slice, code_item(codes.DERIVATION, codes.MAXIMUM, modifier))


def _probability(probability: float, origin: Dataset) -> Dataset:
    """In percent, with the item that says what it was derived or inferred from."""
    return number_item(codes.PROBABILITY, 100.0 * float(probability), codes.PERCENT, children=[origin])


def _algorithm(model: ModelIdentity, class_finding: ClassFinding) -> Iterator[Dataset]:
    modifier = Relationship.HAS_CONCEPT_MOD
    yield text_item(codes.ALGORITHM_NAME, plain(model.name), modifier)
    yield text_item(codes.ALGORITHM_VERSION, plain(model.version), modifier)
    parameters = [
        f"weights_sha256={model.weights_sha256}",
        f"bundle_sha256={model.bundle_sha256}",
        f"present_from={class_finding.threshold.present_from!r}",
        f"absent_below={class_finding.threshold.absent_below!r}",
        f"demonstration={'yes' if model.demonstration else 'no'}",
    ]
    if model.statement:
        parameters.append(plain(f"statement={model.statement}"))
    for parameter in parameters:
        yield text_item(codes.ALGORITHM_PARAMETERS, parameter, modifier)
    yield code_item(codes.ALGORITHM_FAMILY, codes.ARTIFICIAL_INTELLIGENCE, modifier)


def _evaluations(finding: Finding, context: ReportContext) -> Iterator[Dataset]:
    """What holds for the scan as a whole: triage, and what a reader must know before he believes it."""
    prediction = finding.prediction
    model = prediction.model
    yield code_item(codes.TRIAGE, codes.TRIAGE_VALUE[finding.triage])
    yield code_item(codes.STATUS, codes.DEMONSTRATION if model.demonstration else codes.RESEARCH)
    yield text_item(codes.COMMENT, NOT_A_DIAGNOSIS)
    if model.statement:
        yield text_item(codes.COMMENT, plain(f"{model.name} {model.version}: {model.statement}"))
    yield text_item(codes.CALIBRATION, meaning_of_probabilities(finding))
    yield from map(_input_note, prediction.notes)
    yield from skipped_series(context)


def _input_note(note: Note) -> Dataset:
    name = codes.COMMENT if note.remark is Remark.UNCODED else codes.remark_code(note.remark)
    return text_item(name, plain(f"Input: {note}."))


def skipped_series(context: ReportContext) -> Iterator[Dataset]:
    """The series that were not read, each by its coded reason, and how many more there are."""
    for skipped in context.skipped[:MAX_SKIPPED_COMMENTS]:
        detail = f" ({skipped.detail})" if skipped.detail else ""
        sentence = f"Series {skipped.series_instance_uid} was not read: {skipped.reason.meaning}{detail}"
        yield text_item(codes.reason_code(skipped.reason), plain(sentence))
    if len(context.skipped) > MAX_SKIPPED_COMMENTS:
        yield text_item(codes.COMMENT, f"{len(context.skipped) - MAX_SKIPPED_COMMENTS} more series were not read.")
