"""An association with an archive, and what goes wrong with it in coded words."""

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import _config, build_role, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context

from ichd.domain.errors import Permanent, Transient
from ichd.domain.reason import Reason
from ichd.intake.ask.sources import DimseSource
from ichd.intake.ask.transport import MAX_PDU, BoundedAE, BoundedSocket
from ichd.intake.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from ichd.tls import client_context

#: For the TCP connection.
_CONNECT_S = 5.0
_BUSY = frozenset({0x0213, 0xA700, 0xA701, 0xA702})

Handler = tuple[evt.EventType, Callable[..., Any]]


def service(sop_class_uid: str) -> PresentationContext:
    """The context of a service whose data sets are identifiers."""
    return build_context(sop_class_uid, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])


@contextmanager
def associated(
    source: DimseSource,
    contexts: Sequence[PresentationContext],
    *,
    stores: Sequence[str] = (),
    handlers: Sequence[Handler] = (),
    max_image_bytes: int = 0,
) -> Iterator[Association]:
    """An association that offers `contexts`, of which the first is needed; released at the end, aborted on an error.

    Of the SOP classes in `stores` we are the receiver (PS3.7 D.3.3.4). Of an image that comes over it, hardly more than
    `max_image_bytes` are kept.

    Raises:
        SettingsError: the certificates of the source can't be used.
        Transient: it can't be reached, lets nobody in now, or, within the block too, ends the association.
        Permanent: it does not offer the service, or sends messages without end.
    """
    # What pynetdicom would log of an identifier are names and numbers of patients.
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False
    association = _associate(source, contexts, stores, handlers, max_image_bytes)
    with ExitStack() as on_error:
        on_error.callback(_abort, association)
        try:
            _require(source, association, contexts[0])
            yield association
        except RuntimeError as error:
            # What pynetdicom says where something is to be sent and nobody is there any more.
            if type(error) is not RuntimeError or association.is_established:
                raise
            lost = Transient(Reason.SOURCE_LOST, f"{source} ended the association")
            raise _cut_off(source, association) or lost from error
        except Transient as error:
            if error.reason is Reason.SOURCE_LOST and (trouble := _cut_off(source, association)):
                raise trouble from error
            raise
        on_error.pop_all()
    if association.is_established:
        association.release()


def _abort(association: Association) -> None:
    if association.is_established:
        association.abort()


def status_of(source: DimseSource, answer: Dataset) -> int:
    """The status of an answer.

    Raises:
        Transient: there was none: the association broke, or the archive kept silent too long.
    """
    if "Status" not in answer:
        raise Transient(Reason.SOURCE_LOST, f"{source} broke off, or did not answer within {source.timeout_s:g} s")
    return int(answer.Status)


def failed(source: DimseSource, status: int, asked: str) -> Transient | Permanent:
    """What a failure status means (PS3.4 C.4.1.1.4, C.4.2.1.5, C.4.3.1.4).

    Its Error Comment is left out: some archives name the patient in it.
    """
    words = f"{source} answered {asked} with 0x{status:04X}"
    if status in _BUSY:
        return Transient(Reason.SOURCE_BUSY, words)
    if status == 0xA801:
        return Permanent(Reason.MOVE_DESTINATION_UNKNOWN, words)
    return Permanent(Reason.SOURCE_REFUSED, words)


def _cut_off(source: DimseSource, association: Association) -> Permanent | None:
    """What was too much for us, if anything."""
    transport = association.dul.socket
    if not isinstance(transport, BoundedSocket) or transport.trouble is None:
        return None
    return Permanent(transport.trouble.reason, f"{source} sent {transport.trouble.detail}")


def _require(source: DimseSource, association: Association, needed: PresentationContext) -> None:
    if all(context.abstract_syntax != needed.abstract_syntax for context in association.accepted_contexts):
        name = needed.abstract_syntax.name if needed.abstract_syntax else "the service"
        raise Permanent(Reason.SOURCE_REFUSED, f"{source} does not offer {name}")


def _associate(
    source: DimseSource,
    contexts: Sequence[PresentationContext],
    stores: Sequence[str],
    handlers: Sequence[Handler],
    max_image_bytes: int,
) -> Association:
    connected: list[bool] = []

    def prepare_socket(event: evt.Event) -> None:
        transport = event.assoc.dul.socket
        if transport is None or transport.socket is None:
            return  # closed again already; negotiation will say so
        transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Also bounds a write to a peer that stopped reading, which pynetdicom would wait on for ever.
        transport.socket.settimeout(source.timeout_s)
        connected.append(True)

    ae = BoundedAE(source.calling_ae_title, max_image_bytes=max_image_bytes, timeout_s=source.timeout_s)
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    ae.connection_timeout = min(_CONNECT_S, source.timeout_s)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = source.timeout_s
    try:
        association = ae.associate(
            source.host,
            source.port,
            contexts=list(contexts),
            ae_title=source.ae_title,
            max_pdu=MAX_PDU,
            ext_neg=[build_role(sop_class, scu_role=False, scp_role=True) for sop_class in stores],
            evt_handlers=[(evt.EVT_CONN_OPEN, prepare_socket), *handlers],
            tls_args=None if source.tls is None else (client_context(source.tls), source.host),
        )
    except OSError as error:
        raise Transient(Reason.SOURCE_UNREACHABLE, f"{source}: {error.strerror or type(error).__name__}") from error
    if association.is_established:
        return association
    answer = association.acceptor.primitive
    if association.is_rejected and answer is not None:
        words = f"{answer.result_str}, {answer.source_str}: {answer.reason_str}"
        raise Transient(Reason.SOURCE_REJECTED, f"{source}: {words}")
    if not connected:
        encrypted = "" if source.tls is None else ", or no agreement on TLS"
        raise Transient(Reason.SOURCE_UNREACHABLE, f"{source}: no connection{encrypted}")
    if trouble := _cut_off(source, association):
        raise trouble
    if answer is not None and association.rejected_contexts:
        raise Permanent(Reason.SOURCE_REFUSED, f"{source} offers none of the services that were asked for")
    raise Transient(Reason.SOURCE_LOST, f"{source} ended the association before it was established")
