"""The slices to look at first, as a Key Object Selection (PS3.3 A.35.4, PS3.16 TID 2010)."""

from collections.abc import Iterator, Sequence

from pydicom import Dataset

from ichd.domain.delivery import SOP_CLASSES, ObjectKind
from ichd.domain.finding import Finding, Presence
from ichd.report import codes
from ichd.report.content import device_observer
from ichd.report.document import NOT_A_DIAGNOSIS, ReportContext, put_in_study
from ichd.report.equipment import plain
from ichd.report.evidence import evidence_of, top_slices
from ichd.report.items import Relationship, code_item, container, image_item, text_item
from ichd.report.source import legible, source_of


def build_key_objects(finding: Finding, sources: Sequence[Dataset], context: ReportContext) -> Dataset:
    """The selection titled Of Interest: what `evidence.top_slices` names, with the triage in words.

    Raises:
        Permanent: REPORT_INVALID, no source of this study.
    """
    prediction = finding.prediction
    source = legible(source_of(sources, prediction.study_instance_uid))
    images = top_slices(finding)
    selection = container(
        codes.OF_INTEREST,
        [
            code_item(codes.LANGUAGE, codes.ENGLISH, Relationship.HAS_CONCEPT_MOD),
            *device_observer(context),
            text_item(codes.KEY_OBJECT_DESCRIPTION, plain(" ".join(_description(finding)))),
            *map(image_item, images),
        ],
        None,
        template="2010",
    )
    selection.SOPClassUID = SOP_CLASSES[ObjectKind.KO]
    put_in_study(
        selection,
        kind=ObjectKind.KO,
        edition=context.edition(prediction),
        context=context,
        source=source,
        model=prediction.model,
    )
    selection.ReferencedPerformedProcedureStepSequence = []
    selection.CurrentRequestedProcedureEvidenceSequence = evidence_of(prediction, images)
    return selection


def _description(finding: Finding) -> Iterator[str]:
    """A few words, since viewers show them beside a thumbnail."""
    model = finding.prediction.model
    yield NOT_A_DIAGNOSIS
    if model.demonstration:
        yield f"{codes.DEMONSTRATION.meaning}."
    yield f"Triage: {finding.triage}."
    for presence, words in ((Presence.PRESENT, "Called"), (Presence.UNDETERMINED, "Not sure")):
        if named := [c.name for c in finding.classes if c.presence is presence]:
            yield f"{words}: {', '.join(named)}."
    if all(c.presence is Presence.ABSENT for c in finding.classes):
        yield "Nothing called; the slice with the highest probability is shown."
    yield f"By {model.name} {model.version}."
