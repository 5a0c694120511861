"""An archive that misbehaves as it is told to: it breaks off, hangs up, or fails to hand over single images."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from ssl import SSLContext
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.dsutils import decode
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.sop_class import MRImageStorage  # type: ignore[attr-defined]

from ichd.domain.study import CT_IMAGE_STORAGE
from ichd.intake.ask.dimse_find import STUDY_ROOT_FIND, VERIFICATION
from ichd.intake.ask.get import STUDY_ROOT_GET
from ichd.intake.ask.rows import Level
from ichd.intake.ask.sources import DimseSource
from ichd.tls import ClientTls
from tests.intake.asking import as_file

_PENDING = 0xFF00
_C_GET_RSP = 0x8010


@dataclass
class Archive:
    """What it holds, and how it fails; to be changed while it runs."""

    images: Sequence[Dataset]
    #: SOP Instance UIDs that it lists and does not hand over.
    unreadable: frozenset[str] = frozenset()
    #: It ends the association after so many images of one C-GET.
    breaks_off_after: int | None = None
    #: It closes the connection once it has answered one C-GET.
    hangs_up: bool = False
    #: Its answer to every C-GET, instead of images.
    refuses_with: int | None = None
    #: SOP Instance UIDs of every C-GET at image level, and None for one at series level.
    asked: list[list[str] | None] = field(default_factory=list)
    port: int = 0

    def source(self, *, tls: ClientTls | None = None, host: str = "127.0.0.1") -> DimseSource:
        """It, as a source that is asked by C-GET."""
        return DimseSource(name="archive", host=host, port=self.port, ae_title="ARCHIVE", tls=tls, timeout_s=10.0)

    def find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        wanted = event.identifier
        level = Level[wanted.QueryRetrieveLevel]
        uid = {Level.STUDY: "StudyInstanceUID", Level.SERIES: "SeriesInstanceUID", Level.IMAGE: "SOPInstanceUID"}[level]
        for match in {image[uid].value: image for image in self._matching(wanted)}.values():
            answer = Dataset()
            answer.QueryRetrieveLevel = level.name
            for keyword in level.keys:
                setattr(answer, keyword, match.get(keyword, "CT" if keyword == "ModalitiesInStudy" else ""))
            yield _PENDING, answer

    def get(self, event: evt.Event) -> Iterator[Any]:
        wanted = event.identifier
        uids = wanted.get("SOPInstanceUID")
        self.asked.append(None if uids is None else [uids] if isinstance(uids, str) else list(uids))
        if self.refuses_with is not None:
            yield 1
            yield self.refuses_with, None
            return
        images = self._matching(wanted)
        yield len(images)
        for number, image in enumerate(images):
            if number == self.breaks_off_after:
                event.assoc.abort()
                return
            sent = as_file(image)
            if image.SOPInstanceUID in self.unreadable:
                # For this there is no presentation context, so that the sub-operation fails.
                sent.SOPClassUID = MRImageStorage
            yield _PENDING, sent

    def sent(self, event: evt.Event) -> None:
        """After a PDU has left."""
        if not self.hangs_up or not isinstance(event.pdu, P_DATA_TF):
            return
        for _, value in event.pdu.to_primitive().presentation_data_value_list:
            if value[0] & 1 and _is_last_of_get(decode(BytesIO(value[1:]), True, True)):
                transport = event.assoc.dul.socket
                assert transport is not None
                assert transport.socket is not None
                transport.socket.shutdown(socket.SHUT_RDWR)

    def _matching(self, wanted: Dataset) -> list[Dataset]:
        found = list(self.images)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            if value := wanted.get(keyword):
                values = [value] if isinstance(value, str) else list(value)
                found = [image for image in found if image[keyword].value in values]
        return found


def _is_last_of_get(command: Dataset) -> bool:
    return bool(command.CommandField == _C_GET_RSP and command.Status != _PENDING)


@contextmanager
def running_archive(images: Sequence[Dataset], *, tls: SSLContext | None = None) -> Iterator[Archive]:
    """The archive on a free loopback port."""
    archive = Archive(images)
    ae = AE(ae_title="ARCHIVE")
    for service in (VERIFICATION, STUDY_ROOT_FIND, STUDY_ROOT_GET):
        ae.add_supported_context(service)
    ae.add_supported_context(CT_IMAGE_STORAGE, scu_role=True, scp_role=True)
    handlers: list[Any] = [
        (evt.EVT_C_FIND, archive.find),
        (evt.EVT_C_GET, archive.get),
        (evt.EVT_PDU_SENT, archive.sent),
    ]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers, ssl_context=tls)
    assert server is not None
    archive.port = server.server_address[1]
    try:
        yield archive
    finally:
        server.shutdown()
