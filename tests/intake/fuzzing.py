"""What is fuzzed: everything that reads bytes of strangers before anybody vouched for them, with seeds to start from.

Each target takes any bytes and either returns or is a defect: what it may raise is caught here, by name.
"""

import os
import random
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from ichd.domain.errors import Refused
from ichd.intake.commitment import PUSH_MODEL
from ichd.intake.dimse.associate import AnsweredContext, acceptance, read_request
from ichd.intake.dimse.command import read_command, response
from ichd.intake.dimse.pdu import HEADER, Violation, command_pdus, next_pdv
from ichd.intake.header import parse_header
from ichd.intake.part10 import FileHead, file_meta, split_file
from ichd.intake.stow.multipart import NotMultipart, read_parts
from tests.intake.images import EXPLICIT, encode, image

IMPLICIT = "1.2.840.10008.1.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
ENCODINGS = (EXPLICIT, IMPLICIT, "1.2.840.10008.1.2.2", DEFLATED, "1.2.840.10008.1.2.4.70")
BOUNDARY = "f-u-z-z"

#: Real files are fuzzed without most of their pixels.
_SEED_BYTES = 1 << 14
_CHUNK_BYTES = (1, 2, 7, 61, 512, 1 << 16)
_MOST_CHUNKS = 300
#: Lengths and tags on which parsers trip.
_TRIPWIRES = (
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x00",
    b"\xff\xff\xff\x7f",
    b"\x00\x00\x00\x80",
    b"\xff\xff",
    b"\xfe\xff\x00\xe0",
    b"\xfe\xff\x0d\xe0",
    b"\xfe\xff\xdd\xe0",
    b"\xe0\x7f\x10\x00",
    b"SQ\x00\x00",
    b"UN\x00\x00",
    b"\x02\x00",
    b"\r\n--" + BOUNDARY.encode(),
    b"\r\n\r\n",
)

Patch = tuple[int, int, bytes]


def fuzz_header(content: bytes) -> None:
    """The walk of a data set; the first byte picks its encoding."""
    if not content:
        return
    try:
        facts = parse_header(memoryview(content)[1:], ENCODINGS[content[0] % len(ENCODINGS)])
    except Refused as error:
        str(error)
        return
    # What goes on to the database: PostgreSQL takes no NUL.
    assert "\0" not in "".join(value for value in vars(facts).values() if isinstance(value, str))


def fuzz_store_request(content: bytes) -> None:
    """A STOW-RS request from its first byte to the header of each image; the first byte picks the size of chunks."""
    if not content:
        return
    # A long request in pieces of one byte costs time, and finds nothing that a short one does not.
    size = max(_CHUNK_BYTES[content[0] % len(_CHUNK_BYTES)], len(content) // _MOST_CHUNKS)
    chunks = (content[begin : begin + size] for begin in range(1, len(content), size))
    try:
        for part in read_parts(chunks, BOUNDARY):
            _read_file(iter(part))
    except NotMultipart as error:
        str(error)


def _read_file(fragments: Iterator[memoryview]) -> None:
    head, kept = FileHead(), bytearray()
    try:
        for fragment in fragments:
            rest = head.feed(fragment)
            if rest is not None:
                kept += rest
                break
        else:
            kept += head.finish()
        for fragment in fragments:
            kept += fragment
        parse_header(bytes(kept), head.transfer_syntax_uid)
    except Refused:
        return


def fuzz_dimse(content: bytes) -> None:
    """Command sets, association requests and P-DATA; the first byte picks which."""
    if not content:
        return
    body = memoryview(content)[1:]
    try:
        _DIMSE[content[0] % len(_DIMSE)](body)
    except Violation as error:
        str(error)


def _command(body: memoryview) -> None:
    command = read_command(body)
    command_pdus(1, response(command, 0, command.sop_class_uid), longest=64)


def _association(body: memoryview) -> None:
    request = read_request(body)
    answers = [
        AnsweredContext(context_id=context.context_id, result=3, transfer_syntax=EXPLICIT)
        for context in request.contexts
    ]
    provided = [role for role in request.roles if role.sop_class_uid == PUSH_MODEL]
    acceptance(request, answers, max_pdu=1 << 16, roles=provided)
    assert "\0" not in request.calling_ae_title + request.called_ae_title


def _data(body: memoryview) -> None:
    offset = 0
    while offset < len(body):
        _, _, _, offset = next_pdv(body, offset)


_DIMSE: tuple[Callable[[memoryview], None], ...] = (_command, _association, _data)

TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "header": fuzz_header,
    "store_request": fuzz_store_request,
    "dimse": fuzz_dimse,
}


@cache
def seeds(target: str) -> tuple[bytes, ...]:
    """Inputs to start from: our own images in all encodings, and what ICHD_TEST_DATA holds, malformed files first."""
    return tuple({"header": _header_seeds, "store_request": _store_seeds, "dimse": _dimse_seeds}[target]())


def _header_seeds() -> list[bytes]:
    found = [bytes((number,)) + _encoded(syntax) for number, syntax in enumerate(ENCODINGS)]
    for path in _real_files():
        try:
            syntax, dataset = split_file(path.read_bytes())
        except Refused:
            continue
        if syntax in ENCODINGS:
            found.append(bytes((ENCODINGS.index(syntax),)) + bytes(dataset[:_SEED_BYTES]))
    return found


def _store_seeds() -> list[bytes]:
    files = [_file(syntax) for syntax in ENCODINGS]
    files += [path.read_bytes()[:_SEED_BYTES] for path in _real_files()]
    delimiter = BOUNDARY.encode()
    message = b"--%b\r\nContent-Type: application/dicom\r\n\r\n%b\r\n--%b\r\n\r\n%b\r\n--%b--\r\n"
    return [
        bytes((number % len(_CHUNK_BYTES),)) + message % (delimiter, content, delimiter, files[0][:400], delimiter)
        for number, content in enumerate(files)
    ]


def _dimse_seeds() -> list[bytes]:
    store = read_command(_command_set(0x0001, 7, 0x0000))
    pdus = command_pdus(1, response(store, 0xC000, "no DICOM"), longest=40)
    return [
        b"\0" + _command_set(0x0001, 7, 0x0000),
        b"\0" + _command_set(0x0030, 1, 0x0101),
        b"\0" + response(store, 0xC000, "no DICOM"),
        b"\1" + _association_request(),
        b"\2" + pdus[HEADER.size : HEADER.size + 40],
    ]


def _command_set(field: int, message_id: int, data_set: int) -> bytes:
    uid = b"1.2.840.10008.5.1.4.1.1.2\0"
    numbers = ((0x0100, field), (0x0110, message_id), (0x0800, data_set))
    return (
        struct.pack("<HHL", 0, 0x0002, len(uid))
        + uid
        + b"".join(struct.pack("<HHLH", 0, element, 2, value) for element, value in numbers)
    )


def _association_request() -> bytes:
    def item(kind: int, value: bytes) -> bytes:
        return bytes((kind, 0)) + len(value).to_bytes(2, "big") + value

    syntaxes = item(0x30, b"1.2.840.10008.5.1.4.1.1.2") + b"".join(item(0x40, uid.encode()) for uid in ENCODINGS)
    contexts = b"".join(item(0x20, bytes((number, 0, 0, 0)) + syntaxes) for number in (1, 3))
    user = item(0x50, item(0x51, (16384).to_bytes(4, "big")) + item(0x52, b"1.2.3"))
    fixed = b"\0\1\0\0" + b"ICHD".ljust(16) + b"CT1".ljust(16) + bytes(32)
    return fixed + item(0x10, b"1.2.840.10008.3.1.1.1") + contexts + user


def _encoded(syntax: str) -> bytes:
    if syntax != DEFLATED:
        return encode(image(), syntax)
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(encode(image())) + compressor.flush()


def _file(syntax: str) -> bytes:
    meta = file_meta(sop_class_uid="1.2.3", sop_instance_uid="1.2.4", transfer_syntax_uid=syntax)
    return meta + _encoded(syntax)


def _real_files() -> list[Path]:
    root = os.environ.get("ICHD_TEST_DATA")
    if not root:
        return []
    malformed = sorted((Path(root) / "malformed").rglob("*.dcm"))
    real = sorted(path for path in (Path(root) / "transfer-syntaxes").rglob("*") if path.suffix == ".dcm")
    return malformed + real


def patched(seed: bytes, patches: Iterable[Patch]) -> bytes:
    """A seed with some places overwritten, lengthened or shortened: (place, bytes taken away, bytes put there)."""
    content = bytearray(seed)
    for place, width, patch in patches:
        at = place % (len(content) + 1)
        content[at : at + width] = patch
    return bytes(content)


def mutations(target: str, count: int, *, seed: int = 1) -> Iterator[bytes]:
    """`count` inputs for a target, the same ones each time."""
    chance = random.Random(seed)
    starts = seeds(target)
    for _ in range(count):
        content = chance.choice(starts)
        if chance.random() < 0.1:
            other = chance.choice(starts)
            content = content[: chance.randrange(len(content) + 1)] + other[chance.randrange(len(other)) :]
        if chance.random() < 0.1:
            content = content[: chance.randrange(len(content) + 1)]
        yield patched(content, (_patch(chance, content) for _ in range(chance.randint(1, 6))))


def _patch(chance: random.Random, content: bytes) -> Patch:
    # Headers stand at the beginning: most patches go there.
    place = chance.randrange(min(len(content), chance.choice((16, 512, 2048, 1 << 20))) + 1)
    width = chance.choice((0, 1, 1, 2, 4, 4, 8, 100))
    kind = chance.random()
    if kind < 0.4:
        return place, width, chance.choice(_TRIPWIRES)
    if kind < 0.6:
        begin = chance.randrange(len(content) + 1)
        return place, width, content[begin : begin + chance.randint(0, 200)]
    return place, width, chance.randbytes(chance.choice((0, 1, 1, 2, 4, 8)))
