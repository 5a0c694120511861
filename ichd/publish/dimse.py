"""C-ECHO, and associations by pynetdicom.

What is sent to destinations goes over `ichd.publish.association`. What is left here of pynetdicom's is for who wants to
send data sets by hand, as tests do.
"""

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context

from ichd.domain.delivery import Receipt
from ichd.domain.errors import Permanent, Transient
from ichd.domain.reason import Reason
from ichd.publish.association import associated_with, in_all_syntaxes, required
from ichd.publish.command import CommandField, Tag
from ichd.publish.pdu import OUR_MAX_PDU
from ichd.publish.peer import DimsePeer, Verdict, judge_status
from ichd.tls import client_context

__all__ = ["DimsePeer", "Verdict", "answered", "associated", "deliver", "echo", "judge_status"]

_SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
#: Verification SOP Class, C-ECHO.
_VERIFICATION = "1.2.840.10008.1.1"


def echo(peer: DimsePeer) -> None:
    """Ask the peer whether it is there (C-ECHO).

    Raises:
        Transient, Permanent: as `ichd.publish.peer` has them.
    """
    with associated_with(peer, in_all_syntaxes([_VERIFICATION])) as association:
        context = required(peer, association, _VERIFICATION, "C-ECHO")
        answer = association.ask(context, CommandField.C_ECHO, {Tag.AFFECTED_SOP_CLASS_UID: _VERIFICATION})
        if answer.command.status != 0x0000:
            raise Permanent(Reason.PEER_REFUSED, f"{peer} answered C-ECHO with 0x{answer.command.status:04X}")


def deliver(peer: DimsePeer, objects: Sequence[Dataset], *, now: datetime) -> Receipt:
    """Send all objects of one report over one association; the receipt names what was acknowledged.

    The first object is the report. All or nothing: an object that fails ends the delivery, and sending the others again
    later changes nothing at the peer, since they keep their UIDs.

    Raises:
        Transient: the same delivery may succeed later.
        Permanent: it will not.
    """
    contexts = [build_context(uid, list(_SYNTAXES)) for uid in dict.fromkeys(o.SOPClassUID for o in objects)]
    status = 0x0000
    with associated(peer, contexts) as association:
        for each in objects:
            # A warning on any object is worth more to a reader than success on the last one.
            status = _store(peer, association, each) or status
    return Receipt(
        destination=peer.name,
        sent_at=now,
        sop_instance_uids=tuple(str(o.SOPInstanceUID) for o in objects),
        sop_class_uid=str(objects[0].SOPClassUID),
        status=f"0x{status:04X}",
        ae_title=peer.ae_title,
        address=peer.host,
    )


def _store(peer: DimsePeer, association: Association, dataset: Dataset) -> int:
    if not any(c.abstract_syntax == dataset.SOPClassUID for c in association.accepted_contexts):
        raise Permanent(Reason.NO_ACCEPTED_CONTEXT, f"{peer} does not accept {dataset.SOPClassUID.name}")
    answer = answered(peer, lambda: association.send_c_store(dataset))
    match judge_status(answer.Status):
        case Verdict.BUSY:
            raise Transient(Reason.PEER_BUSY, f"{peer} answered 0x{answer.Status:04X}")
        case Verdict.REFUSED:
            raise Permanent(Reason.PEER_REFUSED, f"{peer} answered 0x{answer.Status:04X}")
        case Verdict.STORED:
            return int(answer.Status)


@contextmanager
def associated(peer: DimsePeer, contexts: Sequence[PresentationContext]) -> Iterator[Association]:
    """An established association, released at the end, aborted on an error.

    Raises:
        Transient, Permanent: no association came about; see `ichd.publish.peer`.
    """
    association = _associate(peer, contexts)
    try:
        yield association
    except BaseException:
        if association.is_established:
            association.abort()
        raise
    # What was acknowledged stays acknowledged, however the peer takes the release.
    if association.is_established:
        association.release()


def answered(peer: DimsePeer, request: Callable[[], Dataset]) -> Dataset:
    """The answer to a DIMSE request, with a status.

    Raises:
        Transient: the association broke, or the peer did not answer in time.
    """
    started = time.monotonic()
    try:
        answer = request()
    except RuntimeError as error:
        # What pynetdicom says when an association ended between two requests.
        raise Transient(Reason.ASSOCIATION_LOST, f"{peer} ended the association") from error
    if "Status" in answer:
        return answer
    if time.monotonic() - started >= peer.timeout_s:
        raise Transient(Reason.PEER_UNREACHABLE, f"{peer} did not answer within {peer.timeout_s:g} s")
    raise Transient(Reason.ASSOCIATION_LOST, f"{peer} ended the association before it answered")


def _associate(peer: DimsePeer, contexts: Sequence[PresentationContext]) -> Association:
    connected: list[evt.Event] = []

    def prepare_socket(event: evt.Event) -> None:
        transport = event.assoc.dul.socket
        if transport is None or transport.socket is None:
            return  # closed again already; negotiation will say so
        connection = transport.socket
        # Without this, Nagle's algorithm and a delayed ACK cost 40 ms an object.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Also bounds a write to a peer that stopped reading, which pynetdicom would wait on for ever.
        connection.settimeout(peer.timeout_s)
        connected.append(event)

    ae = AE(ae_title=peer.calling_ae_title)
    ae.connection_timeout = peer.connect_timeout_s
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = peer.timeout_s
    started = time.monotonic()
    try:
        association = ae.associate(
            peer.host,
            peer.port,
            contexts=list(contexts),
            ae_title=peer.ae_title,
            max_pdu=OUR_MAX_PDU,
            tls_args=None if peer.tls is None else (client_context(peer.tls), peer.host),
            evt_handlers=[(evt.EVT_CONN_OPEN, prepare_socket)],
        )
    except OSError as error:
        raise Transient(Reason.PEER_UNREACHABLE, f"{peer}: {error.strerror or error}") from error
    if association.is_established:
        return association

    answer = association.acceptor.primitive
    if association.is_rejected and answer is not None:
        words = f"{answer.result_str}, {answer.source_str}: {answer.reason_str}"
        raise Transient(Reason.ASSOCIATION_REJECTED, f"{peer}: {words}")
    if not connected:
        raise Transient(Reason.PEER_UNREACHABLE, f"{peer}: no connection")
    if answer is not None and association.rejected_contexts:
        names = ", ".join(sorted({UID(c.abstract_syntax or "").name for c in association.rejected_contexts}))
        raise Permanent(Reason.NO_ACCEPTED_CONTEXT, f"{peer} does not accept {names}")
    if time.monotonic() - started >= peer.timeout_s:
        raise Transient(
            Reason.PEER_UNREACHABLE, f"{peer} did not answer the association request within {peer.timeout_s:g} s"
        )
    raise Transient(Reason.ASSOCIATION_LOST, f"{peer} ended the association before it was established")
