"""One study's HU in one file: a table of slices, then each slice as one blosc2 chunk of its own.

Shapes: S slices, H W pixels.

The form, little-endian. Everything in it stands under a CRC32 that is compared before a byte is believed:

    8 bytes   "ichdHU1\\n"
    3 x u32   S, H, W
    u32       CRC32 of all before it and of the table
    S x       (u64 offset from the file's start, u32 length, u32 CRC32 of the chunk)
    S chunks  int16 [H, W], as `blosc2.decompress2` reads them

blosc2's own container (b2nd) was not taken, because it has no checksum: of 1,174 single bytes that were changed in one,
1,036 came out as other HU without an error. zarr is three to ten times slower to read.

LZ4HC with byte shuffle, because it is nearly the smallest and the quickest to decode. `tests/benchmarks/packing.py`,
real head CT of 512x512, one core of a Xeon; how many times smaller than bare int16, and slices decoded a second:

    LZ4HC 5, shuffle              2.77   7,500
    LZ4HC 5, delta, bit shuffle   2.38   2,000
    LZ4 5, bit shuffle            2.38   5,100
    blosclz 5, shuffle            2.22   5,900
    zstd 1, bit shuffle           2.90   2,100
    zstd 5, shuffle               3.05   2,500
    zstd 9, bit shuffle           3.12   2,400

It compresses 160 slices a second, which is slow, and is done once. From the file, with checksums, 4,800 slices a second
come back: the CRC32 of a slice takes 40 us beside 130 us of decoding. That is not little, but it is 0.4 ms for a window
of ten, and the alternative is a network that learns from garbage.
"""

import hashlib
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import blosc2
import numpy as np
from numpy.typing import NDArray

from ichd.domain.errors import UserError

#: How a shard is named, and one that is not whole yet.
SUFFIX = ".shard"
PARTIAL = ".partial"

HU = NDArray[np.int16]

_MAGIC = b"ichdHU1\n"
_HEAD = struct.Struct("<8sIII")
_CRC = struct.Struct("<I")
_ENTRY = np.dtype([("offset", "<u8"), ("length", "<u4"), ("crc32", "<u4")])
_START = _HEAD.size + _CRC.size
#: Read at first: the table of 250 slices.
_FIRST_READ = 4096
_MEND = "pack it again with `ichd data pack`"
#: Threads are left to the loader: two that share a slice decode it no faster than one. The block is named, because
#: blosc2 would choose it by the cache of the machine, and equal HU must give equal bytes.
_COMPRESSION: dict[str, Any] = {
    "codec": blosc2.Codec.LZ4HC,
    "clevel": 5,
    "filters": [blosc2.Filter.SHUFFLE],
    "filters_meta": [0],
    "typesize": 2,
    "blocksize": 1 << 18,
    "nthreads": 1,
}
# Threads of a loader decode side by side.
blosc2.set_releasegil(True)


class _Damage(Exception):
    """What is wrong with a shard, in words."""


def write_shard(path: Path, hu_SHW: HU) -> str:
    """Write int16 HU [S, H, W], whole or not at all; returns the sha256 of the file. Equal HU give equal bytes.

    Raises:
        UserError: the disk is full, or the folder can't be written to.
    """
    slices, rows, columns = hu_SHW.shape
    chunks = [blosc2.compress2(np.ascontiguousarray(hu_HW, dtype="<i2"), **_COMPRESSION) for hu_HW in hu_SHW]
    table = np.empty(slices, dtype=_ENTRY)
    lengths = np.array([len(chunk) for chunk in chunks], dtype=np.int64)
    table["offset"] = _START + table.nbytes + np.cumsum(lengths) - lengths
    table["length"] = lengths
    table["crc32"] = [zlib.crc32(chunk) for chunk in chunks]
    head = _HEAD.pack(_MAGIC, slices, rows, columns)
    parts = [head, _CRC.pack(zlib.crc32(table.tobytes(), zlib.crc32(head))), table.tobytes(), *chunks]
    partial, digest = path.with_name(path.name + PARTIAL), hashlib.sha256()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            for part in parts:
                file.write(part)
                digest.update(part)
            # Some file systems say only here that the disk is full.
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(
            f"{path} can't be written ({error.strerror or error}); make room and run the same command again, "
            "it goes on where it stopped"
        ) from error
    return digest.hexdigest()


def read_slices(path: Path, slices: Sequence[int] | None = None, *, out: HU | None = None) -> HU:
    """HU, int16 [S, H, W], of all or the named slices, in the order in which they are named.

    They are decoded into `out` where it is given: contiguous, of just that shape. The file is opened anew each time,
    which takes 20 us: nothing is shared by forked or spawned processes. It is read rather than mapped, because a disk
    that fails under a mapping ends the process by SIGBUS instead of naming the shard.

    Raises:
        UserError: the shard is missing or damaged.
        IndexError: there is no such slice.
    """
    with _named(path), path.open("rb", buffering=0) as file:
        (_, rows, columns), table = _table(file, os.fstat(file.fileno()).st_size)
        wanted = range(len(table)) if slices is None else slices
        hu_SHW = np.empty((len(wanted), rows, columns), dtype=np.int16) if out is None else out
        if hu_SHW.shape != (len(wanted), rows, columns) or hu_SHW.dtype != np.int16 or not hu_SHW.flags.c_contiguous:
            raise ValueError(f"out must be contiguous int16 {(len(wanted), rows, columns)}")
        for hu_HW, index in zip(hu_SHW, wanted, strict=True):
            offset, length, crc32 = table[index].item()
            _decode(_exactly(file, offset, length), crc32, index, hu_HW)
    return hu_SHW


def shard_shape(path: Path) -> tuple[int, int, int]:
    """S, H and W as the shard's head has them.

    Raises:
        UserError: the shard is missing, or its head is damaged.
    """
    with _named(path), path.open("rb", buffering=0) as file:
        shape, _ = _table(file, os.fstat(file.fileno()).st_size)
        return shape


def sha256_of(path: Path) -> str:
    """Of the bytes of a file.

    Raises:
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Trouble with one shard as a sentence that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; {_MEND}") from error
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror or error}); mend the disk, or {_MEND}") from error
    except _Damage as error:
        raise UserError(f"{path} is damaged ({error}); {_MEND}") from error


def _table(file: BinaryIO, size: int) -> tuple[tuple[int, int, int], NDArray[Any]]:
    """Shape and table of slices; whatever follows from them lies inside the file."""
    start = file.read(_FIRST_READ)
    if len(start) < _START or not start.startswith(_MAGIC):
        raise _Damage("it does not start as a shard")
    _, slices, rows, columns = _HEAD.unpack_from(start)
    end = _START + slices * _ENTRY.itemsize
    if end > size:
        raise _Damage("its table of slices is cut off")
    if end > len(start):
        start = _exactly(file, 0, end)
    (crc32,) = _CRC.unpack_from(start, _HEAD.size)
    if zlib.crc32(start[_START:end], zlib.crc32(start[: _HEAD.size])) != crc32:
        raise _Damage("its table of slices does not match its checksum")
    table = np.frombuffer(start[:end], dtype=_ENTRY, offset=_START)
    if size != (int(table["offset"][-1]) + int(table["length"][-1]) if slices else end):
        raise _Damage(f"it has {size} bytes, and should not")
    return (slices, rows, columns), table


def _exactly(file: BinaryIO, offset: int, length: int) -> bytes:
    # A regular file hands out all there is; only one that shrinks meanwhile gives less.
    read = os.pread(file.fileno(), length, offset)
    if len(read) != length:
        raise _Damage("it is cut off")
    return read


def _decode(chunk: bytes, crc32: int, index: int, hu_HW: HU) -> None:
    if zlib.crc32(chunk) != crc32:
        raise _Damage(f"slice {index} does not match its checksum")
    try:
        size, _, _ = blosc2.get_cbuffer_sizes(chunk)
        if size != hu_HW.nbytes:
            raise _Damage(f"slice {index} holds {size} bytes instead of {hu_HW.nbytes}")
        blosc2.decompress2(chunk, dst=hu_HW, nthreads=1)
    except (RuntimeError, ValueError) as error:
        raise _Damage(f"slice {index} can't be decoded: {error}") from error
