"""Embeddings beside the spool: found again with the same image and the same pixels, and never used when damaged."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichd.domain.errors import Transient
from ichd.store.draft import StoredFile
from ichd.store.embeddings import Embedding, Embeddings, SliceKey, slice_key
from ichd.store.spool import Spool

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HU = np.arange(64, dtype=np.int16).reshape(8, 8)
VALUES = np.linspace(-1, 1, 20, dtype=np.float32)
MADE = Embedding(values_F=VALUES, made_at=NOW, ahead=True)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


@pytest.fixture
def embeddings(spool: Spool) -> Embeddings:
    return Embeddings(spool, "f" * 64)


def key(spool: Spool, content: bytes = b"image", frame: int | None = None) -> SliceKey:
    return slice_key([(spool.write([content]), frame)])


def files(spool: Spool) -> list[Path]:
    return [file for file in Path(f"{spool.root}.embeddings").rglob("*") if file.is_file()]


def test_what_was_kept_is_found_to_the_bit_with_its_moment(spool: Spool, embeddings: Embeddings) -> None:
    image = key(spool)
    assert not embeddings.holds(image)
    assert embeddings.get(image, HU) is None
    embeddings.put(image, HU, MADE)
    assert embeddings.holds(image)
    found = Embeddings(spool, "f" * 64).get(image, HU)
    assert found is not None
    assert found.values_F.dtype == np.float32
    assert found.values_F.tobytes() == VALUES.tobytes()
    assert found.made_at == NOW
    assert found.ahead
    embeddings.put(image, HU, replace(MADE, ahead=False))
    found = embeddings.get(image, HU)
    assert found is not None
    assert not found.ahead


def test_another_engine_other_pixels_and_other_frames_have_none(spool: Spool, embeddings: Embeddings) -> None:
    stored = spool.write([b"multi-frame"])
    first, second = (slice_key([(stored, frame)]) for frame in (1, 2))
    embeddings.put(first, HU, MADE)
    assert embeddings.get(second, HU) is None
    assert Embeddings(spool, "e" * 64).get(first, HU) is None
    # An engine whose digits begin alike shares the folder, and is told apart all the same.
    assert Embeddings(spool, "f" * 32 + "e" * 32).get(first, HU) is None
    embeddings.put(first, HU, MADE)
    assert embeddings.get(first, HU.T) is None


def test_an_averaged_slice_is_known_by_all_its_members_in_their_order() -> None:
    a, b, c = (StoredFile(path=f"{n:02x}/{n:032x}.dcm", sha256=f"{n:064x}", size=1) for n in (1, 2, 3))
    keys = [slice_key([(stored, None) for stored in members]) for members in ([a], [a, b], [b, a], [a, b, c])]
    assert len({each.digest for each in keys}) == 4
    assert keys[0].image == keys[1].image == a.path


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_flipped_byte_is_seen_wherever_it_is(tmp_path_factory: pytest.TempPathFactory, where: int, flip: int) -> None:
    spool = Spool(tmp_path_factory.mktemp("flipped") / "spool")
    embeddings, image = Embeddings(spool, "f" * 64), SliceKey(image=f"00/{'0' * 32}.dcm", digest="a" * 64)
    embeddings.put(image, HU, MADE)
    (file,) = files(spool)
    content = bytearray(file.read_bytes())
    content[where % len(content)] ^= flip
    file.write_bytes(content)
    assert embeddings.get(image, HU) is None
    assert not embeddings.holds(image), "it is removed, so that it is made again"


@given(st.integers(0, 200))
def test_a_torn_file_is_seen_wherever_it_ends(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    spool = Spool(tmp_path_factory.mktemp("torn") / "spool")
    embeddings, image = Embeddings(spool, "f" * 64), SliceKey(image=f"00/{'0' * 32}.dcm", digest="a" * 64)
    embeddings.put(image, HU, MADE)
    (file,) = files(spool)
    whole = file.read_bytes()
    file.write_bytes(whole[: min(length, len(whole) - 1)])
    assert embeddings.get(image, HU) is None


def test_one_maker_at_a_time_and_a_dead_one_is_not_followed(spool: Spool, embeddings: Embeddings) -> None:
    image = key(spool)
    with embeddings.being_made(image) as mine, Embeddings(spool, "f" * 64).being_made(image) as theirs:
        assert (mine, theirs) == (True, False)
    with embeddings.being_made(image) as mine:
        assert mine
    assert files(spool) == []

    dead = embeddings.being_made(image)
    assert dead.__enter__()
    with embeddings.being_made(image) as mine:
        assert not mine
    assert embeddings.sweep(datetime.now(UTC)) == 0
    assert embeddings.sweep(datetime.now(UTC) + timedelta(hours=2)) == 1
    with embeddings.being_made(image) as mine:
        assert mine


def test_they_go_with_their_image(spool: Spool, embeddings: Embeddings) -> None:
    gone, stays = spool.write([b"gone"]), spool.write([b"stays"])
    for stored in (gone, stays):
        embeddings.put(slice_key([(stored, None)]), HU, MADE)
    spool.discard(gone.path)
    assert embeddings.sweep(datetime.now(UTC)) == 1
    assert not embeddings.holds(slice_key([(gone, None)]))
    assert embeddings.holds(slice_key([(stays, None)]))


def test_those_of_an_engine_that_nobody_runs_go_after_a_week(spool: Spool, embeddings: Embeddings) -> None:
    old, image = Embeddings(spool, "0" * 64), key(spool)
    for each in (old, embeddings):
        each.put(image, HU, MADE)
    present = datetime.now(UTC)
    assert embeddings.sweep(present) == 0
    week_ago = (present - timedelta(days=8)).timestamp()
    for folder in Path(f"{spool.root}.embeddings").iterdir():
        os.utime(folder, (week_ago, week_ago))
    assert embeddings.sweep(present) == 1
    assert not old.holds(image)
    assert embeddings.holds(image), "a sweep says that its own engine is in use"


def test_names_that_are_not_ours_are_left_alone(spool: Spool, embeddings: Embeddings) -> None:
    embeddings.put(key(spool), HU, MADE)
    note = files(spool)[0].with_name("README")
    note.write_text("hands off")
    assert embeddings.sweep(datetime.now(UTC) + timedelta(days=1)) == 0
    assert note.exists()


def test_a_disk_that_takes_nothing_is_trouble_and_one_that_gives_nothing_is_not(
    spool: Spool, embeddings: Embeddings
) -> None:
    image = key(spool)
    Path(f"{spool.root}.embeddings").write_text("in the way")
    assert embeddings.get(image, HU) is None
    with pytest.raises(Transient):
        embeddings.put(image, HU, MADE)
