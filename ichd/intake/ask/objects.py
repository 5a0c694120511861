"""Objects of any kind at an archive, found by study and fetched whole: reports, key objects, pictures.

They are held in memory and go to nobody's spool: who asks wants to see what an archive has.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pynetdicom import evt
from pynetdicom.dimse_primitives import C_STORE

from ichd.domain.errors import Permanent, Transient
from ichd.domain.reason import Reason
from ichd.intake.ask.association import associated, service
from ichd.intake.ask.dimse_find import identifier
from ichd.intake.ask.get import STUDY_ROOT_GET
from ichd.intake.ask.rows import Archive, Level
from ichd.intake.ask.sources import DimseSource, Source, WebSource
from ichd.intake.ask.suboperations import completed
from ichd.intake.ask.wado import ACCEPT_ANY, boundary_of
from ichd.intake.ask.web import answer_to, web_client
from ichd.intake.part10 import file_meta
from ichd.intake.stow.multipart import NotMultipart, read_parts
from ichd.intake.values import is_uid

#: A page of a megapixel in colour has three MiB.
MOST_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class FoundObject:
    """One object of a study, as an archive lists it."""

    study_uid: str
    series_uid: str
    sop_instance_uid: str
    #: Empty where the archive does not say.
    sop_class_uid: str
    modality: str


def find_objects(archive: Archive, study_uid: str, *, modality: str) -> list[FoundObject]:
    """All objects of that modality in a study.

    Raises:
        Transient, Permanent: as `Archive.find`.
    """
    rows = archive.find(Level.SERIES, {"StudyInstanceUID": study_uid, "Modality": modality})
    # An archive that does not match by modality answers with all.
    series = {row.get("SeriesInstanceUID", "") for row in rows if row.get("Modality") == modality}
    found = []
    for series_uid in filter(is_uid, sorted(series)):
        images = archive.find(Level.IMAGE, {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid})
        found += [
            FoundObject(
                study_uid=study_uid,
                series_uid=series_uid,
                sop_instance_uid=image["SOPInstanceUID"],
                sop_class_uid=image.get("SOPClassUID", ""),
                modality=modality,
            )
            for image in images
            if is_uid(image.get("SOPInstanceUID", ""))
        ]
    return found


def fetch_object(source: Source, wanted: FoundObject, *, sop_classes: Sequence[str]) -> Dataset:
    """The object, by C-GET or WADO-RS; `sop_classes` are those that it may have.

    Raises:
        SettingsError: certificates can't be used.
        Transient: the archive does not answer, or is busy.
        Permanent: it does not hand the object over, or what it hands over is no DICOM.
    """
    content = _got(source, wanted, sop_classes) if isinstance(source, DimseSource) else _downloaded(source, wanted)
    try:
        dataset = pydicom.dcmread(io.BytesIO(content))
        if dataset.get("SOPInstanceUID") == wanted.sop_instance_uid:
            return dataset
    except (InvalidDicomError, ValueError, TypeError, ArithmeticError, LookupError, EOFError, OSError) as error:
        raise Permanent(Reason.SOURCE_CONFUSED, f"{source}: an object that was asked for can't be decoded") from error
    raise Permanent(Reason.SOURCE_CONFUSED, f"{source} handed over another object than was asked for")


def _got(source: DimseSource, wanted: FoundObject, sop_classes: Sequence[str]) -> bytes:
    came: list[bytes] = []

    def keep(event: evt.Event) -> int:
        request = cast(C_STORE, event.request)
        meta = file_meta(
            sop_class_uid=str(request.AffectedSOPClassUID),
            sop_instance_uid=str(request.AffectedSOPInstanceUID),
            transfer_syntax_uid=str(event.context.transfer_syntax),
        )
        # The one that was asked for; whatever comes besides is not looked at.
        if request.AffectedSOPInstanceUID == wanted.sop_instance_uid:
            came.append(meta + cast(io.BytesIO, request.DataSet).getvalue())
        return 0x0000

    contexts = [service(sop_class) for sop_class in (STUDY_ROOT_GET, *sop_classes)]
    request = identifier(
        Level.IMAGE,
        {
            "StudyInstanceUID": wanted.study_uid,
            "SeriesInstanceUID": wanted.series_uid,
            "SOPInstanceUID": wanted.sop_instance_uid,
        },
    )
    with associated(
        source, contexts, stores=sop_classes, handlers=[(evt.EVT_C_STORE, keep)], max_image_bytes=MOST_BYTES
    ) as association:
        answers = association.send_c_get(request, STUDY_ROOT_GET)
        for _ in completed(source, answers, "C-GET", unable=Reason.SOURCE_REFUSED):
            pass
    if not came:
        raise Permanent(Reason.NOT_HANDED_OVER, f"{source} answered C-GET without the object")
    return came[0]


def _downloaded(source: WebSource, wanted: FoundObject) -> bytes:
    path = f"studies/{wanted.study_uid}/series/{wanted.series_uid}/instances/{wanted.sop_instance_uid}"
    content = bytearray()
    try:
        with web_client(source) as client, answer_to(source, client, path, accept=ACCEPT_ANY) as answer:
            for part in read_parts(answer.iter_bytes(), boundary_of(source, answer)):
                for fragment in part:
                    content += fragment
                    if len(content) > MOST_BYTES:
                        raise Permanent(Reason.SOURCE_CONFUSED, f"{source}: an object without end")
                break
    except NotMultipart as error:
        raise Transient(Reason.SOURCE_LOST, f"{source} broke off in the middle of an answer") from error
    return bytes(content)
