"""Where bytes arrive: whole PDUs in one reused buffer, none longer than allowed and none for longer than allowed."""

import math
import socket
import ssl
import struct
import time
from contextlib import suppress

import structlog

from ichd.intake.dimse.associate import LONGEST_REQUEST
from ichd.intake.dimse.pdu import HEADER, AbortReason, PduType, PeerGone, PeerSilent, Violation

_log = structlog.get_logger(__name__)

_TIMEVAL = struct.Struct("@ll")
#: For the last words to be heard: closing over bytes that nobody read makes the kernel take them back.
_LINGER_S = 1.0
_LINGER_BYTES = 16 << 20
#: A thread that waits for TLS looks up so often, to see whether it is wanted elsewhere.
_LOOK_UP_S = 0.25
#: Whoever has sent a PDU of more than this sends images, and gets a buffer for several of them.
_LONG = 1 << 14
_ROOM = 1 << 19


class Wire:
    """One connection; reads and writes belong to one thread, `drop` and `interrupt` to any."""

    def __init__(self, connection: socket.socket, *, max_pdu: int, timeout_s: float) -> None:
        self._connection = connection
        self._max_pdu = max_pdu
        #: Silence, and also the whole of one PDU, may last this long.
        self._timeout_s = timeout_s
        #: An idle connection costs next to nothing.
        self._buffer = bytearray(256)
        #: Where the bytes begin and end that came and were not handed out yet.
        self._begin = self._end = 0
        self._interrupted = False
        self._milliseconds = 0
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._set_timeout(timeout_s)

    def secure(self, context: ssl.SSLContext, *, deadline: float) -> None:
        """Continue in TLS, with a handshake that is over by `deadline` (monotonic).

        Raises:
            ssl.SSLError: the peer can't, or may not.
            OSError: it is gone, or silent.
        """
        self._connection.settimeout(max(deadline - time.monotonic(), 0.001))
        # First ours, then shaken hands with: a silent one must be there to be dropped.
        secured = context.wrap_socket(self._connection, server_side=True, do_handshake_on_connect=False)
        self._connection = secured
        secured.do_handshake()

    def read_pdu(self, *, deadline: float = math.inf) -> tuple[int, memoryview]:
        """Type and content of the next PDU; the content is overwritten by the next read.

        It must have begun before silence becomes too long, or by `deadline` (monotonic) where one is given, which is
        then the end of all patience.

        Raises:
            Violation: it is longer than this connection may send.
            PeerSilent: it does not come in time, or not all of it.
            PeerGone: the connection ended.
        """
        by = deadline if deadline < math.inf else time.monotonic() + self._timeout_s
        if self._end - self._begin < HEADER.size:
            # As much as is there: from a fast sender the rest of the PDU, and the next ones.
            sends_images = _LONG < len(self._buffer) < _ROOM
            self._move_to(bytearray(_ROOM) if sends_images else self._buffer)
            self._receive(HEADER.size, by, at_most=len(self._buffer))
        kind, length = HEADER.unpack_from(self._buffer, self._begin)
        self._require_length(kind, length)
        whole = HEADER.size + length
        if self._end - self._begin < whole:
            self._make_room(whole)
            # Just what is missing, gathered by the kernel: one hand-over between threads in place of many.
            self._receive(whole, min(deadline, time.monotonic() + self._timeout_s), at_most=whole)
        begin, self._begin = self._begin + HEADER.size, self._begin + whole
        return kind, memoryview(self._buffer)[begin : self._begin]

    def send(self, content: bytes) -> None:
        """Send all of it.

        Raises:
            PeerGone: the connection ended, or the peer does not read.
        """
        try:
            self._set_timeout(self._timeout_s)
            self._connection.sendall(content)
        except OSError:
            raise PeerGone("the connection ended before an answer") from None

    def hang_up(self, last_words: bytes = b"") -> None:
        """Say the last words, if any, wait a moment for the peer to hear them, and close."""
        deadline = time.monotonic() + _LINGER_S
        with suppress(OSError):
            self._connection.settimeout(_LINGER_S)
            if last_words:
                self._connection.sendall(last_words)
            socket.socket.shutdown(self._connection, socket.SHUT_WR)
            left = _LINGER_BYTES
            while left > 0 and time.monotonic() < deadline and (size := self._connection.recv_into(self._buffer)):
                left -= size
        self.close()

    def interrupt(self) -> None:
        """Let the reading thread find the end of the connection once it has read what came; it can still write."""
        self._interrupted = True
        # TLS takes an end without its own farewell for an attack, and would not let us write any more.
        if not isinstance(self._connection, ssl.SSLSocket):
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RD)

    def drop(self) -> None:
        """End the connection without a word; its thread finds out at once."""
        with suppress(OSError):
            socket.socket.shutdown(self._connection, socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the connection back; by its own thread only, for the number of a closed socket is soon another's."""
        self._connection.close()

    def _require_length(self, kind: int, length: int) -> None:
        limit = LONGEST_REQUEST if kind == PduType.ASSOCIATE_RQ else self._max_pdu
        if length > limit:
            _log.warning("pdu_too_long", size=length, limit=limit)
            raise Violation(AbortReason.INVALID_PARAMETER_VALUE, f"a PDU of {length} bytes, at most {limit}")

    def _make_room(self, size: int) -> None:
        """Let the bytes at hand stand where `size` of them have room."""
        if size > len(self._buffer):
            self._move_to(bytearray(size))
        elif self._begin + size > len(self._buffer):
            self._move_to(self._buffer)

    def _move_to(self, buffer: bytearray) -> None:
        """Let the bytes at hand stand at the beginning of a buffer."""
        at_hand = self._buffer[self._begin : self._end]
        buffer[: len(at_hand)] = at_hand
        self._buffer, self._begin, self._end = buffer, 0, len(at_hand)

    def _receive(self, size: int, deadline: float, *, at_most: int) -> None:
        """Receive until `size` bytes are at hand, or up to `at_most` where they are there already."""
        # Many senders write a command and its data set apart and leave Nagle's algorithm on: they hold the second back
        # until we acknowledge the first, which the kernel delays by 40 ms unless it is told anew each time.
        with suppress(OSError):
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        encrypted = isinstance(self._connection, ssl.SSLSocket)
        flags = socket.MSG_WAITALL if size == at_most and not encrypted else 0
        while self._end - self._begin < size:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise PeerSilent("a PDU was not there in time")
            try:
                self._set_timeout(min(remaining, _LOOK_UP_S) if encrypted else remaining)
                room = memoryview(self._buffer)[self._end : self._begin + at_most]
                received = self._connection.recv_into(room, 0, flags)
            except (TimeoutError, BlockingIOError):
                if self._interrupted:
                    raise PeerGone("we want no more") from None
                continue
            except OSError:
                raise PeerGone("the connection broke") from None
            if received == 0:
                raise PeerGone("the connection ended")
            self._end += received

    def _set_timeout(self, seconds: float) -> None:
        """How long a call may wait. A socket with a timeout of Python's own never blocks in the kernel, where
        MSG_WAITALL would do its work; TLS, on the other hand, knows only that one."""
        if isinstance(self._connection, ssl.SSLSocket):
            self._connection.settimeout(seconds)
            return
        # In steps, so that it mostly stays as it is, and never zero, which would mean for ever.
        milliseconds = 10 * math.ceil(seconds * 100)
        if milliseconds == self._milliseconds:
            return
        self._milliseconds = milliseconds
        timeval = _TIMEVAL.pack(milliseconds // 1000, milliseconds % 1000 * 1000)
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)
