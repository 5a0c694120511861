"""What we read and write, against what pynetdicom writes and reads."""

import io
import struct
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom import build_context, build_role
from pynetdicom.dsutils import decode
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ, A_RELEASE_RP, P_DATA_TF
from pynetdicom.presentation import negotiate_as_acceptor

from ichd.domain.study import CT_IMAGE_STORAGE, ENHANCED_CT_IMAGE_STORAGE
from ichd.intake.dimse import pdu
from ichd.intake.dimse.associate import AssociateRequest, acceptance, read_request, rejection
from ichd.intake.dimse.command import Command, read_command, response
from ichd.intake.dimse.negotiation import (
    VERIFICATION,
    Welcome,
    accepted,
    answers,
    objection,
    offered_contexts,
    roles_of,
)
from ichd.intake.peers import Rejection
from ichd.intake.syntax import TRANSFER_SYNTAXES
from tests.intake.images import EXPLICIT
from tests.intake.pdus import associate_primitive, associate_rq, command_set, echo_rq, service_rq, store_rq

COMMITMENT = "1.2.840.10008.1.20.1"
MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"

uids = st.from_regex(r"[0-2](\.[1-9][0-9]{0,8}){1,5}", fullmatch=True)
titles = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="\\"), min_size=1, max_size=16
)
proposals = st.lists(
    st.tuples(
        st.sampled_from(
            [CT_IMAGE_STORAGE, ENHANCED_CT_IMAGE_STORAGE, VERIFICATION, COMMITMENT, "1.2.840.10008.5.1.4.1.1.4"]
        ),
        st.lists(st.sampled_from([*TRANSFER_SYNTAXES, "1.2.840.10008.1.2.4.100"]), min_size=1, unique=True),
    ),
    max_size=12,
)


def request_of(encoded: bytes) -> AssociateRequest:
    return read_request(memoryview(encoded)[6:])


@given(proposals, titles, titles, st.integers(0, 2**32 - 1))
def test_a_request_for_an_association_is_read(
    proposed: list[tuple[str, list[str]]], calling: str, called: str, max_pdu: int
) -> None:
    request = request_of(associate_rq(proposed, calling=calling, called=called, max_pdu=max_pdu))
    assert (request.calling_ae_title, request.called_ae_title) == (calling, called)
    assert [(c.abstract_syntax, list(c.transfer_syntaxes)) for c in request.contexts] == proposed
    assert (request.max_pdu, request.protocol_version) == (max_pdu, 1)


@given(proposals)
def test_contexts_are_negotiated_as_pynetdicom_would(proposed: list[tuple[str, list[str]]]) -> None:
    offered = offered_contexts([COMMITMENT])
    request = request_of(associate_rq(proposed))
    answered = answers(request, offered)
    ours = A_ASSOCIATE_AC()
    ours.decode(acceptance(request, answered, max_pdu=131072))
    primitive = associate_primitive(proposed, calling="SCANNER", called="ICHD", max_pdu=0)
    supported = [build_context(uid, list(syntaxes)) for uid, syntaxes in offered.items()]
    theirs, _ = negotiate_as_acceptor(primitive.presentation_context_definition_list, supported)
    expected = {c.context_id: (c.result, c.transfer_syntax[0] if c.result == 0 else None) for c in theirs}
    told = {
        item.presentation_context_id: (item.result, item.transfer_syntax if item.result == 0 else None)
        for item in ours.presentation_context
    }
    assert told == expected
    assert set(accepted(request, answered)) == {number for number, (result, _) in expected.items() if result == 0}
    assert ours.user_information is not None
    assert ours.user_information.maximum_length == 131072


roles = st.lists(
    st.tuples(st.sampled_from([CT_IMAGE_STORAGE, COMMITMENT]), st.booleans(), st.booleans()),
    max_size=2,
    unique_by=lambda role: role[0],
)


@given(roles)
def test_only_a_provider_of_what_we_use_has_its_role_confirmed(proposed: list[tuple[str, bool, bool]]) -> None:
    primitive = associate_primitive(
        [(COMMITMENT, ["1.2.840.10008.1.2"]), (CT_IMAGE_STORAGE, ["1.2.840.10008.1.2"])],
        calling="PACS",
        called="ICHD",
        max_pdu=0,
    )
    for uid, user, provider in proposed:
        if user or provider:
            primitive.user_information.append(build_role(uid, scu_role=user, scp_role=provider))
    request = request_of(bytes(A_ASSOCIATE_RQ(primitive).encode()))
    assert [(r.sop_class_uid, r.user, r.provider) for r in request.roles] == [r for r in proposed if r[1] or r[2]]
    answered = answers(request, offered_contexts([COMMITMENT]))
    confirmed = roles_of(request, accepted(request, answered), {COMMITMENT})
    ours = A_ASSOCIATE_AC()
    ours.decode(acceptance(request, answered, max_pdu=131072, roles=confirmed))
    assert ours.user_information is not None
    told = {uid: (item.scu, item.scp) for uid, item in ours.user_information.role_selection.items()}
    assert told == {uid: (user, scp) for uid, user, scp in proposed if uid == COMMITMENT and (user or scp)}


def test_a_role_that_does_not_fill_its_place_is_no_role() -> None:
    primitive = associate_primitive([(COMMITMENT, ["1.2.840.10008.1.2"])], calling="A", called="B", max_pdu=0)
    primitive.user_information.append(build_role(COMMITMENT, scp_role=True))
    encoded = bytes(A_ASSOCIATE_RQ(primitive).encode())
    at = encoded.index(b"\x54\x00\x00") + 4
    for length in (b"\x00\x00", b"\xff\xff"):
        with pytest.raises(pdu.Violation):
            request_of(encoded[:at] + length + encoded[at + 2 :])


def test_a_rejection_and_the_short_pdus_are_what_they_should_be() -> None:
    rejected = A_ASSOCIATE_RJ()
    rejected.decode(rejection(1, 2, 2))
    assert (rejected.result, rejected.source, rejected.reason_diagnostic) == (1, 2, 2)
    aborted = A_ABORT_RQ()
    aborted.decode(pdu.abort_by_provider(pdu.AbortReason.UNEXPECTED_PDU))
    assert (aborted.source, aborted.reason_diagnostic) == (2, 2)
    assert A_RELEASE_RP().encode() == pdu.release_response()


@pytest.mark.parametrize(
    ("change", "objected"),
    [
        ({}, None),
        ({"protocol_version": 3}, None),
        ({"protocol_version": 2}, Rejection.PROTOCOL_VERSION_NOT_SUPPORTED),
        ({"application_context": "1.2.3"}, Rejection.APPLICATION_CONTEXT_NOT_SUPPORTED),
        ({"called": b"OTHER".ljust(16)}, Rejection.CALLED_AE_TITLE_NOT_RECOGNIZED),
    ],
)
def test_who_asks_wrongly_is_told_what_is_wrong(change: dict[str, Any], objected: Rejection | None) -> None:
    asked = vars(request_of(associate_rq()))
    welcome = Welcome(ae_title="ICHD", allowed_peers=(), require_called_ae_title=True)
    assert objection(AssociateRequest(**{**asked, **change}), "127.0.0.1", welcome) is objected


def test_a_title_with_control_characters_does_not_reach_a_log() -> None:
    asked = vars(request_of(associate_rq()))
    assert AssociateRequest(**{**asked, "calling": b" CT\x1b[2J\0\xff "}).calling_ae_title == "CT?[2J??"


@pytest.mark.parametrize(
    "items",
    [
        b"\x20\0\0\x04\x02\0\0\0",
        b"\x20\0\0\x04\x01\0\0\0" * 2,
        b"\x20\0\xff\xff\x01\0\0\0",
        b"\x50\0\0\x05\x51\0\0\x01\0",
        b"\x60\0\0\0" * 4000,
        b"\x10\0",
    ],
    ids=["even id", "id twice", "longer than the pdu", "odd length", "thousands of items", "half an item"],
)
def test_a_malformed_request_is_a_violation(items: bytes) -> None:
    body = struct.pack(">HH", 1, 0) + b"ICHD".ljust(16) + b"CT".ljust(16) + bytes(32) + items
    with pytest.raises(pdu.Violation):
        read_request(memoryview(body))


@given(uids, st.integers(0, 0xFFFF))
def test_a_store_request_is_read_and_its_answer_understood(instance: str, status: int) -> None:
    command = read_command(command_set(store_rq(b"\0" * 8, instance)))
    assert command.has_data_set
    assert (command.field, command.message_id) == (0x0001, 1)
    assert (command.sop_class_uid, command.sop_instance_uid) == (CT_IMAGE_STORAGE, instance)
    told = decode(io.BytesIO(response(command, status, "truncated: 12 of 13")), True, True)
    assert told.CommandGroupLength == len(response(command, status, "truncated: 12 of 13")) - 12
    assert (told.CommandField, told.MessageIDBeingRespondedTo, told.Status) == (0x8001, 1, status)
    assert (told.AffectedSOPClassUID, told.AffectedSOPInstanceUID) == (CT_IMAGE_STORAGE, instance)
    assert (told.CommandDataSetType, told.ErrorComment) == (0x0101, "truncated: 12 of 13")


def test_an_echo_is_read() -> None:
    command = read_command(command_set([echo_rq(9)]))
    assert (command.field, command.message_id, command.has_data_set) == (0x0030, 9, False)


@pytest.mark.parametrize(
    ("kind", "field", "type_id"), [("N-ACTION", 0x0130, 1), ("N-CREATE", 0x0140, 0), ("N-EVENT-REPORT", 0x0100, 2)]
)
def test_services_are_read_and_their_answers_understood(kind: str, field: int, type_id: int) -> None:
    sent = service_rq(
        kind, sop_class_uid=COMMITMENT, sop_instance_uid="1.2.3", type_id=type_id, dataset=b"\0" * 8, context_id=1
    )
    command = read_command(command_set(sent))
    assert command.has_data_set
    assert (command.field, command.message_id, command.type_id) == (field, 7, type_id)
    assert (command.sop_class_uid, command.sop_instance_uid) == (COMMITMENT, "1.2.3")
    told = decode(io.BytesIO(response(command, 0)), True, True)
    assert (told.CommandField, told.AffectedSOPClassUID) == (field | 0x8000, COMMITMENT)
    assert told.get("ActionTypeID", told.get("EventTypeID", 0)) == type_id


@given(st.binary(min_size=1, max_size=600), st.integers(8, 300))
def test_a_command_is_cut_to_what_the_peer_takes(content: bytes, longest: int) -> None:
    encoded = pdu.command_pdus(5, content, longest=longest)
    together = b""
    while encoded:
        (length,) = struct.unpack_from(">L", encoded, 2)
        assert length <= longest
        data = P_DATA_TF()
        data.decode(encoded[: 6 + length])
        encoded = encoded[6 + length :]
        ((context_id, value),) = data.to_primitive().presentation_data_value_list
        assert (context_id, value[0]) == (5, 1 if encoded else 3)
        together += bytes(value[1:])
    assert together == content


@given(st.binary(max_size=300))
def test_noise_for_a_command_is_a_violation_or_a_command(noise: bytes) -> None:
    with suppress(pdu.Violation):
        assert isinstance(read_command(noise), Command)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes.fromhex("0800050002000000aabb"),
        bytes.fromhex("00000001040000000100"),
        bytes.fromhex("0000000804000000010100000000000102000000"),
        bytes.fromhex("000000010200000030000000000102000000ffff"),
    ],
    ids=["empty", "another group", "too long", "a number of four bytes", "out of order"],
)
def test_a_malformed_command_is_a_violation(content: bytes) -> None:
    with pytest.raises(pdu.Violation):
        read_command(content)


def test_what_is_no_uid_is_not_repeated_at_any_length() -> None:
    command = Command(
        field=1, message_id=1, has_data_set=True, sop_class_uid=EXPLICIT, sop_instance_uid="9" * 5000, type_id=0
    )
    assert len(response(command, 0xC002, "x" * 500)) < 250
