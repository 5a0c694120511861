"""A study that was read and reported, and what readers may say of it."""

from collections.abc import Sequence
from io import BytesIO

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.uid import generate_uid
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from ichd.domain.delivery import ObjectKind
from ichd.report.sr import build_report
from ichd.store.spool import Spool
from ichd.store.tables import RenditionRow, StudyRow
from tests.report.findings import CONTEXT, STUDY_UID, bleeding, header, slice_uid
from tests.store.house import house_on, read_record

REJECTED = CodedConcept("113001", "DCM", "Rejected for Quality Reasons")
OF_INTEREST = CodedConcept("113000", "DCM", "Of Interest")


def report_a_study(engine: Engine, spool: Spool) -> Dataset:
    """Have the study of `tests.report.findings` read; its report."""
    house = house_on(engine, spool)
    house.ready(study=STUDY_UID)
    house.analyse(record=read_record(series_uid=f"{STUDY_UID}.1"))
    report = build_report(bleeding(), [header()], CONTEXT)
    with Session(engine) as session, session.begin():
        study = session.query(StudyRow).filter_by(study_instance_uid=STUDY_UID).one()
        session.add(
            RenditionRow(
                study_id=study.id,
                revision=1,
                kind=ObjectKind.SR,
                destination="",
                number=1,
                sop_class_uid=report.SOPClassUID,
                sop_instance_uid=report.SOPInstanceUID,
                path="report",
                sha256="",
                size=0,
                rendered_at=house.now,
            )
        )
    return report


def key_object(objects: Sequence[Dataset], title: CodedConcept = REJECTED) -> Dataset:
    """A Key Object Selection as a viewer makes it."""
    return KeyObjectSelectionDocument(
        evidence=list(objects),
        content=KeyObjectSelection(document_title=title, referenced_objects=list(objects)),
        series_instance_uid=generate_uid(),
        series_number=99,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="Viewer",
    )


def an_image() -> Dataset:
    """A CT image of the study."""
    image = header()
    image.SOPInstanceUID, image.InstanceNumber, image.Rows, image.Columns = slice_uid(3), 1, 8, 8
    return image


def file_of(dataset: Dataset) -> bytes:
    """As a DICOM file."""
    content = BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    return content.getvalue()
