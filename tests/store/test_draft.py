"""A file of the spool while it grows: in memory, on the disk, or gone."""

import hashlib
import os
import random
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ichd.store.spool import Spool
from tests.store.test_spool import AN_HOUR, PIECE, files_below, nothing_known


def test_a_draft_is_seen_while_it_grows_and_only_then(tmp_path: Path) -> None:
    with Spool(tmp_path).draft() as draft:
        assert bytes(draft.view()) == b""
        for fragment in (b"pre", bytearray(b"am"), memoryview(b"ble")):
            draft.write(fragment)
        seen = draft.view(3)
        assert bytes(seen) == b"amble"
        assert draft.seal().size == draft.size == 8
    assert bytes(draft.view()) == b""
    assert len(files_below(tmp_path)) == 1


@pytest.mark.parametrize(("size", "files"), [(4, []), (PIECE - 1, []), (PIECE, [".part"]), (5 * PIECE + 1, [".part"])])
def test_a_draft_that_is_left_is_gone(tmp_path: Path, size: int, files: list[str]) -> None:
    """And one of usual size was never on the disk."""
    with Spool(tmp_path).draft() as draft:
        draft.write(bytes(size))
        assert [path.suffix for path in files_below(tmp_path)] == files
    assert files_below(tmp_path) == []
    draft.discard()


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
@pytest.mark.parametrize("fragment", [1000, PIECE, 3 * PIECE])
def test_a_draft_is_the_same_however_it_is_written(tmp_path: Path, size: int, fragment: int) -> None:
    content = random.Random(size).randbytes(size)
    spool = Spool(tmp_path)
    with spool.draft() as draft:
        for begin in range(0, size, fragment):
            draft.write(content[begin : begin + fragment])
        assert bytes(draft.view()) == content
        stored = draft.seal()
    assert spool.locate(stored.path).read_bytes() == content
    assert stored.sha256 == hashlib.sha256(content).hexdigest()
    assert files_below(tmp_path) == [spool.locate(stored.path)]


def test_drafts_at_the_same_time_keep_apart(tmp_path: Path) -> None:
    """Each has a buffer of its own, which the next one gets."""
    spool = Spool(tmp_path)
    for _ in range(2):
        with spool.draft() as one, spool.draft() as other:
            for _ in range(3):
                one.write(b"1" * (PIECE // 2))
                other.write(b"2" * 10)
            assert spool.is_intact(one.seal())
            assert bytes(other.view()) == b"2" * 30
            assert spool.locate(other.seal().path).read_bytes() == b"2" * 30
    assert len(spool._buffers._free) == 2


class Clock:
    """The time of drafts, turned by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    time_ns = staticmethod(time.time_ns)


def test_a_slow_draft_shows_that_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the sweep would take its file for one that was left behind."""
    clock = Clock()
    monkeypatch.setattr("ichd.store.draft.time", clock)
    spool = Spool(tmp_path)
    with spool.draft() as draft:
        draft.write(bytes(PIECE))
        (file,) = files_below(tmp_path)
        for _ in range(3):
            os.utime(file, (0, 0))
            clock.now += 19
            draft.write(b"x")
            assert file.stat().st_mtime == 0, "not for every few bytes"
            clock.now += 2
            draft.write(b"x")
            assert spool.sweep(known=nothing_known, older_than=AN_HOUR, now=datetime.now(UTC)) == 0
        assert file.stat().st_size == draft.size == PIECE + 6
        assert spool.locate(draft.seal().path).read_bytes() == bytes(PIECE) + b"x" * 6


def test_a_slow_draft_of_usual_size_stays_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("ichd.store.draft.time", clock)
    with Spool(tmp_path).draft() as draft:
        for _ in range(3):
            draft.write(b"x")
            clock.now += 3600
        assert files_below(tmp_path) == []
        assert draft.seal().size == 3


@pytest.mark.parametrize("size", [PIECE, PIECE + 5])
def test_sealing_a_draft_that_is_all_in_its_file_does_not_make_it_younger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """The sweep goes by the last write, and looking at a draft is what brings the rest into the file."""
    clock = Clock()
    monkeypatch.setattr("ichd.store.draft.time", clock)
    with Spool(tmp_path).draft() as draft:
        draft.write(bytes(size))
        draft.view()
        clock.now += 50
        draft.seal()
        assert clock.now - draft.written_at == 50
