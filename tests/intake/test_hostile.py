"""Attacks on a running listener from a raw socket, with a legitimate sender beside them."""

import os
import re
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ichd.domain.reason import Reason
from ichd.intake.dimse import conversation
from ichd.intake.dimse.pdu import release_response
from ichd.store.tables import AssociationRow
from tests.intake.conftest import House, OpenHouse
from tests.intake.images import encode, image
from tests.intake.pdus import RELEASE_RQ, associate_rq, rejection_from, store_rq
from tests.intake.senders import SUCCESS
from tests.intake.test_scp import uid, until


@contextmanager
def attacker(house: House) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", house.port), timeout=10) as connection:
        yield connection


def is_closed(connection: socket.socket) -> bool:
    try:
        while connection.recv(4096):
            pass
    except ConnectionResetError:
        pass
    except TimeoutError:
        return False
    return True


def resident_mib() -> float:
    (kib,) = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{os.getpid()}/status").read_text())
    return int(kib) / 1024


@pytest.mark.parametrize("pdu_type", [0x01, 0x04])
def test_a_pdu_that_claims_four_gigabytes_is_not_awaited(house: House, pdu_type: int) -> None:
    before = resident_mib()
    with capture_logs() as logs, attacker(house) as connection:
        connection.sendall(struct.pack(">BBL", pdu_type, 0, 0xFFFFFFF0) + bytes(6))
        assert is_closed(connection)
    assert [entry["size"] for entry in logs if entry["event"] == "pdu_too_long"] == [0xFFFFFFF0]
    assert resident_mib() - before < 20


def test_an_oversize_pdu_inside_an_association_ends_it(house: House) -> None:
    with house.sender() as sender:
        assert sender.store(encode(image(1)), uid(1)).status == SUCCESS
        assert sender.association.dul.socket is not None
        connection = sender.association.dul.socket.socket
        assert connection is not None
        connection.sendall(struct.pack(">BBL", 0x04, 0, 1 << 28) + bytes(64))
        until(lambda: not sender.association.is_established)
    until(lambda: house.association().ended_at is not None)
    assert house.association().released is False


@pytest.mark.parametrize(
    "half", [b"", b"\x01", struct.pack(">BBL", 1, 0, 200) + b"\x00\x01"], ids=["silence", "header", "body"]
)
def test_half_a_pdu_is_dropped_within_the_timeout(open_house: OpenHouse, half: bytes) -> None:
    house = open_house(network_timeout_s=0.4, association_timeout_s=0.4)
    with attacker(house) as connection:
        connection.sendall(half)
        started = time.monotonic()
        assert is_closed(connection)
        assert time.monotonic() - started < 3


def test_a_byte_now_and_then_is_dropped_within_the_timeout(open_house: OpenHouse) -> None:
    house = open_house(network_timeout_s=0.6)
    started = time.monotonic()
    with attacker(house) as connection:
        connection.sendall(struct.pack(">BBL", 1, 0, 200))
        with pytest.raises(OSError):  # noqa: PT012
            while time.monotonic() - started < 8:
                connection.sendall(b"\0")
                time.sleep(0.1)
    assert time.monotonic() - started < 4


@pytest.mark.parametrize("noise", [b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n", bytes(64), b"\x04\0\0\0\0\x08" + bytes(8)])
def test_what_is_no_association_request_is_dropped(open_house: OpenHouse, noise: bytes) -> None:
    # Long enough for the sender, who must not be late on a loaded machine.
    house = open_house(network_timeout_s=4.0)
    with attacker(house) as connection:
        connection.sendall(noise)
        assert is_closed(connection)
    with house.sender() as sender:
        assert sender.store(encode(image(1)), uid(1)).status == SUCCESS


def test_idle_connections_take_no_association(open_house: OpenHouse) -> None:
    house = open_house(max_associations=2, association_timeout_s=2.0)
    with ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(attacker(house))
        started = time.monotonic()
        with house.sender() as sender:
            assert sender.store(encode(image(1)), uid(1)).status == SUCCESS
        assert time.monotonic() - started < 1


def test_connections_beyond_the_limit_are_closed_and_make_room_again(open_house: OpenHouse) -> None:
    house = open_house(max_associations=1, association_timeout_s=0.5)
    with ExitStack() as stack:
        connections = [stack.enter_context(attacker(house)) for _ in range(60)]
        assert is_closed(connections[-1])
    until(lambda: house.sender(timeout_s=1).association.is_established)


def test_an_abort_inside_a_data_set_leaves_no_file(house: House) -> None:
    with house.sender() as sender:
        assert sender.store(encode(image(2)), uid(2)).status == SUCCESS
        sender.break_off(encode(image(1, PixelData=bytes(1 << 20))), uid(1))
    until(lambda: house.association().ended_at is not None)
    assert [path.suffix for path in house.files()] == [".dcm"]
    assert house.association().released is False


def test_a_release_counts_at_once_though_the_peer_keeps_its_connection(house: House) -> None:
    with house.sender() as sender:
        assert sender.store(encode(image(1)), uid(1)).status == SUCCESS
    until(lambda: house.association().ended_at is not None)
    request, *store, release = sender.sent
    with attacker(house) as connection:
        connection.sendall(request)
        assert connection.recv(4096)[0] == 0x02
        connection.sendall(b"".join(store))
        assert connection.recv(4096)[0] == 0x04
        connection.sendall(release)
        assert connection.recv(4096)[0] == 0x06
        until(lambda: all(row.released for row in house.rows(AssociationRow)), seconds=1)
    assert house.count(AssociationRow) == 2
    assert house.count() == 1


def test_a_release_counts_though_the_peer_does_not_wait_for_the_answer(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    with attacker(house) as connection:

        def too_late() -> bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            return release_response()

        monkeypatch.setattr(conversation, "release_response", too_late)
        connection.sendall(associate_rq())
        assert connection.recv(4096)[0] == 0x02
        connection.sendall(b"".join(store_rq(encode(image(1)), uid(1))))
        assert connection.recv(4096)[0] == 0x04
        connection.sendall(RELEASE_RQ)
        until(lambda: house.association().ended_at is not None)
    assert house.association().released is True


@pytest.mark.parametrize("first", [struct.pack(">BBLL", 7, 0, 4, 0), struct.pack(">BBLL", 5, 0, 4, 0)])
def test_an_abort_or_release_before_any_association_is_no_harm(house: House, first: bytes) -> None:
    with attacker(house) as connection:
        connection.sendall(first)
        assert is_closed(connection)
    with house.sender() as sender:
        assert sender.association.is_established
    assert house.count(AssociationRow) == 0


def test_a_sender_with_nagle_on_does_not_wait_for_delayed_acknowledgements(house: House) -> None:
    """Linux acknowledges the first packets of a connection at once and delays later ones by 40 ms: those count."""
    seconds = []
    with house.sender() as sender:
        for number in range(1, 50):
            content = encode(image(number))
            started = time.monotonic()
            assert sender.store(content, uid(number)).status == SUCCESS
            seconds.append(time.monotonic() - started)
    assert min(seconds[25:]) < 0.035


def test_stopping_does_not_wait_for_a_silent_connection_or_a_stalled_sender(house: House) -> None:
    with attacker(house) as silent, house.sender() as sender:
        assert sender.store(encode(image(1)), uid(1)).status == SUCCESS
        assert sender.association.dul.socket is not None
        assert sender.association.dul.socket.socket is not None
        # A P-DATA-TF that announces 64 KiB and stops after ten bytes.
        sender.association.dul.socket.socket.sendall(struct.pack(">BBL", 0x04, 0, 1 << 16) + bytes(10))
        time.sleep(0.1)
        started = time.monotonic()
        house.listener.stop(grace_s=1.0)
        assert time.monotonic() - started < 3
        assert is_closed(silent)
    assert house.association().released is False
    assert house.association().ended_at is not None


def test_five_hundred_idle_connections_keep_nobody_out(house: House) -> None:
    with ExitStack() as stack:
        idle = [stack.enter_context(attacker(house)) for _ in range(500)]
        started = time.monotonic()
        with house.sender() as sender:
            assert sender.store(encode(image(1)), uid(1)).status == SUCCESS
        # Sooner than the idle ones would have gone by themselves, after five seconds.
        assert time.monotonic() - started < 4
        assert is_closed(idle[0]), "the oldest had to go"
        idle[-1].settimeout(0.05)
        assert not is_closed(idle[-1]), "the newest may stay"


def test_an_address_that_is_full_of_associations_gets_no_more_connections(open_house: OpenHouse) -> None:
    house = open_house(max_connections_per_address=2)
    with house.sender() as first, house.sender():
        with attacker(house) as third:
            assert is_closed(third)
        assert first.store(encode(image(1)), uid(1)).status == SUCCESS


def test_associations_from_one_address_have_a_limit_of_their_own(open_house: OpenHouse) -> None:
    house = open_house(max_associations_per_address=1)
    with house.sender():
        assert rejection_from(house.port) == (2, 3, 2)


def test_who_calls_us_by_another_name_is_rejected_where_that_matters(open_house: OpenHouse) -> None:
    house = open_house(require_called_ae_title=True)
    assert rejection_from(house.port, called="SOMEBODY") == (1, 1, 7)
    until(lambda: [row.reason for row in house.arrivals.refusals()] == [Reason.CALLED_AE_TITLE_UNKNOWN])
    with house.sender() as sender:
        assert sender.store(encode(image(1)), uid(1)).status == SUCCESS
