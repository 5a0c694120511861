"""The spool: durable files under our own names, and nothing left behind."""

import errno
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ichd.domain.errors import Transient
from ichd.domain.reason import Reason
from ichd.store.spool import Spool
from ichd.store.sweeping import orphans_of
from tests.store.house import House, image

AN_HOUR = timedelta(hours=1)
#: What a draft gathers in memory.
PIECE = 1 << 20


def _later() -> datetime:
    return datetime.now(UTC) + 2 * AN_HOUR


def nothing_known(_paths: Sequence[str]) -> frozenset[str]:
    return frozenset()


def files_below(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def test_a_file_is_its_parts_in_order(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    stored = spool.write([b"preamble", memoryview(b"meta"), b"", memoryview(bytes(range(256)) * 5000)])
    expected = b"preamblemeta" + bytes(range(256)) * 5000
    assert spool.locate(stored.path).read_bytes() == expected
    assert stored.sha256 == hashlib.sha256(expected).hexdigest()
    assert stored.size == len(expected)
    assert files_below(tmp_path) == [spool.locate(stored.path)]


def test_names_are_our_own_and_never_the_same(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        paths = {stored.path for stored in pool.map(spool.write, [[b"same"]] * 300)}
    assert len(paths) == 300
    assert {str(p.relative_to(tmp_path)) for p in files_below(tmp_path)} == paths


def test_names_follow_the_time(tmp_path: Path) -> None:
    """So that the index over them grows at its ends; within a millisecond chance decides."""
    spool = Spool(tmp_path)
    early = [Path(spool.write([b"x"]).path).name for _ in range(5)]
    time.sleep(0.005)
    late = [Path(spool.write([b"x"]).path).name for _ in range(5)]
    assert max(early) < min(late)


@pytest.mark.parametrize("path", ["../etc/passwd", "/etc/passwd", "ab/../../x.dcm", "", "ab/cd.dcm", "ab/" + "0" * 32])
def test_a_path_that_is_not_ours_is_refused(tmp_path: Path, path: str) -> None:
    spool = Spool(tmp_path)
    with pytest.raises(ValueError, match="not a path of the spool"):
        spool.locate(path)
    with pytest.raises(ValueError, match="not a path of the spool"):
        spool.discard(path)


def test_discarding_twice_is_harmless(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    stored = spool.write([b"x"])
    spool.discard(stored.path)
    spool.discard(stored.path)
    assert files_below(tmp_path) == []


@pytest.mark.parametrize(("number", "reason"), [(errno.ENOSPC, Reason.DISK_LOW), (errno.EIO, Reason.STORE_UNAVAILABLE)])
def test_a_disk_that_fails_leavesnothing_known_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, reason: Reason
) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    spool = Spool(tmp_path)
    spool.prepare()
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(Transient) as caught:
        spool.write([b"x"])
    assert caught.value.reason is reason
    assert files_below(tmp_path) == []


def test_a_spool_that_can_not_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file where the folder should be")
    with pytest.raises(Transient) as caught:
        Spool(tmp_path / "spool").write([b"x"])
    assert caught.value.reason is Reason.STORE_UNAVAILABLE


def test_sweep_removes_old_partial_files_and_orphans_andnothing_known_else(house: House) -> None:
    association_id = house.open_association()
    house.arrive(image(1), association_id=association_id)
    house.arrive(image(1), association_id=association_id, content=b"a conflict is kept")
    orphan = house.spool.locate(house.spool.write([b"no row"]).path)
    partial = orphan.with_suffix(".part")
    partial.write_bytes(b"half")
    foreign = orphan.with_name("README.txt")
    foreign.write_text("not ours")
    known = house.arrivals.known_paths

    assert house.spool.sweep(known=known, older_than=AN_HOUR, now=datetime.now(UTC)) == 0
    assert house.studies.sweep_spool(older_than=AN_HOUR, now=_later()) == 2
    assert not orphan.exists()
    set_aside = orphan.parents[1].with_name("spool.orphans") / orphan.name
    assert set_aside.read_bytes() == b"no row", "what was whole once is not deleted on suspicion"
    assert not partial.exists()
    assert foreign.exists()
    assert house.spool.sweep(known=known, older_than=AN_HOUR, now=_later()) == 0
    assert len(files_below(orphan.parents[1])) == 3


def test_a_file_whose_row_is_committed_while_it_is_set_aside_comes_back(house: House) -> None:
    stored = house.spool.write([b"just being acknowledged"])
    answers = iter([[], [stored.path]])
    # A clock that was set ahead by an hour makes it look old.
    later = datetime.now(UTC) + timedelta(hours=1)
    assert house.spool.sweep(known=lambda _: next(answers), older_than=timedelta(seconds=90), now=later) == 0
    assert house.spool.is_intact(stored)


def test_sweep_asks_in_batches(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    folder = tmp_path / "00"
    folder.mkdir()
    for number in range(1234):
        (folder / f"{number:032x}.dcm").touch()
    asked: list[int] = []

    def odd(paths: Sequence[str]) -> list[str]:
        asked.append(len(paths))
        return [p for p in paths if int(p[3:-4], 16) % 2]

    assert spool.sweep(known=odd, older_than=AN_HOUR, now=_later()) == 617
    # Of each batch, and again of what was set aside of it.
    assert (asked[::2], sum(asked[1::2])) == ([500, 500, 234], 617)


def test_sweeping_a_spool_that_does_not_exist_yet(tmp_path: Path) -> None:
    assert Spool(tmp_path / "none").sweep(known=nothing_known, older_than=AN_HOUR, now=_later()) == 0


def test_a_disk_that_does_not_let_go_of_a_file_is_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path)
    stored = spool.write([b"x"])

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("os.unlink", fail)
    with pytest.raises(Transient) as caught:
        spool.discard(stored.path)
    assert caught.value.reason is Reason.STORE_UNAVAILABLE


def test_a_file_that_does_not_close_well_is_stored_or_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = os.close
    spool = Spool(tmp_path)

    def fail(descriptor: int) -> None:
        closed(descriptor)
        if not stat.S_ISDIR(kinds.pop(descriptor)):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    kinds: dict[int, int] = {}
    opened = os.open

    def remember(*arguments: Any, **options: Any) -> int:
        descriptor = opened(*arguments, **options)
        kinds[descriptor] = os.fstat(descriptor).st_mode
        return descriptor

    spool.prepare()
    monkeypatch.setattr("os.open", remember)
    monkeypatch.setattr("os.close", fail)
    stored = spool.write([bytes(PIECE)])
    with spool.draft() as left:
        left.write(bytes(PIECE))
    monkeypatch.undo()
    assert files_below(tmp_path) == [spool.locate(stored.path)]
    assert spool.is_intact(stored)


def test_a_file_system_that_does_not_count_is_not_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.statvfs", lambda _: os.statvfs_result([0] * 10))
    assert Spool(tmp_path).free_fraction() == 1.0


def test_free_fraction_is_a_share(tmp_path: Path) -> None:
    assert 0 < Spool(tmp_path).free_fraction() < 1
    assert 0 < Spool(tmp_path / "not" / "made" / "yet").free_fraction() < 1


_WRITER = """
import sys
from pathlib import Path
from ichd.store.spool import Spool
spool, content = Spool(Path(sys.argv[1])), b"x" * int(sys.argv[2])
print("ready", flush=True)
while True:
    print(spool.write([content]).path, flush=True)
"""


@pytest.mark.parametrize("size", [PIECE // 5, 3 * PIECE])
def test_what_a_writer_announced_before_it_was_killed_is_whole(tmp_path: Path, size: int) -> None:
    """And what it was writing, one file at most, is found by the sweep."""
    root = tmp_path / "spool"
    for _ in range(3):
        command = [sys.executable, "-c", _WRITER, str(root), str(size)]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        announced = [writer.stdout.readline().strip()]
        time.sleep(0.01)
        writer.send_signal(signal.SIGKILL)
        announced += [line.strip() for line in writer.stdout if line.endswith(".dcm\n")]
        writer.wait()
        writer.stdout.close()
        assert {(root / path).stat().st_size for path in announced} == {size}
        swept = Spool(root).sweep(known=frozenset(announced).intersection, older_than=AN_HOUR, now=_later())
        assert swept <= 1
        assert sorted(str(p.relative_to(root)) for p in files_below(root)) == sorted(announced)
        for path in announced:
            Spool(root).discard(path)


def test_intact_means_every_byte(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    stored = spool.write([b"0123456789"])
    file = spool.locate(stored.path)
    assert spool.is_intact(stored)
    file.write_bytes(b"0123456780")
    assert (spool.holds(stored), spool.is_intact(stored)) == (True, False)
    file.write_bytes(b"012345678")
    assert (spool.holds(stored), spool.is_intact(stored)) == (False, False)
    file.unlink()
    assert (spool.holds(stored), spool.is_intact(stored)) == (False, False)


def test_every_folder_and_all_above_is_made_durable_before_the_first_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    original = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    spool = Spool(tmp_path / "var" / "lib" / "spool")
    spool.prepare()
    assert {str(tmp_path), f"{tmp_path}/var", f"{tmp_path}/var/lib", f"{tmp_path}/var/lib/spool"} == set(synced)
    assert len(list(spool.root.iterdir())) == 256
    synced.clear()
    stored = spool.write([b"x"])
    file = spool.locate(stored.path)
    assert synced == [str(file), str(file.parent)], "the file under its name, and the one folder that it lies in"
    assert spool.holds(stored)


def test_a_spool_that_vanished_is_not_made_anew(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.write([b"x"])
    shutil.rmtree(spool.root)
    with pytest.raises(Transient):
        spool.write([b"y"])
    assert not spool.root.exists()


def test_orphans_stay_on_the_disk_of_a_spool_that_is_a_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "spool"
    root.mkdir()
    assert orphans_of(root) == tmp_path / "spool.orphans"
    monkeypatch.setattr(Path, "is_mount", lambda path: path == root)
    assert orphans_of(root) == root / ".orphans"
    (root / ".orphans" / f"{'0' * 32}.dcm").write_bytes(b"nobody knows")
    later = datetime.now(UTC) + timedelta(days=1)
    assert Spool(root).sweep(known=lambda _: (), older_than=timedelta(0), now=later) == 0, "and are not found again"
