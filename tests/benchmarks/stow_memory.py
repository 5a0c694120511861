"""Memory and speed of the STOW-RS door: two gigabytes in one request, then the same from four senders at once.

Each image is 512 x 512; the first of a sender is new and the rest repeat it, which takes all the way but the row. The
server is a process of its own; its resident memory is the peak that the kernel noted.
"""

import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import httpx

from tests.benchmarks.figures import Figure, arguments, print_figures
from tests.intake.images import ROOT
from tests.intake.processes import peak_resident_mb
from tests.intake.stowing import BOUNDARY, CONTENT_TYPE, file, stowing

SENDERS = 4


def main() -> None:
    options = arguments(__doc__ or "")
    size = (256 if options.quick else 2048) << 20
    figures: dict[str, Figure] = {"request_mb": round(size / 1e6)}
    with tempfile.TemporaryDirectory() as folder, stowing(Path(folder)) as (process, port):
        _send(port, 0, 1 << 20)
        figures["idle_rss_mb"] = round(peak_resident_mb(process), 1)
        figures["one_sender_mb_s"] = round(_rate(port, [size]), 1)
        figures["one_sender_rss_mb"] = round(peak_resident_mb(process), 1)
        figures["four_senders_mb_s"] = round(_rate(port, [size // SENDERS] * SENDERS), 1)
        figures["four_senders_rss_mb"] = round(peak_resident_mb(process), 1)
    print_figures(figures, {}, as_json=options.json)


def _rate(port: int, sizes: list[int]) -> float:
    """MB/s of requests of these sizes at the same time."""
    senders = [threading.Thread(target=_send, args=(port, n, size)) for n, size in enumerate(sizes, 1)]
    began = time.monotonic()
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    return sum(sizes) / 1e6 / (time.monotonic() - began)


def _send(port: int, sender: int, size: int) -> None:
    uids = {"SOPInstanceUID": f"{ROOT}.5.{sender}", "StudyInstanceUID": f"{ROOT}.6.{sender}"}
    image = file(1, Rows=512, Columns=512, PixelData=bytes(2 * 512 * 512), **uids)
    part = b"--%b\r\nContent-Type: application/dicom\r\n\r\n%b\r\n" % (BOUNDARY.encode(), image)
    count = max(size // len(part), 1)

    def body() -> Iterator[bytes]:
        for _ in range(count):
            yield part
        yield b"--%b--\r\n" % BOUNDARY.encode()

    url = f"http://127.0.0.1:{port}/dicom-web/studies"
    answer = httpx.post(url, content=body(), headers={"Content-Type": CONTENT_TYPE}, timeout=600)
    assert (answer.status_code, len(answer.json()["00081199"]["Value"])) == (200, count)


if __name__ == "__main__":
    main()
