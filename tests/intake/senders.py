"""Senders that send exactly the bytes they are given, right or wrong."""

import io
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE

from ichd.domain.errors import Refused
from ichd.domain.study import CT_IMAGE_STORAGE
from ichd.intake.header import read_facts
from ichd.intake.part10 import split_file
from tests.intake.images import EXPLICIT

SUCCESS = 0x0000


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the listener said; status None where it said nothing."""

    status: int | None
    comment: str = ""


class Sender:
    """One association; the data set of a C-STORE goes out as it is."""

    def __init__(
        self,
        port: int,
        *,
        calling_ae_title: str = "SCANNER",
        transfer_syntax_uid: str | list[str] = EXPLICIT,
        sop_classes: tuple[str, ...] = (CT_IMAGE_STORAGE,),
        timeout_s: float = 8.0,
        address: str = "127.0.0.1",
    ) -> None:
        ae = AE(ae_title=calling_ae_title)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = timeout_s
        for sop_class in sop_classes:
            ae.add_requested_context(sop_class, transfer_syntax_uid)
        #: Every PDU as it went over the wire.
        self.sent: list[bytes] = []
        self.association: Association = ae.associate(
            "127.0.0.1",
            port,
            ae_title="ICHD",
            bind_address=(address, 0),
            evt_handlers=[(evt.EVT_DATA_SENT, lambda event: self.sent.append(bytes(event.data)))],
        )

    def store(
        self, dataset: bytes, sop_instance_uid: str, *, sop_class_uid: str = CT_IMAGE_STORAGE, message_id: int = 1
    ) -> Answer:
        """C-STORE of an encoded data set."""
        request = _request(dataset, sop_instance_uid, sop_class_uid, message_id)
        context = self.association.accepted_contexts[0]
        # The reactor must not take the answer off the queue: it is asked to pause, and may still be on its round.
        self.association._reactor_checkpoint.clear()
        while not self.association._is_paused and self.association.is_alive():
            time.sleep(0.001)
        try:
            self.association.dimse.send_msg(request, context.context_id or 1)
            _, answer = self.association.dimse.get_msg(block=True)
        finally:
            self.association._reactor_checkpoint.set()
        if not isinstance(answer, C_STORE):
            return Answer(status=None)
        return Answer(status=answer.Status, comment=str(getattr(answer, "ErrorComment", None) or ""))

    def break_off(self, dataset: bytes, sop_instance_uid: str) -> None:
        """Send the first half of a C-STORE, then an A-ABORT."""
        message = C_STORE_RQ()
        message.primitive_to_message(_request(dataset, sop_instance_uid, CT_IMAGE_STORAGE, 1))
        context_id = self.association.accepted_contexts[0].context_id or 1
        parts = list(message.encode_msg(context_id, self.association.dimse.maximum_pdu_size))
        for part in parts[: len(parts) // 2]:
            self.association.dul.send_pdu(part)
        self.association.abort()

    def __enter__(self) -> Self:
        assert self.association.is_established
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.association.is_established:
            self.association.release()


def as_data_set(content: bytes) -> tuple[str, bytes]:
    """Transfer syntax and data set of a file; of a broken one what comes where a data set should, or all of it."""
    try:
        syntax, dataset = split_file(content)
    except Refused:
        return EXPLICIT, content[132:] or content
    return syntax, bytes(dataset)


def claimed_uid(path: Path) -> str:
    """The SOP Instance UID that a file claims; a made-up one where it has none."""
    try:
        return read_facts(path).sop_instance_uid
    except Refused:
        return "1.2.3.4.5"


def _request(dataset: bytes, sop_instance_uid: str, sop_class_uid: str, message_id: int) -> C_STORE:
    request = C_STORE()
    request.MessageID = message_id
    request.Priority = 2
    request.AffectedSOPClassUID = sop_class_uid
    request.AffectedSOPInstanceUID = sop_instance_uid
    request.DataSet = io.BytesIO(dataset)
    return request
