"""How each kind of object and message is made."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pydicom import Dataset

from ichd.domain.delivery import SOP_CLASSES, ObjectKind, Outgoing, Rendered
from ichd.domain.finding import Finding
from ichd.domain.reason import Reason
from ichd.pipeline.desk import Desk
from ichd.pipeline.pictures import display_windows, heat_fields, heat_pictures, key_images, summary_pictures
from ichd.report.capture import build_heat_captures, build_summary
from ichd.report.document import encode
from ichd.report.hl7 import build_oru, build_priority, build_unread_oru
from ichd.report.hl7_letter import control_id
from ichd.report.keys import build_key_objects
from ichd.report.parametric import build_parametric_map
from ichd.report.presentation import build_presentation
from ichd.report.sr import build_report
from ichd.report.summary import draw_summary
from ichd.report.unread import Unread, build_unread
from ichd.report.webhook_body import build_json

Objects = Sequence[Rendered]


def _objects(*datasets: Dataset) -> list[Rendered]:
    return [
        Rendered(
            sop_class_uid=str(dataset.SOPClassUID),
            sop_instance_uid=str(dataset.SOPInstanceUID),
            content=encode(dataset),
        )
        for dataset in datasets
    ]


def _structured(kind: ObjectKind) -> Callable[[Desk], Objects]:
    def make(desk: Desk) -> Objects:
        if desk.finding is None:
            return _objects(build_unread(_unread(desk), desk.sources, desk.context, kind))
        return _objects(build_report(desk.finding, desk.sources, desk.context, kind))

    return make


def _unread(desk: Desk) -> Unread:
    record = desk.work.record
    return Unread(study_instance_uid=desk.work.study_uid, reason=Reason(record["reason"]), detail=record["detail"])


def _of_finding(make: Callable[[Desk, Finding], Objects]) -> Callable[[Desk], Objects]:
    """What there is only where something was read."""
    return lambda desk: () if desk.finding is None else make(desk, desk.finding)


def _key_objects(desk: Desk, finding: Finding) -> Objects:
    return _objects(build_key_objects(finding, desk.sources, desk.context))


def _summary(desk: Desk, finding: Finding) -> Objects:
    pictures = summary_pictures(finding, desk.images.files, desk.leading_heat)
    accession_number = str(desk.sources[0].get("AccessionNumber") or "")
    page = draw_summary(finding, pictures, desk.context, accession_number)
    return _objects(build_summary(page, finding, desk.sources, desk.context))


def _heat_captures(desk: Desk, finding: Finding) -> Objects:
    pictures = heat_pictures(finding, desk.images.files, desk.heat)
    return _objects(*build_heat_captures(pictures, finding, desk.sources, desk.context)) if pictures else ()


def _parametric(desk: Desk, finding: Finding) -> Objects:
    fields = heat_fields(finding, desk.images.files, desk.heat)
    return _objects(build_parametric_map(fields, finding, desk.sources, desk.context)) if fields else ()


def _presentation(desk: Desk, finding: Finding) -> Objects:
    images = key_images(finding, desk.images.files)
    return _objects(build_presentation(images, display_windows(), finding, desk.sources, desk.context))


def _message(desk: Desk, kind: ObjectKind, content: bytes | None) -> Objects:
    if content is None:
        return ()
    known_by = control_id(desk.edition, kind, desk.addressee.destination)
    return [Rendered(sop_class_uid="", sop_instance_uid=known_by, content=content)]


def _result(desk: Desk) -> Objects:
    if desk.finding is not None:
        content = build_oru(desk.finding, desk.sources, desk.context, desk.addressee)
    else:
        content = build_unread_oru(_unread(desk), desk.sources, desk.context, desk.addressee)
    return _message(desk, ObjectKind.RESULT, content)


def _priority(desk: Desk, finding: Finding) -> Objects:
    return _message(desk, ObjectKind.PRIORITY, build_priority(finding, desk.sources, desk.context, desk.addressee))


def _json(kind: ObjectKind) -> Callable[[Desk], Objects]:
    identified = kind is ObjectKind.JSON_IDENTIFIED

    def make(desk: Desk) -> Objects:
        content = build_json(
            desk.work.record,
            revision=desk.work.revision,
            created_at=desk.work.created_at,
            sources=desk.sources if identified else (),
            identified=identified,
            objects=_others(desk),
        )
        return _message(desk, kind, content)

    return make


def _others(desk: Desk) -> list[Outgoing]:
    """The report and its companions, by which a receiver finds them in an archive that gets them."""
    kinds = (ObjectKind.SR, ObjectKind.KO, ObjectKind.SC) if desk.finding else (ObjectKind.SR,)
    return [
        Outgoing(kind=kind, sop_class_uid=SOP_CLASSES[kind], sop_instance_uid=desk.edition.uid(kind), path=Path())
        for kind in kinds
    ]


MAKERS: Mapping[ObjectKind, Callable[[Desk], Objects]] = {
    ObjectKind.SR: _structured(ObjectKind.SR),
    ObjectKind.SR_COMPREHENSIVE: _structured(ObjectKind.SR_COMPREHENSIVE),
    ObjectKind.SR_ENHANCED: _structured(ObjectKind.SR_ENHANCED),
    ObjectKind.KO: _of_finding(_key_objects),
    ObjectKind.SC: _of_finding(_summary),
    ObjectKind.HEAT: _of_finding(_heat_captures),
    ObjectKind.PARAMETRIC: _of_finding(_parametric),
    ObjectKind.GSPS: _of_finding(_presentation),
    ObjectKind.RESULT: _result,
    ObjectKind.PRIORITY: _of_finding(_priority),
    ObjectKind.JSON: _json(ObjectKind.JSON),
    ObjectKind.JSON_IDENTIFIED: _json(ObjectKind.JSON_IDENTIFIED),
}
