"""A finding as a Structured Report, in each of the three SOP classes that can hold its tree (see `content`)."""

from collections.abc import Sequence

from pydicom import Dataset

from ichd.domain.delivery import SOP_CLASSES, ObjectKind
from ichd.domain.finding import Finding, ModelIdentity
from ichd.report import codes
from ichd.report.content import measurement_report
from ichd.report.document import ReportContext, put_in_study
from ichd.report.equipment import MANUFACTURER
from ichd.report.evidence import evidence_of, key_slices, referenced_study
from ichd.report.identity import Edition
from ichd.report.source import legible, source_of

#: The rungs of the capability ladder that are Structured Reports.
RUNGS = (ObjectKind.SR, ObjectKind.SR_COMPREHENSIVE, ObjectKind.SR_ENHANCED)


def build_report(
    finding: Finding, sources: Sequence[Dataset], context: ReportContext, kind: ObjectKind = ObjectKind.SR
) -> Dataset:
    """The report on `finding`, ready to be written or sent (Explicit VR Little Endian).

    `sources` are headers of images of the study, no pixels needed; the first that belongs to the study gives patient
    and study. Key slices are referenced by what the finding knows of them, so a header that is missing costs nothing.
    Equal arguments give equal bytes, on machines in one time zone. Each kind is an object of its own; a predecessor is
    named by its object of the same kind.

    Raises:
        Permanent: REPORT_INVALID, no source of this study.
    """
    prediction = finding.prediction
    source = legible(source_of(sources, prediction.study_instance_uid))
    images = key_slices(finding)
    report = structured_report(
        measurement_report(finding, images, source, context),
        kind=kind,
        edition=context.edition(prediction),
        context=context,
        source=source,
        model=prediction.model,
    )
    report.CurrentRequestedProcedureEvidenceSequence = evidence_of(prediction, images)
    return report


def structured_report(
    root: Dataset,
    *,
    kind: ObjectKind,
    edition: Edition,
    context: ReportContext,
    source: Dataset,
    model: ModelIdentity | None,
) -> Dataset:
    """A content tree as a document: complete, and verified by nobody (SR Document General, PS3.3 C.17.2).

    Raises:
        ValueError: `kind` is no Structured Report.
    """
    if kind not in RUNGS:
        raise ValueError(f"{kind} is no Structured Report")
    report = root
    report.SOPClassUID = SOP_CLASSES[kind]
    put_in_study(report, kind=kind, edition=edition, context=context, source=source, model=model)
    report.CompletionFlag = "COMPLETE"
    report.PreliminaryFlag = "PRELIMINARY"
    report.VerificationFlag = "UNVERIFIED"
    report.ReferencedPerformedProcedureStepSequence = []
    report.PerformedProcedureCodeSequence = []
    report.CodingSchemeIdentificationSequence = [_private_scheme()]
    if context.predecessor is not None:
        report.PredecessorDocumentsSequence = _predecessor(context.predecessor, kind)
    return report


def _private_scheme() -> Dataset:
    scheme = Dataset()
    scheme.CodingSchemeDesignator = codes.PRIVATE_SCHEME
    scheme.CodingSchemeName = "ichd codes"
    scheme.CodingSchemeResponsibleOrganization = MANUFACTURER
    return scheme


def _predecessor(edition: Edition, kind: ObjectKind) -> list[Dataset]:
    reference = Dataset()
    reference.ReferencedSOPClassUID = SOP_CLASSES[kind]
    reference.ReferencedSOPInstanceUID = edition.uid(kind)
    return referenced_study(edition.study_instance_uid, edition.series_uid(kind), [reference])
