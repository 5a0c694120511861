"""An HL7 receiver over MLLP that answers as it is told."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.peers.ports import free_port

START, END = b"\x0b", b"\x1c\r"

#: Gets the connection and the control ID of the message that came.
Answer = Callable[[socket.socket, str], None]


@dataclass(kw_only=True)
class Hl7Receiver:
    """A running receiver, and the messages that it got, without their frames."""

    port: int
    messages: list[bytes] = field(default_factory=list)
    connections: int = 0


@contextmanager
def running_hl7_receiver(
    answer: Answer, *, context: ssl.SSLContext | None = None, port: int | None = None
) -> Iterator[Hl7Receiver]:
    """Listen on loopback; each message is answered by `answer`."""
    receiver = Hl7Receiver(port=port or free_port())
    listener = socket.create_server(("127.0.0.1", receiver.port))
    done = threading.Event()

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            receiver.connections += 1
            with suppress(OSError), connection:
                serve(connection)

    def serve(plain: socket.socket) -> None:
        plain.settimeout(10)
        connection = context.wrap_socket(plain, server_side=True) if context else plain
        with connection:
            buffer = b""
            while not done.is_set() and (received := connection.recv(4096)):
                buffer += received
                while END in buffer:
                    frame, buffer = buffer.split(END, 1)
                    message = frame.removeprefix(START)
                    receiver.messages.append(message)
                    answer(connection, control_id_of(message))

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield receiver
    finally:
        done.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def control_id_of(message: bytes) -> str:
    """MSH-10."""
    return message.split(b"\r")[0].split(b"|")[9].decode("latin-1")


def acknowledgment(code: str, control_id: str, *, text: str = "DOE^JANE is unknown") -> bytes:
    """A framed ACK whose free text names a patient, as some receivers' do."""
    message = (
        f"MSH|^~\\&|RIS|HOSP|ICHD|HOSP|20260304050607||ACK|{control_id}-A|P|2.5.1\rMSA|{code}|{control_id}|{text}\r"
    )
    return START + message.encode("latin-1") + END


def answers(code: str) -> Answer:
    """AA, AE, AR, CA, CE, CR."""
    return lambda connection, control_id: connection.sendall(acknowledgment(code, control_id))


def garbage(connection: socket.socket, _: str) -> None:
    """A frame without HL7 in it."""
    connection.sendall(START + b"\x00\xff DOE^JANE \r\r||" + END)


def endless(connection: socket.socket, _: str) -> None:
    """Bytes without a frame."""
    with suppress(OSError):
        while True:
            connection.sendall(b"DOE^JANE" * 1000)


def half(connection: socket.socket, control_id: str) -> None:
    """Half an ACK, and then it hangs up."""
    connection.sendall(acknowledgment("AA", control_id)[:40])
    connection.shutdown(socket.SHUT_RDWR)


def nothing(_: socket.socket, __: str) -> None:
    """It keeps the connection and says nothing."""


def drip(connection: socket.socket, control_id: str) -> None:
    """A byte now and then, and never the last."""
    with suppress(OSError):
        for byte in acknowledgment("AA", control_id * 100):
            connection.sendall(bytes((byte,)))
            time.sleep(0.1)


def in_two_pieces(connection: socket.socket, control_id: str) -> None:
    """Torn apart within the end of the frame."""
    frame = acknowledgment("AA", control_id)
    connection.sendall(frame[:-1])
    time.sleep(0.1)
    connection.sendall(frame[-1:])


def of_another_first(connection: socket.socket, control_id: str) -> None:
    """An ACK for a message that nobody sent, and then ours."""
    connection.sendall(acknowledgment("AA", "4711") + acknowledgment("AA", control_id))
