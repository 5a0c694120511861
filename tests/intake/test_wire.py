"""The wire reads ahead, and hands out PDU after PDU all the same, however they come."""

import fcntl
import random
import socket
import ssl
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ichd.intake.dimse.pdu import AbortReason, PduType, PeerGone, PeerSilent, Violation
from ichd.intake.dimse.wire import Wire
from tests.intake.certificates import Authority
from tests.intake.stowing import wait_until

MAX_PDU = 1 << 18


class CountingSocket(socket.socket):
    """Counts how often it was asked for bytes."""

    receives = 0

    def recv_into(self, *arguments: Any, **options: Any) -> int:
        self.receives += 1
        return super().recv_into(*arguments, **options)


@dataclass(kw_only=True)
class Ends:
    """Both ends of one connection over the loopback."""

    wire: Wire
    ours: CountingSocket
    peer: socket.socket

    def waiting(self) -> int:
        """Bytes that lie in the kernel and were not read."""
        (size,) = struct.unpack("i", fcntl.ioctl(self.ours, termios.FIONREAD, bytes(4)))
        return int(size)

    def send(self, content: bytes) -> None:
        """Send bytes, and wait until all of them can be read at once."""
        self.peer.sendall(content)
        wait_until(lambda: self.waiting() == len(content))

    def read(self, number: int = 1) -> list[bytes]:
        """The next PDUs as they came: a view is good until the next one is read."""
        return [pdu(*self.wire.read_pdu()) for _ in range(number)]


@contextmanager
def connected(timeout_s: float = 10.0) -> Iterator[Ends]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        # What the tests send must have room in the kernel.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        peer = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
    ours = CountingSocket(fileno=accepted.detach())
    with peer, ours:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire = Wire(ours, max_pdu=MAX_PDU, timeout_s=timeout_s)
        yield Ends(wire=wire, ours=ours, peer=peer)
        wire.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    with connected() as made:
        yield made


def pdu(kind: int, content: bytes | memoryview) -> bytes:
    return struct.pack(">BxL", kind, len(content)) + content


def p_data(size: int) -> bytes:
    """One whose content no other has."""
    return pdu(PduType.P_DATA_TF, random.Random(size).randbytes(size))


@contextmanager
def meanwhile(act: Callable[[], None]) -> Iterator[None]:
    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        thread.join(30)
        assert not thread.is_alive()


def test_pdus_of_one_segment_are_received_at_once(ends: Ends) -> None:
    pdus = [p_data(size) for size in (40, 0, 1, 90)]
    ends.send(b"".join(pdus))
    assert ends.read(4) == pdus
    assert ends.ours.receives == 1


def test_whoever_sends_long_pdus_is_read_several_at_a_time(ends: Ends) -> None:
    ends.send(p_data(20_000))
    ends.read()
    pdus = [p_data(size) for size in (20_000, 118, 30_000, 16_000, 0, 9)]
    ends.send(b"".join(pdus))
    before = ends.ours.receives
    assert ends.read(6) == pdus
    assert ends.ours.receives == before + 1


PAIR = [pdu(PduType.P_DATA_TF, b"the first"), pdu(PduType.RELEASE_RQ, b"next")]


@pytest.mark.parametrize("cut", range(1, len(b"".join(PAIR))))
def test_a_pdu_may_be_cut_at_each_byte(ends: Ends, cut: int) -> None:
    stream = b"".join(PAIR)
    ends.send(stream[:cut])

    def send_the_rest() -> None:
        wait_until(lambda: ends.waiting() == 0)
        ends.peer.sendall(stream[cut:])

    with meanwhile(send_the_rest):
        assert ends.read(2) == PAIR


def test_pdus_may_come_byte_by_byte(ends: Ends) -> None:
    def drip() -> None:
        for byte in b"".join(PAIR):
            wait_until(lambda: ends.waiting() == 0)
            ends.peer.sendall(bytes([byte]))

    with meanwhile(drip):
        assert ends.read(2) == PAIR


@pytest.mark.parametrize("size", [250, 251, 16_383, 131_072, MAX_PDU])
def test_a_pdu_longer_than_the_buffer_is_followed_by_the_next(ends: Ends, size: int) -> None:
    pdus = [p_data(3), p_data(size), p_data(5)]
    with meanwhile(lambda: ends.peer.sendall(b"".join(pdus))):
        assert ends.read(3) == pdus


@dataclass(kw_only=True)
class Stream:
    """PDUs of many lengths in pieces that have nothing to do with them."""

    pdus: Sequence[bytes]
    pieces: Sequence[bytes]


def mixed(seed: int) -> Stream:
    chance = random.Random(seed)
    usual = (0, 4, 118, 249, 250, 251, 256, 16_378, 16_384, 16_385, 65_536, 131_066, MAX_PDU)
    pdus = [p_data(chance.choice(usual)) for _ in range(60)]
    content, pieces = b"".join(pdus), []
    while content:
        size = chance.choice((1, 5, 6, 7, 1460, 65_483, 400_000))
        pieces.append(content[:size])
        content = content[size:]
    return Stream(pdus=pdus, pieces=pieces)


@pytest.mark.parametrize("seed", range(6))
def test_pdus_and_pieces_of_any_length(ends: Ends, seed: int) -> None:
    stream = mixed(seed)

    def send() -> None:
        for piece in stream.pieces:
            ends.peer.sendall(piece)

    with meanwhile(send):
        assert ends.read(len(stream.pdus)) == stream.pdus


def test_tls_reads_ahead_as_well(ends: Ends, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair, stream = authority.issue("server"), mixed(7)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)

    heard = threading.Event()

    def send() -> None:
        client = ssl.create_default_context(cafile=authority.ca)
        with client.wrap_socket(ends.peer, server_hostname="127.0.0.1") as secured:
            for piece in stream.pieces:
                secured.sendall(piece)
            # Closing over the session tickets that nobody read would take back what is on its way.
            heard.wait(30)

    with meanwhile(send):
        ends.wire.secure(context, deadline=time.monotonic() + 10)
        try:
            assert ends.read(len(stream.pdus)) == stream.pdus
        finally:
            heard.set()


def test_what_follows_a_pdu_is_judged_when_its_turn_comes(ends: Ends) -> None:
    good, endless = p_data(9), struct.pack(">BxL", PduType.P_DATA_TF, MAX_PDU + 1)
    ends.send(good + endless)
    assert ends.read() == [good]
    with pytest.raises(Violation) as caught:
        ends.read()
    assert caught.value.reason is AbortReason.INVALID_PARAMETER_VALUE


@pytest.mark.parametrize("cut", [1, 5, 6, 10])
def test_half_a_pdu_that_was_read_ahead_is_no_pdu(cut: int) -> None:
    first, second = PAIR
    with connected(timeout_s=0.2) as ends:
        ends.send(first + second[: min(cut, len(second) - 1)])
        assert ends.read() == [first]
        with pytest.raises(PeerSilent):
            ends.read()


@pytest.mark.parametrize("cut", [0, 1, 6, 9])
def test_an_end_after_a_pdu_comes_after_it(ends: Ends, cut: int) -> None:
    first, second = PAIR
    ends.send(first + second[:cut])
    ends.peer.close()
    assert ends.read() == [first]
    with pytest.raises(PeerGone) as caught:
        ends.read()
    assert not isinstance(caught.value, PeerSilent)


def test_what_came_before_an_interruption_is_still_read(ends: Ends) -> None:
    ends.send(b"".join(PAIR))
    ends.wire.interrupt()
    assert ends.read(2) == PAIR
    with pytest.raises(PeerGone):
        ends.read()
