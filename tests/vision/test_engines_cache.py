"""A network is converted once; whatever is wrong with the cache costs time, never an answer."""

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from ichd.vision.bundle import Bundle, load_bundle, save_bundle
from ichd.vision.engines.cache import EngineCache
from ichd.vision.engines.openvino import OpenVinoEngine, is_converted
from ichd.vision.network import CnnLstm
from tests.vision.images import embed_slices
from tests.vision.test_bundle import manifest

SLICE = np.full((1, 64, 64), 40, dtype=np.int16)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("tiny")
    save_bundle(folder, manifest(), CnnLstm(manifest().network).state_dict())
    return load_bundle(folder)


@pytest.fixture(scope="module")
def kept(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the converted network."""
    folder = tmp_path_factory.mktemp("kept")
    events(bundle, folder)
    return folder


def events(bundle: Bundle, folder: Path | None) -> list[str]:
    """What a start in this folder says, once it has read a slice."""
    with capture_logs() as logs:
        engine = OpenVinoEngine(bundle, precision="fp32", cache=EngineCache(folder) if folder else None)
        assert np.isfinite(embed_slices(engine, SLICE, (3.0, 3.0))).all()
    return [log["event"] for log in logs]


def test_the_second_start_converts_nothing(bundle: Bundle, kept: Path) -> None:
    assert is_converted(bundle, "fp32", EngineCache(kept))
    assert events(bundle, kept) == []


def test_a_first_start_leaves_one_whole_entry(bundle: Bundle, tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "new" / "cache")
    assert not is_converted(bundle, "fp32", cache)
    assert events(bundle, cache.folder) == ["engine_converts"]
    (entry,) = cache.folder.iterdir()
    assert {path.name for path in entry.iterdir()} == {"model.xml", "model.bin", "sha256"}


@pytest.mark.parametrize("name", ["model.xml", "model.bin"])
def test_a_damaged_entry_is_made_again(bundle: Bundle, tmp_path: Path, name: str) -> None:
    assert events(bundle, tmp_path) == ["engine_converts"]
    (damaged,) = tmp_path.glob(f"*/{name}")
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 0xFF
    damaged.write_bytes(content)
    assert events(bundle, tmp_path) == ["engine_cache_damaged", "engine_converts", "engine_cache_damaged"]
    assert events(bundle, tmp_path) == []


def test_a_folder_that_cannot_be_written_is_done_without(bundle: Bundle, tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")
    said = ["engine_cache_unreadable", "engine_converts", "engine_cache_not_written", "engine_cache_unreadable"]
    assert events(bundle, in_the_way / "cache") == said


def test_no_cache_is_no_trouble(bundle: Bundle) -> None:
    assert events(bundle, None) == ["engine_converts"]


def test_what_nobody_uses_is_swept_and_what_was_used_is_kept(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)

    def write(folder: Path) -> None:
        (folder / "answer").write_text("42")

    days_ago = {"used": 100, "unused": 100, "recent": 80, "unfinished-old": 2, "unfinished-now": 0}
    for name in days_ago:
        assert cache.keep(name, write)
    for name, days in days_ago.items():
        os.utime(tmp_path / name, (time.time() - 86400 * days,) * 2)
    assert cache.find("used")
    assert cache.keep("new", write)
    assert {path.name for path in tmp_path.iterdir()} == {"used", "recent", "unfinished-now", "new"}


def test_a_replaced_entry_leaves_nothing_behind(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    for answer in ("first", "second"):
        entry = cache.keep("key", lambda folder, answer=answer: (folder / "answer").write_text(answer), replace=True)  # type: ignore[misc]
    assert (tmp_path / "key" / "answer").read_text() == "second"
    assert list(tmp_path.iterdir()) == [entry]


def test_whoever_comes_second_uses_what_the_first_made(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)

    def first(folder: Path) -> None:
        (folder / "answer").write_text("first")

    def second(folder: Path) -> None:
        (folder / "answer").write_text("second")
        assert cache.keep("key", first)

    entry = cache.keep("key", second)
    assert entry is not None
    assert (entry / "answer").read_text() == "first"
    assert list(tmp_path.iterdir()) == [entry]


#: A start of its own on a folder; it says that it is up, and waits for the word.
_START = """
import sys
from pathlib import Path
from ichd.vision.bundle import load_bundle
from ichd.vision.engines.cache import EngineCache
from ichd.vision.engines.openvino import OpenVinoEngine
bundle = load_bundle(Path(sys.argv[1]))
print("up", flush=True)
sys.stdin.readline()
OpenVinoEngine(bundle, precision="fp32", cache=EngineCache(Path(sys.argv[2]))).warm_up()
"""


def test_of_several_starts_on_an_empty_cache_one_converts(tmp_path: Path) -> None:
    save_bundle(tmp_path / "tiny", manifest(), CnnLstm(manifest().network).state_dict())
    command = [sys.executable, "-c", _START, str(tmp_path / "tiny"), str(tmp_path / "cache")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with ExitStack() as ended:
        starts = [subprocess.Popen(command, **pipes) for _ in range(2)]  # type: ignore[call-overload]
        for start in starts:
            ended.callback(start.kill)
        assert [start.stdout.readline() for start in starts] == ["up\n"] * 2
        for start in starts:
            start.stdin.write("now\n")
            start.stdin.flush()
        said = [start.communicate()[0] for start in starts]
    assert [start.returncode for start in starts] == [0, 0], said
    assert "".join(said).count("engine_converts") == 1
    (entry,) = (tmp_path / "cache").iterdir()
    assert EngineCache(tmp_path / "cache").find(entry.name) == entry


def test_whoever_dies_in_its_turn_gives_it_up(tmp_path: Path) -> None:
    program = """
import sys, time
from pathlib import Path
from ichd.vision.engines.cache import EngineCache
with EngineCache(Path(sys.argv[1])).turn("key"):
    print("mine", flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"mine\n"
        holder.kill()
        with EngineCache(tmp_path).turn("key") as made:
            assert made is None
