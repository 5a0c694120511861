"""PDUs as pynetdicom encodes them: a second opinion on our own, and the raw material of attacks."""

import io
import socket
import struct
from collections.abc import Iterable, Sequence
from typing import Any

from pydicom.uid import UID
from pynetdicom import build_context
from pynetdicom.dimse_messages import C_ECHO_RQ, C_STORE_RQ, N_ACTION_RQ, N_CREATE_RQ, N_EVENT_REPORT_RQ, DIMSEMessage
from pynetdicom.dimse_primitives import C_ECHO, C_STORE, N_ACTION, N_CREATE, N_EVENT_REPORT
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, ImplementationClassUIDNotification, MaximumLengthNotification

from ichd.domain.study import CT_IMAGE_STORAGE
from ichd.intake.dimse.negotiation import VERIFICATION
from tests.intake.images import EXPLICIT

RELEASE_RQ = struct.pack(">BBLL", 5, 0, 4, 0)
ABORT = struct.pack(">BBLL", 7, 0, 4, 0)

Proposals = Sequence[tuple[str, Sequence[str]]]

USUAL: Proposals = ((CT_IMAGE_STORAGE, (EXPLICIT,)), (VERIFICATION, (EXPLICIT,)))
#: Presentation context IDs of `USUAL`.
CT_CONTEXT, ECHO_CONTEXT = 1, 3


def associate_primitive(proposals: Proposals, *, calling: str, called: str, max_pdu: int) -> A_ASSOCIATE:
    primitive = A_ASSOCIATE()
    primitive.application_context_name = UID("1.2.840.10008.3.1.1.1")
    primitive.calling_ae_title, primitive.called_ae_title = calling, called
    contexts = []
    for number, (abstract_syntax, transfer_syntaxes) in enumerate(proposals):
        context = build_context(abstract_syntax, list(transfer_syntaxes))
        context.context_id = 2 * number + 1
        contexts.append(context)
    primitive.presentation_context_definition_list = contexts
    length = MaximumLengthNotification()
    length.maximum_length_received = max_pdu
    implementation = ImplementationClassUIDNotification()
    implementation.implementation_class_uid = UID("1.2.3.4")
    primitive.user_information = [length, implementation]
    return primitive


def associate_rq(
    proposals: Proposals = USUAL, *, calling: str = "SCANNER", called: str = "ICHD", max_pdu: int = 16382
) -> bytes:
    primitive = associate_primitive(proposals, calling=calling, called=called, max_pdu=max_pdu)
    return bytes(A_ASSOCIATE_RQ(primitive).encode())


def rejection_from(port: int, **request: Any) -> tuple[int, int, int] | None:
    """Result, source and diagnostic of the A-ASSOCIATE-RJ that a request gets; None where it is accepted.

    Asked by hand: pynetdicom takes a rejection that comes before it looks for an aborted connection.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(associate_rq(**request))
        heard = connection.recv(4096)
    return None if heard[0] == 2 else (heard[7], heard[8], heard[9])


def p_data(*values: tuple[int, int, bytes]) -> bytes:
    """A P-DATA-TF of presentation data values: context ID, message control header, fragment."""
    items = b"".join(struct.pack(">LBB", len(data) + 2, context, control) + data for context, control, data in values)
    return struct.pack(">BBL", 4, 0, len(items)) + items


def echo_rq(message_id: int = 1) -> bytes:
    primitive = C_ECHO()
    primitive.MessageID, primitive.AffectedSOPClassUID = message_id, UID(VERIFICATION)
    return b"".join(_pdus(C_ECHO_RQ(), primitive, ECHO_CONTEXT))


def store_rq(
    dataset: bytes, sop_instance_uid: str, *, sop_class_uid: str = CT_IMAGE_STORAGE, max_pdu: int = 1 << 17
) -> list[bytes]:
    primitive = C_STORE()
    primitive.MessageID, primitive.Priority = 1, 2
    primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = UID(sop_class_uid), UID(sop_instance_uid)
    primitive.DataSet = io.BytesIO(dataset)
    return list(_pdus(C_STORE_RQ(), primitive, CT_CONTEXT, max_pdu))


def service_rq(
    kind: str, *, sop_class_uid: str, sop_instance_uid: str, type_id: int, dataset: bytes, context_id: int
) -> list[bytes]:
    """N-ACTION, N-CREATE or N-EVENT-REPORT."""
    primitive: Any
    message: Any
    if kind == "N-ACTION":
        primitive, message = N_ACTION(), N_ACTION_RQ()
        primitive.RequestedSOPClassUID, primitive.RequestedSOPInstanceUID = UID(sop_class_uid), UID(sop_instance_uid)
        primitive.ActionTypeID, primitive.ActionInformation = type_id, io.BytesIO(dataset)
    elif kind == "N-CREATE":
        primitive, message = N_CREATE(), N_CREATE_RQ()
        primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = UID(sop_class_uid), UID(sop_instance_uid)
        primitive.AttributeList = io.BytesIO(dataset)
    else:
        primitive, message = N_EVENT_REPORT(), N_EVENT_REPORT_RQ()
        primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = UID(sop_class_uid), UID(sop_instance_uid)
        primitive.EventTypeID, primitive.EventInformation = type_id, io.BytesIO(dataset)
    primitive.MessageID = 7
    return list(_pdus(message, primitive, context_id))


def command_set(pdus: Iterable[bytes]) -> bytes:
    """The command set in PDUs that hold one value each."""
    return b"".join(pdu[12:] for pdu in pdus if pdu[11] & 1)


def _pdus(message: DIMSEMessage, primitive: Any, context_id: int, max_pdu: int = 1 << 17) -> Iterable[bytes]:
    message.primitive_to_message(primitive)
    for part in message.encode_msg(context_id, max_pdu):
        for context, value in part.presentation_data_value_list:
            yield p_data((context, value[0], bytes(value[1:])))
