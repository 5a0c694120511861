"""Normalised services at the DIMSE door: what a service is asked, and what the peer hears."""

import io
import socket
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode

from ichd.domain.errors import Transient
from ichd.domain.reason import Reason
from ichd.intake.service import Answer, Operation, Request, Status
from tests.intake.conftest import OpenHouse
from tests.intake.images import encode, image
from tests.intake.pdus import CT_CONTEXT, USUAL, Proposals, associate_rq, p_data, service_rq, store_rq
from tests.intake.senders import SUCCESS
from tests.intake.test_hostile import attacker
from tests.intake.test_scp import uid

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
        assert answer_to(connection, n_action(bytes(5 << 20))).Status == Status.RESOURCE_LIMITATION
        assert desk.asked == []
        assert answer_to(connection, n_action()).Status == Status.SUCCESS


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
