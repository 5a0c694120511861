"""A multipart message comes apart into the same parts wherever the network cuts it."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ichd.intake.stow.multipart import Limits, NotMultipart, read_parts

BOUNDARY = "gc0pJq0M:08jU534c0p"


def message(*parts: bytes) -> bytes:
    return b"".join(b"--%b\r\nContent-Type: a/b\r\n\r\n%b\r\n" % (BOUNDARY.encode(), part) for part in parts) + (
        b"--%b--\r\n" % BOUNDARY.encode()
    )


def cut(content: bytes, size: int) -> Iterator[bytes]:
    return (content[begin : begin + size] for begin in range(0, len(content), size))


def read(content: bytes, size: int = 1 << 16, limits: Limits | None = None) -> list[bytes]:
    return [b"".join(part) for part in read_parts(cut(content, size), BOUNDARY, limits)]


PIECES = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b"--", b"\r\n--", BOUNDARY[:5].encode(), b"\r\n--" + BOUNDARY[:-1].encode(), b"\0", b"x"]
)
CONTENT = st.lists(PIECES, max_size=12).map(b"".join)


@settings(max_examples=500, deadline=None)
@given(st.lists(CONTENT, min_size=1, max_size=4), st.integers(1, 60))
@example([b"\r\n--gc0pJ", b""], 1)
def test_any_content_comes_out_as_it_went_in(parts: list[bytes], size: int) -> None:
    assert read(message(*parts), size) == parts


def test_headers_are_told_by_lower_case_name() -> None:
    headers = b"Content-TYPE:  application/dicom; x=y \r\nContent-Location: /a"
    b = BOUNDARY.encode()
    content = b"\r\n--%b\r\n%b\r\n\r\n1\r\n--%b\r\n\r\n2\r\n--%b--" % (b, headers, b, b)
    for size in (1, 5, 1000):
        parts = [(part.headers, b"".join(part)) for part in read_parts(cut(content, size), BOUNDARY)]
        assert parts == [({"content-type": "application/dicom; x=y", "content-location": "/a"}, b"1"), ({}, b"2")]


def test_what_is_not_taken_of_a_part_is_passed_over() -> None:
    content = message(b"1" * 1000, b"2" * 1000, b"3" * 1000)
    firsts = [bytes(next(iter(part))[:1]) for part in read_parts(cut(content, 64), BOUNDARY)]
    assert firsts == [b"1", b"2", b"3"]


def test_an_epilogue_means_nothing() -> None:
    assert read(message(b"a") + b"whatever\r\n--" + BOUNDARY.encode()) == [b"a"]


def test_parts_before_the_trouble_are_given_out() -> None:
    whole = message(b"a", b"b").removesuffix(b"--\r\n") + b"\r\nbad header\r\n\r\n"
    seen: list[bytes] = []
    with pytest.raises(NotMultipart):
        seen.extend(b"".join(part) for part in read_parts(cut(whole, 1 << 16), BOUNDARY))
    assert seen == [b"a", b"b"]


@pytest.mark.parametrize("size", [1, 1 << 16])
def test_no_beginning_of_a_message_passes_for_a_message(size: int) -> None:
    whole = message(b"a", b"b")
    for length in range(len(whole) - len(b"\r\n")):
        with pytest.raises(NotMultipart):
            read(whole[:length], size)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no message at all",
        message(b"a").replace(BOUNDARY.encode(), b"another"),
        b"--%b\r\n: nameless\r\n\r\na\r\n--%b--" % ((BOUNDARY.encode(),) * 2),
        b"--%b\r\nA: %b\r\n\r\na\r\n--%b--" % (BOUNDARY.encode(), b"v" * 5000, BOUNDARY.encode()),
        b"--%b\r\n%b\r\n\r\na\r\n--%b--" % (BOUNDARY.encode(), b"n" * 5000, BOUNDARY.encode()),
        b"--%b\r\n%b\r\na\r\n--%b--" % (BOUNDARY.encode(), b"A: b\r\n" * 17, BOUNDARY.encode()),
    ],
)
@pytest.mark.parametrize("size", [1, 1 << 16])
def test_what_is_no_message_or_exceeds_the_limits_is_refused(content: bytes, size: int) -> None:
    with pytest.raises(NotMultipart) as caught:
        read(content, size)
    assert "nameless" not in str(caught.value)


def test_the_number_of_parts_is_bounded() -> None:
    assert len(read(message(*[b""] * 10), limits=Limits(parts=10))) == 10
    with pytest.raises(NotMultipart, match="more than 10 parts"):
        read(message(*[b""] * 11), limits=Limits(parts=10))


@pytest.mark.parametrize("boundary", ["", "b" * 71, "b\u00fc"])
def test_a_boundary_is_one_to_seventy_characters(boundary: str) -> None:
    with pytest.raises(NotMultipart):
        list(read_parts([b"x"], boundary))


def test_headers_that_go_on_and_on_are_not_held() -> None:
    def endless() -> Iterator[bytes]:
        yield b"--%b\r\nA: " % BOUNDARY.encode()
        for _ in range(100):
            yield os.urandom(1).hex().encode() * 500
        pytest.fail("read 100,000 bytes of a header")

    with pytest.raises(NotMultipart):
        list(read_parts(endless(), BOUNDARY))
