"""Memory of a listener in a process of its own, while others send all at once.

As a script it sends whole studies: `python -m tests.intake.test_memory [SLICES [SENDERS]]`, by default 320 and 4.
"""

import socket
import struct
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from ichd.intake.announced import INSTANCE_AVAILABILITY
from ichd.intake.dimse.associate import LONGEST_REQUEST
from tests.intake.images import ROOT, encode, image
from tests.intake.listening import listening
from tests.intake.pdus import CT_CONTEXT, USUAL, associate_rq, p_data, service_rq, store_rq
from tests.intake.processes import peak_resident_mb
from tests.intake.senders import SUCCESS, Sender

LIMIT_MB = 150
HOSTILE_LIMIT_MB = 300
DEFLATED = "1.2.840.10008.1.2.1.99"
IMPLICIT = "1.2.840.10008.1.2"
#: Presentation context ID of Instance Availability Notification, after `USUAL`.
NOTIFICATION_CONTEXT = 5


def send_study(port: int, study: int, slices: int) -> None:
    pixels = bytes(512 * 512 * 2)
    with Sender(port, timeout_s=30) as sender:
        for number in range(slices):
            sop_instance_uid = f"{ROOT}.5.{study}.{number}"
            content = encode(
                image(
                    number,
                    SOPInstanceUID=sop_instance_uid,
                    StudyInstanceUID=f"{ROOT}.6.{study}",
                    SeriesInstanceUID=f"{ROOT}.7.{study}",
                    Rows=512,
                    Columns=512,
                    PixelData=pixels,
                )
            )
            assert sender.store(content, sop_instance_uid).status == SUCCESS


def together(senders: int, send: Callable[[int], None]) -> None:
    failures: list[BaseException] = []

    def attempt(number: int) -> None:
        try:
            send(number)
        except AssertionError as error:
            failures.append(error)

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(senders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_four_studies_at_once_fit_into_150_mb(tmp_path: Path) -> None:
    with listening(tmp_path) as (process, port):
        together(4, lambda study: send_study(port, study, 20))
        assert peak_resident_mb(process) < LIMIT_MB


def test_an_oversize_data_set_is_answered_and_not_held(tmp_path: Path) -> None:
    huge, small = encode(image(1, PixelData=bytes(200 << 20))), encode(image(2))
    with listening(tmp_path, "--max-instance-bytes", str(1 << 20)) as (process, port):
        with Sender(port, timeout_s=30) as sender:
            assert sender.store(huge, f"{ROOT}.1.1").status == 0xC004
            assert sender.store(small, f"{ROOT}.1.2").status == SUCCESS
        assert peak_resident_mb(process) < LIMIT_MB


def hollow(size: int) -> bytes:
    """A ReferencedSeriesSequence of empty items, in implicit VR."""
    item = struct.pack("<HHL", 0xFFFE, 0xE000, 0)
    return struct.pack("<HHL", 0x0008, 0x1115, 0xFFFFFFFF) + item * (size // 8) + item.replace(b"\0\xe0", b"\xdd\xe0")


def notify(port: int, dataset: bytes, *, times: int) -> None:
    """Instance Availability Notifications of one content over one association."""
    request = service_rq(
        "N-CREATE",
        sop_class_uid=INSTANCE_AVAILABILITY,
        sop_instance_uid=f"{ROOT}.9",
        type_id=0,
        dataset=dataset,
        context_id=NOTIFICATION_CONTEXT,
    )
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(associate_rq((*USUAL, (INSTANCE_AVAILABILITY, (IMPLICIT,)))))
        assert connection.recv(4096)[0] == 2
        for _ in range(times):
            connection.sendall(b"".join(request))
            assert connection.recv(4096)[0] == 4


@pytest.mark.parametrize("size", [2_000_000, 3_900_000])
def test_notifications_of_empty_items_at_once_fit_into_150_mb(tmp_path: Path, size: int) -> None:
    with listening(tmp_path) as (process, port):
        together(8, lambda _: notify(port, hollow(size), times=2))
        assert peak_resident_mb(process) < LIMIT_MB


def test_deflate_bombs_at_once_fit_into_150_mb(tmp_path: Path) -> None:
    stream = zlib.compressobj(level=1, wbits=-zlib.MAX_WBITS)
    bomb = stream.compress(encode(image(1, PixelData=bytes(256 << 20)))) + stream.flush()

    def send(number: int) -> None:
        with Sender(port, timeout_s=60, transfer_syntax_uid=DEFLATED) as sender:
            assert sender.store(bomb, f"{ROOT}.8.{number}").comment.startswith("uid_mismatch")

    with listening(tmp_path, "--max-associations-per-address", "32") as (process, port):
        together(24, send)
        assert peak_resident_mb(process) < LIMIT_MB


def test_all_attacks_at_once_stay_below_300_mb(tmp_path: Path) -> None:
    """500 connections that say little, 30 associations in the middle of a data set, notifications of items without
    number, and still a sender is served."""
    fragment = p_data((CT_CONTEXT, 0, bytes(131_066)))
    with listening(tmp_path, "--max-associations-per-address", "32") as (process, port), ExitStack() as stack:

        def connect() -> socket.socket:
            return stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))

        for number in range(30):
            connection = connect()
            connection.sendall(associate_rq())
            assert connection.recv(4096)[0] == 2
            connection.sendall(store_rq(b"", f"{ROOT}.8.{number}")[0])
            for _ in range(128):
                connection.sendall(fragment)
        together(2, lambda _: notify(port, hollow(2_000_000), times=8))
        half = struct.pack(">BBL", 1, 0, LONGEST_REQUEST) + bytes(LONGEST_REQUEST - 1)
        for number in range(500):
            connection = connect()
            with suppress(ConnectionError):
                # Silence; a request that is complete but for a byte; four gigabytes announced.
                connection.sendall((b"", half, struct.pack(">BBL", 4, 0, 0xFFFFFFF0))[number % 3])
        with Sender(port, timeout_s=30) as sender:
            assert sender.store(encode(image(1)), f"{ROOT}.1.1").status == SUCCESS
        assert peak_resident_mb(process) < HOSTILE_LIMIT_MB


if __name__ == "__main__":
    slices, senders = (int(a) for a in [*sys.argv[1:], *("320", "4")[len(sys.argv) - 1 :]])
    with tempfile.TemporaryDirectory() as folder, listening(Path(folder)) as (child, listening_port):
        idle = peak_resident_mb(child)
        started = time.monotonic()
        together(senders, lambda study: send_study(listening_port, study, slices))
        seconds = time.monotonic() - started
        print(f"{senders} senders, {slices} slices each: {senders * slices / seconds:.0f} images/s")
        print(f"resident: {idle:.0f} MB idle, {peak_resident_mb(child):.0f} MB at most")
