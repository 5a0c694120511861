"""PDUs, command sets and messages: pynetdicom reads what we write, and nothing that a peer writes does harm."""

import struct
from contextlib import suppress
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.dimse_messages import C_STORE_RSP
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import decode
from pynetdicom.dsutils import encode as encode_dataset
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ, P_DATA_TF
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext

from ichd.publish.command import CommandField, Tag, command_set, read_command, response
from ichd.publish.identifier import UNREADABLE, decoded
from ichd.publish.messages import Assembly, Message
from ichd.publish.pdu import (
    COMMAND,
    Context,
    Violation,
    associate_request,
    fragments,
    read_acceptance,
    rejection_words,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
CONTEXT = Context(context_id=3, abstract_syntax=CT, transfer_syntax=str(ExplicitVRLittleEndian))
ACCEPTED = {3: CONTEXT}
HEADER_SIZE = 6


def a_response(status: int = 0x0000, message_id: int = 7) -> bytes:
    """The command set of a C-STORE response, as pynetdicom writes it."""
    primitive = C_STORE()
    primitive.MessageIDBeingRespondedTo = message_id
    primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = CT, "1.2.3"
    primitive.Status = status
    message = C_STORE_RSP()
    message.primitive_to_message(primitive)
    encoded = encode_dataset(message.command_set, True, True)
    assert encoded is not None
    return encoded


def an_acceptance() -> bytes:
    """The body of an A-ASSOCIATE-AC, as pynetdicom writes it: context 1 taken, 3 not."""
    taken, refused = PresentationContext(), PresentationContext()
    taken.context_id, refused.context_id = 1, 3
    taken.result, refused.result = 0, 3
    taken.transfer_syntax = refused.transfer_syntax = [ImplicitVRLittleEndian]
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.called_ae_title, primitive.calling_ae_title = "PACS", "ICHD"
    primitive.presentation_context_definition_results_list = [taken, refused]
    primitive.maximum_length_received = 16382
    primitive.implementation_class_uid = "1.2.3"
    pdu = A_ASSOCIATE_AC()
    pdu.from_primitive(primitive)
    return bytes(pdu.encode()[HEADER_SIZE:])


def pdus(content: bytes) -> list[bytes]:
    """Bodies of the PDUs that lie one after another."""
    found = []
    while content:
        length = struct.unpack_from(">L", content, 2)[0]
        found.append(content[HEADER_SIZE : HEADER_SIZE + length])
        content = content[HEADER_SIZE + length :]
    return found


def test_pynetdicom_reads_our_association_request() -> None:
    contexts = [
        Context(context_id=1, abstract_syntax=CT, transfer_syntax=str(ExplicitVRLittleEndian)),
        Context(context_id=3, abstract_syntax=CT, transfer_syntax=str(ImplicitVRLittleEndian)),
    ]
    pdu = A_ASSOCIATE_RQ()
    pdu.decode(associate_request(called="PACS", calling="ICHD", contexts=contexts))
    primitive = pdu.to_primitive()
    assert (primitive.called_ae_title.strip(), primitive.calling_ae_title.strip()) == ("PACS", "ICHD")
    assert [(c.context_id, c.abstract_syntax, c.transfer_syntax) for c in pdu.presentation_context] == [
        (1, CT, [ExplicitVRLittleEndian]),
        (3, CT, [ImplicitVRLittleEndian]),
    ]
    assert primitive.maximum_length_received == 131072
    assert primitive.implementation_class_uid is not None


def test_an_acceptance_names_what_was_taken_and_how_much_fits() -> None:
    acceptance = read_acceptance(an_acceptance())
    assert acceptance.transfer_syntaxes == {1: str(ImplicitVRLittleEndian)}
    assert acceptance.max_pdu == 16382


@given(
    cut=st.integers(0, len(an_acceptance()) - 1), flips=st.lists(st.tuples(st.integers(0, 150), st.integers(1, 255)))
)
def test_a_broken_acceptance_is_a_violation_and_nothing_else(cut: int, flips: list[tuple[int, int]]) -> None:
    body = bytearray(an_acceptance()[:cut] if not flips else an_acceptance())
    for place, bits in flips:
        body[place % len(body)] ^= bits
    with suppress(Violation):
        read_acceptance(bytes(body))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (bytes((0, 1, 1, 7)), "for good: it has not the called AE title"),
        (bytes((0, 2, 3, 2)), "for now: it has reached its limit of associations"),
        (bytes((0, 1, 9, 9)), "for good: source 9, reason 9"),
        (b"", "no reason given"),
    ],
)
def test_a_rejection_in_words(body: bytes, words: str) -> None:
    assert rejection_words(body) == words


@given(content=st.binary(max_size=5000), max_pdu=st.one_of(st.just(0), st.integers(1, 6000)), is_command=st.booleans())
def test_fragments_are_put_together_again_and_none_is_too_long(content: bytes, max_pdu: int, is_command: bool) -> None:
    written = b"".join(fragments(5, content, control=COMMAND if is_command else 0, max_pdu=max_pdu))
    bodies = pdus(written)
    assert all(len(body) <= max(max_pdu, 8) for body in bodies) or not max_pdu
    values = []
    for body in bodies:
        pdu = P_DATA_TF()
        pdu.decode(struct.pack(">BxL", 4, len(body)) + body)
        values += pdu.to_primitive().presentation_data_value_list
    assert {context_id for context_id, _ in values} == {5}
    assert b"".join(value[1:] for _, value in values) == content
    last = 0x03 if is_command else 0x02
    assert [value[0] for _, value in values] == [last & ~0x02] * (len(values) - 1) + [last]


def test_pynetdicom_reads_our_requests() -> None:
    elements: dict[Tag, int | str] = {Tag.AFFECTED_SOP_CLASS_UID: CT, Tag.MESSAGE_ID: 9, Tag.PRIORITY: 0}
    read = decode(BytesIO(command_set(CommandField.C_STORE, elements, has_data_set=True)), True, True)
    assert (read.AffectedSOPClassUID, read.MessageID, read.CommandField) == (CT, 9, 1)
    assert read.CommandDataSetType != 0x0101
    assert read.CommandGroupLength == len(command_set(CommandField.C_STORE, elements, has_data_set=True)) - 12


def test_we_read_pynetdicoms_response() -> None:
    command = read_command(a_response(0xA700))
    assert command.is_response
    assert (command.status, command.message_id, command.has_data_set) == (0xA700, 7, False)
    assert command.sop_instance_uid == "1.2.3"


def test_a_response_of_ours_repeats_what_it_answers() -> None:
    event = command_set(
        CommandField.N_EVENT_REPORT,
        {Tag.AFFECTED_SOP_CLASS_UID: CT, Tag.MESSAGE_ID: 4, Tag.AFFECTED_SOP_INSTANCE_UID: "1.2", Tag.EVENT_TYPE_ID: 2},
        has_data_set=False,
    )
    answer = read_command(response(read_command(event), 0x0110))
    assert answer.field == 0x8100
    assert (answer.message_id, answer.status, answer.event_type) == (4, 0x0110, 2)
    assert (answer.sop_class_uid, answer.sop_instance_uid) == (CT, "1.2")


@given(content=st.one_of(st.binary(max_size=200), st.integers(0, 90).map(lambda n: a_response()[:n])))
def test_a_broken_command_set_is_a_violation_and_nothing_else(content: bytes) -> None:
    with suppress(Violation):
        read_command(content)


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_any_fragments_are_a_message_or_a_violation(bodies: list[bytes]) -> None:
    assembly = Assembly(ACCEPTED)
    with suppress(Violation):
        for body in bodies:
            assembly.add(body)


@given(content=st.binary(max_size=2000), max_pdu=st.integers(20, 400))
def test_a_message_in_pieces_is_whole(content: bytes, max_pdu: int) -> None:
    request = command_set(CommandField.N_EVENT_REPORT, {Tag.MESSAGE_ID: 4}, has_data_set=True)
    written = b"".join(fragments(3, request, control=COMMAND, max_pdu=max_pdu))
    written += b"".join(fragments(3, content, control=0, max_pdu=max_pdu))
    assembly = Assembly(ACCEPTED)
    messages = [assembly.add(body) for body in pdus(written)]
    assert [message for message in messages[:-1] if message] == []
    assert messages[-1] is not None
    assert messages[-1].data_set == content
    assert messages[-1].context is CONTEXT


@pytest.mark.parametrize(
    ("context_id", "control", "words"),
    [(5, 0x03, "presentation context"), (3, 0x02, "wrong order")],
)
def test_what_is_no_message_of_ours(context_id: int, control: int, words: str) -> None:
    body = struct.pack(">LBB", 2 + len(a_response()), context_id, control) + a_response()
    with pytest.raises(Violation, match=words):
        Assembly(ACCEPTED).add(body)


def test_a_command_set_without_end() -> None:
    assembly = Assembly(ACCEPTED)
    body = struct.pack(">LBB", 2 + 1000, 3, 0x01) + bytes(1000)
    for _ in range(16):
        assert assembly.add(body) is None
    with pytest.raises(Violation, match="too long"):
        assembly.add(body)


@given(st.binary(max_size=300))
def test_any_data_set_is_read_or_unreadable(content: bytes) -> None:
    command = read_command(a_response())
    message = Message(command=command, context=CONTEXT, data_set=content)
    with suppress(*UNREADABLE):
        read: Dataset = decoded(message)
        str(read.get("SOPInstanceUID"))
        [str(item) for item in read.get("ReferencedSOPSequence") or ()]
