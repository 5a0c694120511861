"""Deliveries by C-STORE to peers on this machine."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ichd.domain.delivery import SOP_CLASSES, Parcel
from ichd.domain.errors import CodedError
from ichd.publish.cstore import CStore
from ichd.publish.peer import DimsePeer
from tests.report.findings import CREATED_AT

SOP = {kind: SOP_CLASSES[kind] for kind in SOP_CLASSES}


def sender(port: int, ae_title: str = "RECEIVER", **timeouts: float) -> CStore:
    peer = DimsePeer(name="pacs", host="127.0.0.1", port=port, ae_title=ae_title, **timeouts)  # type: ignore[arg-type]
    return CStore(peer=peer)


def outcome(way: CStore, parcel: Parcel) -> CodedError:
    with pytest.raises(CodedError) as caught:
        way.deliver(parcel, now=CREATED_AT)
    return caught.value


@contextmanager
def raw_listener(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A socket that accepts one connection and hands it to `serve`."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(10)
        done = threading.Event()

        def run() -> None:
            connection, _ = listener.accept()
            with connection:
                serve(connection)
                done.wait(10)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            done.set()
            thread.join()
