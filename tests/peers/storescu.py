"""A sender by pynetdicom, whose pace a test sets image by image."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from ichd.publish.peer import DimsePeer


@contextmanager
def associated(peer: DimsePeer, contexts: Sequence[PresentationContext]) -> Iterator[Association]:
    """An established association, released at the end."""

    def without_nagle(event: evt.Event) -> None:
        # Nagle's algorithm and a delayed acknowledgment would cost 40 ms an image.
        transport = event.assoc.dul.socket
        assert transport is not None
        assert isinstance(transport.socket, socket.socket)
        transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    ae = AE(ae_title=peer.calling_ae_title)
    association = ae.associate(
        peer.host,
        peer.port,
        contexts=list(contexts),
        ae_title=peer.ae_title,
        max_pdu=131072,
        evt_handlers=[(evt.EVT_CONN_OPEN, without_nagle)],
    )
    assert association.is_established
    try:
        yield association
    finally:
        association.release()
