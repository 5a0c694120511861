"""Data sets of services: what is read of them, and what is not."""

import struct
import time
from datetime import UTC, datetime

import pytest
from pydicom.dataset import Dataset

from ichd.intake.claim import Sender
from ichd.intake.commitment import MOST_REFERENCES, PUSH_MODEL, PUSH_MODEL_INSTANCE
from ichd.intake.information import (
    MOST_ITEMS,
    Information,
    decode,
    has_sequence,
    has_text,
    items_of,
    text_of,
    uid_of,
)
from ichd.intake.service import Operation, Request
from tests.intake.images import EXPLICIT, ROOT, encode

IMPLICIT = "1.2.840.10008.1.2"
UNDEFINED = 0xFFFFFFFF
#: ReferencedSOPSequence, and what ends a sequence.
SEQUENCE = (0x0008, 0x1199)
SEQUENCE_END = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)


def read(dataset: bytes, syntax: str = IMPLICIT) -> Information | None:
    return decode(
        Request(
            operation=Operation.N_ACTION,
            sop_class_uid=PUSH_MODEL,
            sop_instance_uid=PUSH_MODEL_INSTANCE,
            type_id=1,
            dataset=dataset,
            transfer_syntax_uid=syntax,
            sender=Sender(calling_ae_title="CT1", address="127.0.0.1"),
            received_at=datetime.now(UTC),
        )
    )


def element(tag: tuple[int, int], content: bytes, length: int | None = None) -> bytes:
    return struct.pack("<HHL", *tag, len(content) if length is None else length) + content


def item(content: bytes = b"", length: int | None = None) -> bytes:
    return element((0xFFFE, 0xE000), content, length)


def references(count: int, *, undefined: bool) -> Dataset:
    """With a UID as long as may be, and everything that an availability notification says of an image."""
    ds = Dataset()
    ds.TransactionUID = f"{ROOT}.1"
    ds.ReferencedSOPSequence = []
    for number in range(count):
        reference = Dataset()
        reference.InstanceAvailability = "ONLINE"
        reference.RetrieveAETitle = "A" * 16
        reference.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        reference.ReferencedSOPInstanceUID = f"{ROOT}.{number}.".ljust(64, "7")
        reference.is_undefined_length_sequence_item = undefined
        ds.ReferencedSOPSequence.append(reference)
    ds["ReferencedSOPSequence"].is_undefined_length = undefined
    return ds


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
@pytest.mark.parametrize("undefined", [False, True])
def test_as_many_references_as_may_be_are_read(syntax: str, undefined: bool) -> None:
    content = encode(references(MOST_REFERENCES, undefined=undefined), syntax)
    assert len(content) < 2 << 20
    information = read(content, syntax)
    assert information is not None
    assert uid_of(information, "TransactionUID") == f"{ROOT}.1"
    items = items_of(information, "ReferencedSOPSequence")
    assert len({uid_of(item, "ReferencedSOPInstanceUID") for item in items}) == MOST_REFERENCES
    assert {text_of(item, "InstanceAvailability") for item in items} == {"ONLINE"}


def test_what_is_missing_and_what_is_empty_are_told_apart() -> None:
    information = read(element(SEQUENCE, b"") + element((0x0040, 0x0252), b""))
    assert information is not None
    assert has_sequence(information, "ReferencedSOPSequence")
    assert not has_sequence(information, "PerformedSeriesSequence")
    assert has_text(information, "PerformedProcedureStepStatus")
    assert not has_text(information, "Modality")
    assert items_of(information, "ReferencedSOPSequence") == []


def test_a_sequence_of_unknown_vr_holds_implicit_elements() -> None:
    reference = item(element((0x0008, 0x1155), b"1.2.3\0"))
    for length, end in ((len(reference), b""), (UNDEFINED, SEQUENCE_END)):
        content = struct.pack("<HH2sHL", *SEQUENCE, b"UN", 0, length) + reference + end
        information = read(content, EXPLICIT)
        assert information is not None
        assert [
            uid_of(each, "ReferencedSOPInstanceUID") for each in items_of(information, "ReferencedSOPSequence")
        ] == ["1.2.3"]


def nested(depth: int, tag: tuple[int, int]) -> bytes:
    """Sequences of undefined length in items of defined length."""
    content = b""
    for _ in range(depth):
        content = element(tag, item(content) + SEQUENCE_END, UNDEFINED)
    return content


@pytest.mark.parametrize("tag", [SEQUENCE, (0x0008, 0x1140), (0x0040, 0x0100)])
def test_no_depth_is_too_deep_to_be_answered(tag: tuple[int, int]) -> None:
    """A sequence that nobody asks for is passed over; one that is asked for nests as deep as services go."""
    information = read(nested(1500, tag))
    assert information is None or information == Information()
    assert (information is None) is (tag != (0x0040, 0x0100))


@pytest.mark.parametrize(
    "content",
    [
        element(SEQUENCE, item() * 250_000 + SEQUENCE_END, UNDEFINED),
        element(SEQUENCE, item() * 250_000),
        element(SEQUENCE, item(element(SEQUENCE, item() * 250_000))),
        element((0x0040, 0x0100), item() * 250_000 + SEQUENCE_END, UNDEFINED),
        element((0x0008, 0x1155), b"") * 250_000,
    ],
)
def test_what_has_no_end_in_sight_is_not_read(content: bytes) -> None:
    started = time.monotonic()
    assert read(content) is None
    assert time.monotonic() - started < 5


def test_items_are_counted_over_all_sequences() -> None:
    half = element(SEQUENCE, item() * (MOST_ITEMS // 2))
    assert read(half + half) is not None
    assert read(half + half + element(SEQUENCE, item())) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        element(SEQUENCE, item(element((0x0008, 0x1155), b"1.2.3.")), 8),
        element(SEQUENCE, item(element((0x0008, 0x1155), b"1.2.3."), 8)),
        element(SEQUENCE, item(b"\0" * 4)),
        element(SEQUENCE, element((0x0008, 0x1155), b"1.2.3.")),
        element(SEQUENCE, item(), UNDEFINED),
    ],
    ids=["nothing", "sequence too short", "item too short", "half an element", "no item", "no end"],
)
def test_lengths_that_contradict_each_other_are_not_read(content: bytes) -> None:
    assert read(content) is None
