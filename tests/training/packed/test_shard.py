"""A shard gives back the HU that went in, or says that it can't."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import blosc2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ichd.domain.errors import UserError
from training.packed.shard import read_slices, sha256_of, shard_shape, write_shard

#: Anything that int16 holds, of any small shape.
volumes = hnp.arrays(np.int16, hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=12))
some = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def noisy_head(slices: int = 4, side: int = 32) -> "np.ndarray[tuple[int, ...], np.dtype[np.int16]]":
    return np.random.default_rng(5).normal(35, 9, (slices, side, side)).astype(np.int16)


@some
@given(hu_SHW=volumes)
def test_what_is_written_is_read(tmp_path: Path, hu_SHW: "np.ndarray[tuple[int, ...], np.dtype[np.int16]]") -> None:
    path = tmp_path / "a.shard"
    sha256 = write_shard(path, hu_SHW)
    assert np.array_equal(read_slices(path), hu_SHW)
    assert shard_shape(path) == hu_SHW.shape
    assert sha256_of(path) == sha256


@some
@given(data=st.data())
def test_slices_come_in_the_order_they_are_named_in(tmp_path: Path, data: st.DataObject) -> None:
    hu_SHW = noisy_head(6, 16)
    path = tmp_path / "a.shard"
    write_shard(path, hu_SHW)
    wanted = data.draw(st.lists(st.integers(-6, 5), max_size=8))
    assert np.array_equal(read_slices(path, wanted), hu_SHW[wanted])


def test_equal_hu_give_equal_bytes(tmp_path: Path) -> None:
    hu_SHW = noisy_head()
    turned_view = np.ascontiguousarray(hu_SHW.transpose(0, 2, 1)).transpose(0, 2, 1)
    assert write_shard(tmp_path / "a", hu_SHW) == write_shard(tmp_path / "b", turned_view)


def test_the_form_is_what_the_docstring_says(tmp_path: Path) -> None:
    """Read by hand, with blosc2 alone."""
    hu_SHW = noisy_head(3, 20)
    write_shard(tmp_path / "a", hu_SHW)
    bytes_ = (tmp_path / "a").read_bytes()
    assert bytes_[:8] == b"ichdHU1\n"
    assert np.frombuffer(bytes_, "<u4", 3, 8).tolist() == [3, 20, 20]
    offset = int(np.frombuffer(bytes_, "<u8", 1, 24 + 16)[0])
    length = int(np.frombuffer(bytes_, "<u4", 1, 24 + 24)[0])
    second_HW = np.frombuffer(blosc2.decompress2(bytes_[offset : offset + length]), "<i2").reshape(20, 20)
    assert np.array_equal(second_HW, hu_SHW[1])


def test_slices_are_decoded_where_they_are_wanted(tmp_path: Path) -> None:
    hu_SHW = noisy_head()
    write_shard(tmp_path / "a", hu_SHW)
    batch_VSHW = np.zeros((2, 3, 32, 32), dtype=np.int16)
    read_slices(tmp_path / "a", [1, 2, 3], out=batch_VSHW[1])
    assert np.array_equal(batch_VSHW[1], hu_SHW[1:])
    assert not batch_VSHW[0].any()
    with pytest.raises(ValueError, match="contiguous int16"):
        read_slices(tmp_path / "a", [1], out=batch_VSHW[1])


def test_a_long_scan_has_a_long_table(tmp_path: Path) -> None:
    hu_SHW = np.arange(400 * 4, dtype=np.int16).reshape(400, 2, 2)
    write_shard(tmp_path / "a", hu_SHW)
    assert np.array_equal(read_slices(tmp_path / "a", [399, 0]), hu_SHW[[399, 0]])


def test_a_changed_byte_anywhere_is_found(tmp_path: Path) -> None:
    path = tmp_path / "ID_a.shard"
    write_shard(path, noisy_head(3, 8))
    whole = path.read_bytes()
    for position in range(len(whole)):
        for flipped in (0x01, 0x80, 0xFF):
            spoiled = bytearray(whole)
            spoiled[position] ^= flipped
            path.write_bytes(spoiled)
            with pytest.raises(UserError, match=r"ID_a\.shard is damaged .*ichd data pack"):
                read_slices(path)


@some
@given(data=st.data())
def test_a_shard_of_another_length_is_found(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "ID_a.shard"
    write_shard(path, noisy_head(3, 8))
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole) - 1))
    for spoiled in (whole[:cut], whole + b"\0" * (cut + 1)):
        path.write_bytes(spoiled)
        with pytest.raises(UserError, match="is damaged"):
            read_slices(path, [0])


def test_damage_to_one_slice_leaves_the_others(tmp_path: Path) -> None:
    path, hu_SHW = tmp_path / "a", noisy_head()
    write_shard(path, hu_SHW)
    spoiled = bytearray(path.read_bytes())
    spoiled[-3] ^= 1
    path.write_bytes(spoiled)
    assert np.array_equal(read_slices(path, [0, 1, 2]), hu_SHW[:3])
    with pytest.raises(UserError, match="slice 3 does not match its checksum"):
        read_slices(path, [3])


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ID_b\.shard is missing; pack it again with `ichd data pack`"):
        read_slices(tmp_path / "ID_b.shard")


def test_a_slice_that_is_not_there_is_a_defect_of_the_caller(tmp_path: Path) -> None:
    write_shard(tmp_path / "a", noisy_head(2))
    with pytest.raises(IndexError):
        read_slices(tmp_path / "a", [2])


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files fails a write in the middle, as a full disk does."""
    script = (
        "import signal, sys, resource, numpy as np\n"
        "from pathlib import Path\n"
        "from training.packed.shard import write_shard\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, {resource.RLIM_INFINITY}))\n"
        "hu = np.random.default_rng(1).integers(-1000, 1000, (4, 64, 64)).astype(np.int16)\n"
        "write_shard(Path(sys.argv[1]), hu)\n"
    )
    path = tmp_path / "3f" / "ID_a.shard"
    ended = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, env=dict(os.environ), check=False
    )
    assert "UserError" in ended.stderr
    assert "can't be written (File too large); make room" in ended.stderr
    assert list(path.parent.iterdir()) == []
