"""A finding as a Comprehensive 3D SR with a Measurement Report (PS3.16 TID 1500).

The tree, with the rows it fills:

    Imaging Measurement Report            TID 1500
    ├── language, device observer         TID 1204, 1002, 1004
    ├── procedure reported: CT of head    TID 1500
    ├── Imaging Measurements              TID 1500
    │   └── six Measurement Groups        TID 1501: one a class, negatives too
    │       ├── tracking, finding, site
    │       ├── algorithm                 TID 4019
    │       ├── Probability, in percent   TID 300
    │       ├── Presence                  coded
    │       └── key slices                images
    └── Qualitative Evaluations           TID 1500
        ├── Triage level                  coded
        └── comments                      text

Only key slices are referenced: every reference costs time and bytes, and a whole series of them makes megabytes.
"""

from collections.abc import Iterator, Sequence

from highdicom import sr
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom import Dataset
from pydicom.config import disable_value_validation
from pydicom.uid import Comprehensive3DSRStorage, ExplicitVRLittleEndian

from ichd.domain.delivery import ObjectKind
from ichd.domain.finding import CLASSES, ClassFinding, Finding, ModelIdentity, Prediction, SlicePrediction
from ichd.report import codes
from ichd.report.document import MANUFACTURER, NOT_A_DIAGNOSIS, ReportContext, plain, put_in_study
from ichd.report.identity import Edition, device_uid, tracking_uid
from ichd.report.source import empty_patient_and_study, legible, source_of

#: The maximum grows with the number of slices, and no reader may take it for the scan's calibrated risk.
HIGHEST_SLICE = "Each probability is that of the slice with the highest one, not a calibrated risk of the scan."
#: Row titles in viewers that list measurement groups.
TRACKING_IDENTIFIER = {name: f"ICH {'any kind' if name == CLASSES[0] else name}" for name in CLASSES}
#: A study of a hundred series must not drown its finding in the reasons why 99 were not read.
MAX_SKIPPED_COMMENTS = 10


# pydicom quotes malformed values in the warnings that it logs, and these are a patient's.
@disable_value_validation()
def build_report(finding: Finding, sources: Sequence[Dataset], context: ReportContext) -> Dataset:
    """The report on `finding`, ready to be written or sent (Explicit VR Little Endian).

    `sources` are headers of images of the study, no pixels needed; the first that belongs to the study gives patient
    and study. Key slices are referenced by what the finding knows of them, so a header that is missing costs nothing.
    Equal arguments give equal bytes, on machines in one time zone.

    Raises:
        Permanent: REPORT_INVALID: no source of this study, or values that DICOM can't hold.
    """
    prediction = finding.prediction
    source = legible(source_of(sources, prediction.study_instance_uid))
    edition = context.edition(prediction)
    report = sr.Comprehensive3DSR(
        evidence=_evidence(finding),
        content=_content(finding, context)[0],
        series_instance_uid=edition.series_uid(ObjectKind.SR),
        series_number=1,
        sop_instance_uid=edition.uid(ObjectKind.SR),
        instance_number=1,
        manufacturer=MANUFACTURER,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        is_complete=True,
        is_verified=False,
        previous_versions=[_predecessor(context.predecessor)] if context.predecessor else None,
        coding_schemes=[
            CodingSchemeIdentificationItem(
                designator=codes.PRIVATE_SCHEME,
                name="ichd triage levels",
                responsible_organization="ichd",
            )
        ],
    )
    put_in_study(report, kind=ObjectKind.SR, edition=edition, context=context, source=source, model=prediction.model)
    return report


def _evidence(finding: Finding) -> list[Dataset]:
    """The key slices, and at least one slice of the series that was read, so that a negative report names it too."""
    prediction = finding.prediction
    key_slices = {s.sop_instance_uid: s for c in finding.classes for s in c.key_slices}
    if not key_slices:
        middle = prediction.slices[len(prediction.slices) // 2]
        key_slices = {middle.sop_instance_uid: middle}
    evidence = []
    for key_slice in key_slices.values():
        reference = empty_patient_and_study()
        reference.StudyInstanceUID = prediction.study_instance_uid
        reference.SeriesInstanceUID = prediction.series_instance_uid
        reference.SOPClassUID = key_slice.sop_class_uid
        reference.SOPInstanceUID = key_slice.sop_instance_uid
        evidence.append(reference)
    return evidence


def _predecessor(edition: Edition) -> Dataset:
    predecessor = Dataset()
    predecessor.StudyInstanceUID = edition.study_instance_uid
    predecessor.SeriesInstanceUID = edition.series_uid(ObjectKind.SR)
    predecessor.SOPClassUID = Comprehensive3DSRStorage
    predecessor.SOPInstanceUID = edition.uid(ObjectKind.SR)
    return predecessor


def _content(finding: Finding, context: ReportContext) -> sr.MeasurementReport:
    content = sr.MeasurementReport(
        title=codes.IMAGING_MEASUREMENT_REPORT,
        observation_context=_observer(context),
        procedure_reported=codes.CT_OF_HEAD,
        imaging_measurements=[_measurement_group(finding, c) for c in finding.classes],
    )
    content[0].ContentSequence.append(_evaluations(finding, context))
    return content


def _observer(context: ReportContext) -> sr.ObservationContext:
    """A device, and no person: nobody has looked at this result yet."""
    return sr.ObservationContext(
        observer_device_context=sr.ObserverContext(
            observer_type=sr.CodedConcept("121007", "DCM", "Device"),
            observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
                uid=device_uid(),
                name="ichd",
                manufacturer_name="ichd",
                model_name=plain(f"ichd {context.software_version}"),
            ),
        )
    )


def _measurement_group(finding: Finding, class_finding: ClassFinding) -> sr.MeasurementsAndQualitativeEvaluations:
    prediction = finding.prediction
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            identifier=TRACKING_IDENTIFIER[class_finding.name],
            uid=tracking_uid(
                study_instance_uid=prediction.study_instance_uid,
                bundle_sha256=prediction.model.bundle_sha256,
                class_name=class_finding.name,
            ),
        ),
        finding_type=codes.FINDING_TYPE[class_finding.name],
        finding_sites=[sr.FindingSite(anatomic_location=codes.FINDING_SITE[class_finding.name])],
        algorithm_id=_algorithm(prediction.model, class_finding),
        measurements=[
            sr.Measurement(name=codes.PROBABILITY, value=100.0 * float(class_finding.probability), unit=codes.PERCENT)
        ],
        qualitative_evaluations=[
            sr.QualitativeEvaluation(codes.PRESENCE, codes.PRESENCE_VALUE[class_finding.presence])
        ],
        source_images=[_reference(s) for s in class_finding.key_slices] or None,
    )


def _reference(key_slice: SlicePrediction) -> sr.SourceImageForMeasurementGroup:
    frame = key_slice.frame_number
    return sr.SourceImageForMeasurementGroup(
        key_slice.sop_class_uid, key_slice.sop_instance_uid, referenced_frame_numbers=None if frame is None else [frame]
    )


def _algorithm(model: ModelIdentity, class_finding: ClassFinding) -> sr.AlgorithmIdentification:
    parameters = [
        f"weights_sha256={model.weights_sha256}",
        f"bundle_sha256={model.bundle_sha256}",
        f"present_from={class_finding.threshold.present_from!r}",
        f"absent_below={class_finding.threshold.absent_below!r}",
        f"demonstration={'yes' if model.demonstration else 'no'}",
    ]
    if model.statement:
        parameters.append(plain(f"statement={model.statement}"))
    return sr.AlgorithmIdentification(
        name=plain(model.name),
        version=plain(model.version),
        family=codes.ARTIFICIAL_INTELLIGENCE,
        parameters=parameters,
    )


def _evaluations(finding: Finding, context: ReportContext) -> sr.ContainerContentItem:
    """What holds for the scan as a whole: triage, and what a reader must know before he believes it."""
    container = sr.ContainerContentItem(
        name=codes.QUALITATIVE_EVALUATIONS, relationship_type=sr.RelationshipTypeValues.CONTAINS
    )
    container.ContentSequence = sr.ContentSequence(
        [
            sr.CodeContentItem(
                name=codes.TRIAGE,
                value=codes.TRIAGE_VALUE[finding.triage],
                relationship_type=sr.RelationshipTypeValues.CONTAINS,
            ),
            *(
                sr.TextContentItem(
                    name=codes.COMMENT,
                    value=plain(comment),
                    relationship_type=sr.RelationshipTypeValues.CONTAINS,
                )
                for comment in _comments(finding.prediction, context)
            ),
        ]
    )
    return container


def _comments(prediction: Prediction, context: ReportContext) -> Iterator[str]:
    model = prediction.model
    yield NOT_A_DIAGNOSIS
    if model.statement:
        yield f"{model.name} {model.version}: {model.statement}"
    yield HIGHEST_SLICE
    yield from (f"Input: {note}." for note in prediction.notes)
    for skipped in context.skipped[:MAX_SKIPPED_COMMENTS]:
        detail = f" ({skipped.detail})" if skipped.detail else ""
        yield f"Series {skipped.series_instance_uid} was not read: {skipped.reason.meaning}{detail}"
    if len(context.skipped) > MAX_SKIPPED_COMMENTS:
        yield f"{len(context.skipped) - MAX_SKIPPED_COMMENTS} more series were not read."
