"""STOW-RS from raw sockets: broken, endless, silent and greedy requests leave nothing behind and hold nobody up."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from fastapi import Request

from ichd.store.tables import AssociationRow, RefusalRow
from tests.intake.images import ROOT
from tests.intake.processes import peak_resident_mb
from tests.intake.stowing import (
    BOUNDARY,
    CONTENT_TYPE,
    RawClient,
    StowHouse,
    file,
    message,
    stow_house,
    stowing,
    wait_until,
)

LIMIT_MB = 200


@pytest.fixture
def house(tmp_path: Path) -> Iterator[StowHouse]:
    with stow_house(tmp_path, patience_s=1.0) as opened:
        yield opened


def post(house: StowHouse, content: bytes, content_type: str = CONTENT_TYPE) -> httpx.Response:
    return httpx.post(f"{house.url}/studies", content=content, headers={"Content-Type": content_type}, timeout=60)


def is_at_work(house: StowHouse) -> None:
    answer = post(house, message(file(99)))
    assert (answer.status_code, len(answer.json()["00081199"]["Value"])) == (200, 1)


def partial_files(house: StowHouse) -> int:
    return sum(file.suffix == ".part" for file in house.files())


def ended(house: StowHouse) -> list[bool]:
    """Of each visit that is over, whether it ended well; one that goes on is not released either."""
    return [row.released for row in house.rows(AssociationRow) if row.ended_at is not None]


def test_a_sender_that_hangs_up_in_the_middle_of_an_image_leaves_no_file(house: StowHouse) -> None:
    body = message(file(1), file(2, PixelData=bytes(4 << 20)))
    with RawClient(house.port) as client:
        client.head(f"Content-Length: {len(body)}")
        client.send(body[: 3 << 20])
        wait_until(lambda: partial_files(house) == 1)
    wait_until(lambda: ended(house) == [False])
    assert len(house.files()) == house.count() == 1
    is_at_work(house)


def test_a_chunked_request_that_breaks_off_leaves_no_file(house: StowHouse) -> None:
    with RawClient(house.port) as client:
        client.head("Transfer-Encoding: chunked")
        client.chunk(message(file(1), file(2, PixelData=bytes(2 << 20)))[:-20])
        wait_until(lambda: partial_files(house) == 1)
    wait_until(lambda: ended(house) == [False])
    assert len(house.files()) == 1


def test_a_server_that_stops_leaves_no_file(tmp_path: Path) -> None:
    with stow_house(tmp_path) as house:
        client = RawClient(house.port)
        client.head("Content-Length: 5000000")
        client.send(message(file(1, PixelData=bytes(4 << 20)))[: 2 << 20])
        wait_until(lambda: partial_files(house) == 1)
    client.close()
    wait_until(lambda: house.files() == [])


@pytest.mark.parametrize("size", [1, 17, 1000])
def test_a_message_in_small_chunks_is_stored(house: StowHouse, size: int) -> None:
    body = message(file(1))
    with RawClient(house.port) as client:
        client.head("Transfer-Encoding: chunked")
        for begin in range(0, len(body), size):
            client.chunk(body[begin : begin + size])
        client.chunk(b"")
        assert client.status() == 200
    assert house.count() == 1


def test_a_message_without_its_last_boundary_stores_no_image_that_may_go_on(house: StowHouse) -> None:
    answer = post(house, message(file(1), file(2)).removesuffix(b"--%b--\r\n" % BOUNDARY.encode()))
    assert answer.status_code == 400
    # What was stored before is told, so that nobody need guess.
    assert [i["00081155"]["Value"][0] for i in answer.json()["00081199"]["Value"]] == [f"{ROOT}.1.1"]
    assert len(house.files()) == house.count() == 1
    assert [row.released for row in house.rows(AssociationRow)] == [False]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--" + BOUNDARY.encode() + b"--\r\n",
        message(file(1), boundary="another"),
        b"\0" * 100_000,
        b"\r\n" * 100_000,
        b"--" + BOUNDARY.encode() + b"\r\nno colon\r\n\r\n" + file(1) + b"\r\n--" + BOUNDARY.encode() + b"--",
        b"--" + BOUNDARY.encode() + b"\r\nA: " + b"x" * 100_000,
    ],
)
def test_what_is_no_message_is_a_bad_request(house: StowHouse, body: bytes) -> None:
    assert post(house, body).status_code == 400
    assert house.files() == []
    is_at_work(house)


def test_a_part_without_headers_is_an_image_all_the_same(house: StowHouse) -> None:
    body = b"--%b\r\n\r\n%b\r\n--%b--" % (BOUNDARY.encode(), file(1), BOUNDARY.encode())
    assert post(house, body).status_code == 200


def test_a_message_within_a_part_is_no_image(house: StowHouse) -> None:
    answer = post(house, message(message(file(1), boundary="inner"), file(2)))
    assert answer.status_code == 202
    assert answer.json()["0008119A"]["Value"] == [{"00081197": {"vr": "US", "Value": [0xC000]}}]
    assert house.count() == 1


def test_ten_thousand_empty_parts_end_after_a_hundred(house: StowHouse) -> None:
    answer = post(house, message(*[b""] * 10_000))
    assert answer.status_code == 400
    assert len(answer.json()["0008119A"]["Value"]) == 100
    assert house.count(RefusalRow) == 20, "the others are counted"
    is_at_work(house)


@pytest.mark.parametrize(("size", "files"), [(2000, 0), (2 << 20, 1)], ids=["small", "large"])
def test_a_sender_that_falls_silent_is_let_go(house: StowHouse, size: int, files: int) -> None:
    with RawClient(house.port) as client:
        client.head("Content-Length: 5000000")
        client.send(message(file(1, PixelData=bytes(4 << 20)))[:size])
        wait_until(lambda: partial_files(house) == files)
        assert client.status() == 408
    assert house.files() == []


def test_a_sender_that_drips_is_let_go(house: StowHouse) -> None:
    with RawClient(house.port) as client:
        client.head("Content-Length: 1000000")
        stopped = threading.Event()

        def drip() -> None:
            try:
                while not stopped.wait(0.1):
                    client.send(b"\r")
            except OSError:
                pass

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            assert client.status() == 408
        finally:
            stopped.set()
            dripping.join()


def test_silent_senders_keep_nobody_out_for_long(tmp_path: Path) -> None:
    with stow_house(tmp_path, max_requests=2, patience_s=2.0) as house:
        for client in (silent := [RawClient(house.port), RawClient(house.port)]):
            client.head("Content-Length: 1000")
            client.send(b"--")
        wait_until(lambda: post(house, message(file(1))).status_code == 503)
        assert int(post(house, message(file(1))).headers["retry-after"]) > 0
        wait_until(lambda: post(house, message(file(1))).status_code == 200)
        for client in silent:
            client.close()


def test_one_sender_does_not_take_all_places(tmp_path: Path) -> None:
    """By account where somebody logs in, else by address."""

    def account_of(request: Request) -> str:
        return request.headers.get("x-account", "")

    def status(account: str) -> int:
        url = f"{opened.url}/studies"
        headers = {"Content-Type": CONTENT_TYPE, "X-Account": account}
        return httpx.post(url, content=message(file(1)), headers=headers, timeout=60).status_code

    with stow_house(tmp_path, max_requests=5, max_requests_per_sender=2, account_of=account_of) as opened:
        clients = [RawClient(opened.port) for _ in range(4)]
        for account, client in zip(("a", "a", "", ""), clients, strict=True):
            client.head("Content-Length: 1000", f"X-Account: {account}")
            client.send(b"--")
        wait_until(lambda: [status("a"), status("")] == [503, 503])
        assert status("b") == 200
        for client in clients:
            client.close()
        wait_until(lambda: [status("a"), status("")] == [200, 200])


def test_a_sender_that_is_slow_throughout_is_let_go(tmp_path: Path) -> None:
    """Though it brings what renews its patience."""
    with stow_house(tmp_path, patience_s=20.0, grace_s=1.0, min_bytes_per_s=1 << 20) as house:
        with RawClient(house.port) as client:
            client.head("Content-Length: 100000000")
            client.send(message(file(1, PixelData=bytes(4 << 20)))[:1000])
            stopped = threading.Event()

            def crawl() -> None:
                with suppress(OSError):
                    while not stopped.wait(0.3):
                        client.send(bytes(1 << 16))

            crawling = threading.Thread(target=crawl)
            crawling.start()
            try:
                assert client.status() == 408
            finally:
                stopped.set()
                crawling.join()
        assert house.files() == []


def test_a_request_that_announces_too_much_is_told_before_it_sends(tmp_path: Path) -> None:
    with stow_house(tmp_path, max_request_bytes=1 << 20) as house, RawClient(house.port) as client:
        client.head("Content-Length: 1048577", "Expect: 100-continue")
        assert client.status() == 413


def test_a_chunked_request_that_grows_too_large_is_cut(tmp_path: Path) -> None:
    with stow_house(tmp_path, max_request_bytes=1 << 20) as house:
        with RawClient(house.port) as client:
            client.head("Transfer-Encoding: chunked")
            client.chunk(message(file(1), file(2, PixelData=bytes(1 << 20))))
            client.chunk(b"")
            assert client.status() == 413
        assert len(house.files()) == house.count() == 1


def test_images_that_are_refused_are_not_held_until_the_request_ends(tmp_path: Path) -> None:
    refused = message(file(1, Modality="MR", PixelData=bytes(1 << 20))).removesuffix(b"--%b--\r\n" % BOUNDARY.encode())
    descriptors: list[int] = []

    def body(process: subprocess.Popen[str]) -> Iterator[bytes]:
        for _ in range(90):
            yield refused
            descriptors.append(len(list(Path(f"/proc/{process.pid}/fd").iterdir())))
        yield b"--%b--\r\n" % BOUNDARY.encode()

    with stowing(tmp_path) as (process, port):
        url = f"http://127.0.0.1:{port}/dicom-web/studies"
        answer = httpx.post(url, content=body(process), headers={"Content-Type": CONTENT_TYPE}, timeout=120)
        assert answer.status_code == 409
        assert len(answer.json()["00081198"]["Value"]) == 90
        assert max(descriptors) < min(descriptors) + 10
        assert peak_resident_mb(process) < LIMIT_MB


def test_half_a_gigabyte_in_one_request_does_not_grow_memory(tmp_path: Path) -> None:
    """Stored, repeated and oversize images; tests/benchmarks/stow_memory.py sends two gigabytes."""
    repeated, huge = file(1, Rows=512, Columns=512, PixelData=bytes(2 * 512 * 512)), file(2, PixelData=bytes(160 << 20))

    def body() -> Iterator[bytes]:
        head = b"--%b\r\n\r\n" % BOUNDARY.encode()
        for part in (*[repeated] * 400, huge, huge):
            yield head + part + b"\r\n"
        yield b"--%b--\r\n" % BOUNDARY.encode()

    with stowing(tmp_path, "--max-instance-bytes", str(8 << 20)) as (process, port):
        url = f"http://127.0.0.1:{port}/dicom-web/studies"
        answer = httpx.post(url, content=body(), headers={"Content-Type": CONTENT_TYPE}, timeout=120)
        assert answer.status_code == 202
        assert len(answer.json()["00081199"]["Value"]) == 400
        assert len(answer.json()["00081198"]["Value"]) == 2
        assert peak_resident_mb(process) < LIMIT_MB
