"""Messages that break the rules, from a raw socket inside an association, and such as only look strange."""

import io
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from pynetdicom.dsutils import decode
from structlog.testing import capture_logs

from ichd.domain.reason import Reason
from ichd.domain.study import CT_IMAGE_STORAGE
from ichd.intake.dimse import serving
from ichd.intake.part10 import split_file
from ichd.store.tables import AssociationRow
from tests.intake.conftest import House, OpenHouse
from tests.intake.images import encode, image
from tests.intake.pdus import CT_CONTEXT, ECHO_CONTEXT, RELEASE_RQ, associate_rq, echo_rq, p_data, store_rq
from tests.intake.senders import SUCCESS
from tests.intake.test_hostile import attacker, is_closed
from tests.intake.test_scp import uid, until


def kind_and_reason(connection: socket.socket) -> tuple[int, int]:
    """Type of the one short PDU that is heard, and the last of its bytes."""
    heard = connection.recv(64)
    assert is_closed(connection)
    return heard[0], heard[9]


@contextmanager
def associated(house: House, **request: Any) -> Iterator[socket.socket]:
    """A raw socket inside an association for CT and Verification."""
    with attacker(house) as connection:
        connection.sendall(associate_rq(**request))
        assert connection.recv(4096)[0] == 0x02
        yield connection


@pytest.mark.parametrize(
    "hostile", ["../../../etc/evil", "1.2.3/../../4", "1.2\0.3", "1." * 4000 + "1", "", "ID_a1b2c3", "%s%n", "1.2.3\n"]
)
def test_hostile_uids_are_refused_and_touch_nothing(house: House, hostile: str) -> None:
    dataset = encode(image(1))
    command = store_command(hostile)
    with associated(house) as connection:
        connection.sendall(p_data((CT_CONTEXT, 3, command)) + p_data((CT_CONTEXT, 2, dataset)))
        answer = decode(io.BytesIO(connection.recv(4096)[12:]), True, True)
        assert answer.Status == 0xC002
        # The association lives on.
        connection.sendall(b"".join(store_rq(dataset, uid(1))))
        assert decode(io.BytesIO(connection.recv(4096)[12:]), True, True).Status == SUCCESS
    assert len(house.files()) == house.count() == 1
    (refusal,) = house.arrivals.refusals()
    assert (refusal.reason, refusal.sop_instance_uid) == (Reason.BAD_UID, None)


def store_command(sop_instance_uid: str) -> bytes:
    value = sop_instance_uid.encode()
    value += b"\0" * (len(value) % 2)
    elements = [
        (0x0002, CT_IMAGE_STORAGE.encode() + b"\0" * (len(CT_IMAGE_STORAGE) % 2)),
        (0x0100, struct.pack("<H", 1)),
        (0x0110, struct.pack("<H", 1)),
        (0x0700, struct.pack("<H", 0)),
        (0x0800, struct.pack("<H", 1)),
        (0x1000, value),
    ]
    return b"".join(struct.pack("<HHL", 0, element, len(content)) + content for element, content in elements)


def test_an_oversize_data_set_is_answered_and_the_association_lives_on(open_house: OpenHouse) -> None:
    house = open_house(max_instance_bytes=100_000)
    with house.sender() as sender:
        large = sender.store(encode(image(1, PixelData=bytes(200_000))), uid(1))
        assert (large.status, large.comment.partition(":")[0]) == (0xC004, "too_large")
        assert sender.store(encode(image(2)), uid(2)).status == SUCCESS
    assert len(house.files()) == house.count() == 1


def test_an_association_that_brings_too_much_is_answered_and_ended(open_house: OpenHouse) -> None:
    house = open_house(max_association_bytes=10_000)
    with house.sender() as sender:
        assert sender.store(encode(image(1)), uid(1)).status == SUCCESS
        much = sender.store(encode(image(2, PixelData=bytes(20_000))), uid(2))
        assert (much.status, much.comment) == (0xA700, "association_too_large")
        until(lambda: not sender.association.is_established)
    with house.sender() as sender:
        assert sender.store(encode(image(3)), uid(3)).status == SUCCESS
    assert len(house.files()) == house.count() == 2
    until(lambda: all(row.ended_at is not None for row in house.rows(AssociationRow)))
    assert sorted(row.released for row in house.rows(AssociationRow)) == [False, True]


def test_an_association_that_brings_nothing_acceptable_is_ended(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """One good image in between, and we go on."""
    monkeypatch.setattr(serving, "_MOST_REFUSED_IN_A_ROW", 3)
    bad, good = encode(image(1))[:-20], encode(image(2))
    with capture_logs() as logs, house.sender() as sender:
        for content, number in ((bad, 1), (bad, 1), (good, 2), (bad, 1), (bad, 1)):
            assert (sender.store(content, uid(number)).status == SUCCESS) is (content is good)
        assert sender.association.is_established
        assert sender.store(bad, uid(1)).status != SUCCESS, "it is answered first"
        until(lambda: not sender.association.is_established)
    (entry,) = (entry for entry in logs if entry["event"] == "association_given_up")
    assert (entry["refused_in_a_row"], entry["calling_ae_title"]) == (3, "SCANNER")
    until(lambda: house.association().ended_at is not None)
    assert house.association().released is False


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (p_data((9, 3, b"")), 6),
        (struct.pack(">BBLLBB", 4, 0, 6, 0xFFFF, 1, 3), 6),
        (struct.pack(">BBLL", 4, 0, 4, 1), 6),
        (struct.pack(">BBL", 4, 0, 0), 6),
        (p_data((CT_CONTEXT, 2, b"data before a command")), 5),
        (p_data((CT_CONTEXT, 1, b"\0" * 8), (ECHO_CONTEXT, 3, b"")), 5),
        (p_data((CT_CONTEXT, 3, store_command("1.2.3")), (CT_CONTEXT, 3, store_command("1.2.3"))), 5),
        (p_data((CT_CONTEXT, 3, store_command("1.2.3")), (ECHO_CONTEXT, 2, b"")), 5),
        (p_data((CT_CONTEXT, 3, b"no command set")), 6),
        (p_data((CT_CONTEXT, 1, bytes(17_000))), 6),
        (p_data((CT_CONTEXT, 3, store_command("1.2.3"))) + RELEASE_RQ, 2),
        (associate_rq(), 2),
        (struct.pack(">BBL", 0x2A, 0, 0), 1),
    ],
    ids=[
        "context that was not accepted",
        "value longer than its pdu",
        "value without a header",
        "no value",
        "data before a command",
        "command in two contexts",
        "command in place of data",
        "data in another context",
        "no command set",
        "endless command set",
        "release inside a message",
        "second request",
        "unknown pdu",
    ],
)
def test_who_breaks_the_rules_is_aborted_and_told_why(house: House, sent: bytes, reason: int) -> None:
    with associated(house) as connection:
        connection.sendall(sent)
        assert kind_and_reason(connection) == (7, reason)
    assert house.files() == []
    with house.sender() as sender:
        assert sender.store(encode(image(1)), uid(1)).status == SUCCESS


def test_a_data_set_may_trickle_as_long_as_each_pdu_is_in_time(open_house: OpenHouse) -> None:
    house = open_house(network_timeout_s=2.0)
    dataset = encode(image(1))
    pieces = [dataset[start : start + 100] for start in range(0, len(dataset), 100)]
    started = time.monotonic()
    with associated(house) as connection:
        connection.sendall(p_data((CT_CONTEXT, 3, store_command(uid(1)))))
        for number, piece in enumerate(pieces):
            time.sleep(2.4 / len(pieces))
            connection.sendall(p_data((CT_CONTEXT, 2 if number == len(pieces) - 1 else 0, piece)))
        assert decode(io.BytesIO(connection.recv(4096)[12:]), True, True).Status == SUCCESS
    assert time.monotonic() - started > 2.0, "or the test shows nothing"


def test_silence_inside_an_association_ends_it_with_an_abort(open_house: OpenHouse) -> None:
    house = open_house(network_timeout_s=0.4)
    with associated(house) as connection:
        assert connection.recv(64)[0] == 7


def test_many_values_in_one_pdu_are_taken_one_by_one(house: House) -> None:
    dataset, command = encode(image(1)), store_command(uid(1))
    values = [
        (CT_CONTEXT, 1, command[:50]),
        (CT_CONTEXT, 3, command[50:]),
        *((CT_CONTEXT, 0, dataset[start : start + 1]) for start in range(len(dataset))),
        (CT_CONTEXT, 2, b""),
    ]
    with associated(house) as connection:
        connection.sendall(p_data(*values))
        assert decode(io.BytesIO(connection.recv(4096)[12:]), True, True).Status == SUCCESS
    assert bytes(split_file(house.stored(uid(1)))[1]) == dataset


def test_a_peer_that_takes_short_pdus_gets_short_ones(house: House) -> None:
    with associated(house, max_pdu=40) as connection:
        connection.sendall(echo_rq(3))
        connection.settimeout(0.5)
        heard = b""
        with suppress(TimeoutError):
            while True:
                heard += connection.recv(4096)
    command = b""
    while heard:
        (length,) = struct.unpack_from(">L", heard, 2)
        assert length <= 40
        command += heard[12 : 6 + length]
        heard = heard[6 + length :]
    assert decode(io.BytesIO(command), True, True).MessageIDBeingRespondedTo == 3
