"""Normalised services at the DIMSE door: what a service is asked, and what the peer hears."""

import io
import socket
import struct
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode
from structlog.testing import capture_logs

from ichd.domain.errors import Transient
from ichd.domain.reason import Reason
from ichd.intake.service import Answer, Operation, Request, Status
from tests.intake.conftest import OpenHouse
from tests.intake.images import MARKED_NAME, encode, image
from tests.intake.pdus import CT_CONTEXT, USUAL, Proposals, associate_rq, p_data, service_rq, store_rq
from tests.intake.senders import SUCCESS
from tests.intake.test_hostile import attacker, is_closed
from tests.intake.test_scp import uid, until

COMMITMENT = "1.2.840.10008.1.20.1"
INSTANCE = "1.2.840.10008.1.20.1.1"
IMPLICIT = "1.2.840.10008.1.2"
CONTEXT = 5
PROPOSALS: Proposals = (*USUAL, (COMMITMENT, (IMPLICIT,)))


class Desk:
    """Notes what it is asked and answers as it is told."""

    def __init__(self, answer: Answer | Transient) -> None:
        self.asked: list[Request] = []
        self._answer = answer

    def __call__(self, request: Request) -> Answer:
        self.asked.append(request)
        if isinstance(self._answer, Transient):
            raise self._answer
        return self._answer


def n_action(dataset: bytes = b"\x08\0\0\0\0\0\0\0") -> bytes:
    return b"".join(
        service_rq(
            "N-ACTION",
            sop_class_uid=COMMITMENT,
            sop_instance_uid=INSTANCE,
            type_id=1,
            dataset=dataset,
            context_id=CONTEXT,
        )
    )


def answer_to(connection: socket.socket, message: bytes) -> Dataset:
    connection.sendall(message)
    return decode(io.BytesIO(connection.recv(4096)[12:]), True, True)


@pytest.fixture
def opened(open_house: OpenHouse) -> Any:
    def build(desk: Desk) -> Any:
        return open_house(services={COMMITMENT: desk})

    return build


def test_a_service_is_asked_and_its_answer_is_heard(opened: Any) -> None:
    desk = Desk(Answer(status=Status.NO_SUCH_SOP_INSTANCE, comment="not here"))
    with attacker(opened(desk)) as connection:
        connection.sendall(associate_rq(PROPOSALS, calling="MODALITY"))
        assert connection.recv(4096)[0] == 2
        told = answer_to(connection, n_action(b"\x08\0\x05\0\0\0\0\0"))
        assert (told.CommandField, told.Status, told.ErrorComment) == (0x8130, 0x0112, "not here")
        assert (told.AffectedSOPClassUID, told.AffectedSOPInstanceUID, told.ActionTypeID) == (COMMITMENT, INSTANCE, 1)
        # Images and services share an association.
        assert answer_to(connection, b"".join(store_rq(encode(image(1)), uid(1)))).Status == SUCCESS
    (request,) = desk.asked
    assert (request.operation, request.type_id) == (Operation.N_ACTION, 1)
    assert (request.sop_class_uid, request.sop_instance_uid) == (COMMITMENT, INSTANCE)
    assert (request.dataset, request.transfer_syntax_uid) == (b"\x08\0\x05\0\0\0\0\0", IMPLICIT)
    assert (request.sender.calling_ae_title, request.sender.address) == ("MODALITY", "127.0.0.1")


def test_a_service_that_fails_is_a_failure_and_no_end(opened: Any) -> None:
    desk = Desk(Transient(Reason.STORE_UNAVAILABLE, "database at 10.0.0.1"))
    with attacker(opened(desk)) as connection:
        connection.sendall(associate_rq(PROPOSALS))
        assert connection.recv(4096)[0] == 2
        for _ in range(2):
            told = answer_to(connection, n_action())
            assert (told.Status, told.ErrorComment) == (0x0110, "store_unavailable")


def test_a_data_set_too_large_for_a_service_is_answered_without_it(opened: Any) -> None:
    desk = Desk(Answer(status=Status.SUCCESS))
    with attacker(opened(desk)) as connection:
        connection.sendall(associate_rq(PROPOSALS))
        assert connection.recv(4096)[0] == 2
        assert answer_to(connection, n_action(bytes(3 << 20))).Status == Status.RESOURCE_LIMITATION
        assert desk.asked == []
        assert answer_to(connection, n_action()).Status == Status.SUCCESS


@pytest.mark.parametrize("kind", ["an image", "a question", "what nobody wants"])
def test_a_data_set_without_end_ends_the_association(open_house: OpenHouse, kind: str) -> None:
    services = {COMMITMENT: Desk(Answer(status=Status.SUCCESS))}
    house = open_house(services=services, max_association_bytes=300_000, max_instance_bytes=200_000)
    image_command, question = store_rq(b"", uid(1))[0], n_action()
    question_command = question[: 6 + int.from_bytes(question[2:6], "big")]
    context_id, command = {
        "an image": (CT_CONTEXT, image_command),
        "a question": (CONTEXT, question_command),
        "what nobody wants": (CONTEXT, p_data((CONTEXT, 3, image_command[12:]))),
    }[kind]
    with capture_logs() as logs, attacker(house) as connection:
        connection.sendall(associate_rq(PROPOSALS))
        assert connection.recv(4096)[0] == 2
        connection.sendall(command)
        for _ in range(4):
            connection.sendall(p_data((context_id, 0, bytes(100_000))))
        connection.settimeout(0.5)
        with pytest.raises(TimeoutError):
            connection.recv(4096)
        connection.settimeout(10)
        for _ in range(3):
            connection.sendall(p_data((context_id, 0, bytes(100_000))))
        assert connection.recv(4096)[0] == 7
        until(lambda: any(entry["event"] == "association_violated" for entry in logs))
    assert house.files() == []


def test_what_nobody_offers_is_not_negotiated_or_not_recognised(opened: Any, open_house: OpenHouse) -> None:
    with attacker(opened(Desk(Answer(status=Status.SUCCESS)))) as connection:
        connection.sendall(associate_rq(PROPOSALS))
        assert connection.recv(4096)[0] == 2
        # An N-ACTION in a context for images, and a C-STORE in one for a service.
        asked = n_action().replace(bytes((CONTEXT, 3)), bytes((CT_CONTEXT, 3)), 1)
        asked = asked.replace(bytes((CONTEXT, 2)), bytes((CT_CONTEXT, 2)), 1)
        assert answer_to(connection, asked).Status == Status.UNRECOGNISED_OPERATION
        command, *_ = store_rq(b"", uid(1))
        store = p_data((CONTEXT, 3, command[12:]), (CONTEXT, 2, encode(image(1))))
        assert answer_to(connection, store).Status == Status.UNRECOGNISED_OPERATION
    house = open_house()
    with house.sender(sop_classes=("1.2.840.10008.5.1.4.1.1.2", COMMITMENT), transfer_syntax_uid=IMPLICIT) as sender:
        assert [c.abstract_syntax for c in sender.association.accepted_contexts] == ["1.2.840.10008.5.1.4.1.1.2"]
    assert house.files() == []


@pytest.mark.parametrize("hostile", ["../../../etc/evil", "1.2\0.3", "1." * 400 + "1"])
def test_a_service_never_hears_of_what_is_no_uid(opened: Any, hostile: str) -> None:
    desk = Desk(Answer(status=Status.SUCCESS))
    value = hostile.encode() + b"\0" * (len(hostile) % 2)
    command = b"".join(
        struct.pack("<HHL", 0, element, len(content)) + content
        for element, content in (
            (0x0003, COMMITMENT.encode()),
            (0x0100, struct.pack("<H", 0x0130)),
            (0x0110, struct.pack("<H", 1)),
            (0x0800, struct.pack("<H", 1)),
            (0x1001, value),
            (0x1008, struct.pack("<H", 1)),
        )
    )
    with attacker(opened(desk)) as connection:
        connection.sendall(associate_rq(PROPOSALS))
        assert connection.recv(4096)[0] == 2
        told = answer_to(connection, p_data((CONTEXT, 3, command), (CONTEXT, 2, bytes(8))))
        assert (told.Status, told.ErrorComment) == (Status.INVALID_ARGUMENT_VALUE, "bad_uid")
    assert desk.asked == []


def test_a_defect_ends_one_connection_and_names_nobody(open_house: OpenHouse) -> None:
    def defective(request: Request) -> Answer:
        raise RuntimeError(f"{MARKED_NAME} {request.sop_instance_uid}")

    house = open_house(services={COMMITMENT: defective}, max_associations=1)
    with capture_logs() as logs, attacker(house) as connection:
        connection.sendall(associate_rq(PROPOSALS))
        assert connection.recv(4096)[0] == 2
        connection.sendall(n_action())
        assert is_closed(connection)
        until(lambda: any(entry["event"] == "connection_failed" for entry in logs))
    (record,) = [entry for entry in logs if entry["event"] == "connection_failed"]
    assert record["error"] == "RuntimeError"
    assert record["at"].startswith("test_services.py:")
    assert MARKED_NAME not in repr(logs)
    until(lambda: house.sender().association.is_established)
