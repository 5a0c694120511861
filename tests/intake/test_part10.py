"""The file around a data set, whole and in pieces."""

import struct

import pytest

from ichd.domain.errors import Refused
from ichd.domain.reason import Reason
from ichd.intake.part10 import FileHead, file_meta, split_file
from tests.intake.images import EXPLICIT, encode, image

META = file_meta(sop_class_uid="1.2", sop_instance_uid="1.2.3", transfer_syntax_uid=EXPLICIT)
DATASET = encode(image())


def read_in_pieces(content: bytes, size: int) -> tuple[FileHead, bytes]:
    head = FileHead()
    for begin in range(0, len(content), size):
        rest = head.feed(content[begin : begin + size])
        if rest is not None:
            return head, bytes(rest) + content[begin + size :]
    return head, bytes(head.finish())


@pytest.mark.parametrize("size", [1, 2, 3, 7, 131, 132, 133, len(META) - 1, len(META), len(META) + 1, 1 << 20])
def test_the_size_of_the_pieces_does_not_matter(size: int) -> None:
    head, rest = read_in_pieces(META + DATASET, size)
    assert rest == DATASET
    assert (head.sop_class_uid, head.sop_instance_uid, head.transfer_syntax_uid) == ("1.2", "1.2.3", EXPLICIT)


@pytest.mark.parametrize(("size", "reason"), [(0, "not_dicom"), (131, "not_dicom"), (136, "truncated")])
def test_meta_information_that_breaks_off_is_refused(size: int, reason: str) -> None:
    with pytest.raises(Refused) as caught:
        split_file(META[:size])
    assert caught.value.reason == reason


def test_byte_by_byte_each_beginning_is_judged_as_in_one_piece() -> None:
    def verdict(content: bytes, size: int) -> object:
        try:
            return read_in_pieces(content, size)[1]
        except Refused as error:
            return error.reason

    for length in range(len(META) + 3):
        beginning = (META + DATASET)[:length]
        assert verdict(beginning, 1) == verdict(beginning, 1 << 20)


def test_addresses_in_the_meta_information_are_passed_over() -> None:
    """(0002,0026) Source Presentation Address is a UR, whose length has four bytes."""
    address = b"https://pacs.example/studies"
    element = struct.pack("<HH2sHL", 2, 0x26, b"UR", 0, len(address)) + address
    syntax, dataset = split_file(META + element + DATASET)
    assert (syntax, bytes(dataset)) == (EXPLICIT, DATASET)


@pytest.mark.parametrize("size", [1000, 1 << 20])
@pytest.mark.parametrize("length", [65_000, 1 << 17, 0xFFFFFFFF])
def test_endless_meta_information_is_refused(size: int, length: int) -> None:
    private = struct.pack("<HH2sHL", 2, 0x102, b"OB", 0, length) + bytes(min(length, 1 << 18))
    with pytest.raises(Refused) as caught:
        read_in_pieces(META + private + private + DATASET, size)
    assert caught.value.reason is Reason.NOT_DICOM
