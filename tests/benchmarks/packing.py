"""What packed HU weigh, and how fast they come back: why `training.packed.shard` is what it is.

blosc2 with its codecs and filters, one chunk a slice; blosc2's own container b2nd; zarr 3 with the same blosc, a file a
slice; and bare int16, mapped. On phantoms of 512x512 and on the real head CT where it is at hand ($ICHD_HEAD_CT, a
folder of one DICOM series). Ratios are against bare int16. `slices_per_s_*` are decoded in one thread from the page
cache, medians over alternating rounds; a slice is copied out where nothing decodes it.

    --scale N    instead: index and pack N studies of 24 slices of 256x256, time and memory by every 250
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import blosc2
import numpy as np
import zarr
import zarr.codecs
from numpy.typing import NDArray

from ichd.phantom import PhantomRecipe, render
from ichd.vision.scan import SliceSource, load_scan
from tests.benchmarks.figures import Figure, print_figures
from training.packed.shard import read_slices, write_shard

HU = NDArray[np.int16]

_CODEC, _FILTER = blosc2.Codec, blosc2.Filter
#: Codec, level, filters. The fuller list, delta and high levels included, is left out by --quick.
_QUICK: tuple[tuple[Any, int, tuple[Any, ...]], ...] = (
    (_CODEC.LZ4, 5, (_FILTER.BITSHUFFLE,)),
    (_CODEC.LZ4HC, 5, (_FILTER.SHUFFLE,)),
    (_CODEC.ZSTD, 1, (_FILTER.BITSHUFFLE,)),
    (_CODEC.BLOSCLZ, 5, (_FILTER.SHUFFLE,)),
)
_FULL = (
    *_QUICK,
    (_CODEC.LZ4, 5, (_FILTER.SHUFFLE,)),
    (_CODEC.LZ4HC, 5, (_FILTER.BITSHUFFLE,)),
    (_CODEC.LZ4HC, 5, (_FILTER.DELTA, _FILTER.BITSHUFFLE)),
    (_CODEC.LZ4HC, 9, (_FILTER.SHUFFLE,)),
    (_CODEC.ZSTD, 1, (_FILTER.SHUFFLE,)),
    (_CODEC.ZSTD, 5, (_FILTER.SHUFFLE,)),
    (_CODEC.ZSTD, 5, (_FILTER.DELTA, _FILTER.SHUFFLE)),
    (_CODEC.ZSTD, 9, (_FILTER.BITSHUFFLE,)),
    (_CODEC.BLOSCLZ, 5, (_FILTER.BITSHUFFLE,)),
)


@dataclass(frozen=True, kw_only=True)
class Form:
    """One way to keep a scan."""

    name: str
    bytes: int
    #: Slices a second while writing.
    written_per_s: float
    #: Decodes every slice once.
    read: Callable[[], object]


def main() -> None:
    given = _arguments()
    if given.scale is not None:
        from tests.benchmarks.packing_scale import scale_figures

        print_figures(scale_figures(given.scale), {}, as_json=given.json)
        return
    blosc2.set_nthreads(1)
    figures: dict[str, Figure] = {}
    why_null: dict[str, str] = {}
    for name, hu_SHW in _scans(quick=given.quick).items():
        if hu_SHW is None:
            figures[f"{name}_ratio_shard"] = None
            why_null[f"{name}_ratio_shard"] = "ICHD_HEAD_CT does not name a folder"
            continue
        with tempfile.TemporaryDirectory() as scratch:
            forms = _forms(Path(scratch), hu_SHW, _QUICK if given.quick else _FULL)
            figures |= _compared(name, hu_SHW, forms, rounds=3 if given.quick else 9)
    # The table above has them; keys are for machines.
    print_figures({k: v for k, v in figures.items() if v is None}, why_null, as_json=False)
    if given.json:
        print(json.dumps({**figures, "why_null": why_null}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="end within 60 s on two cores")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    parser.add_argument("--scale", type=int, metavar="N", help="index and pack N studies instead")
    return parser.parse_args()


def _scans(*, quick: bool) -> dict[str, HU | None]:
    folder = Path(os.environ.get("ICHD_HEAD_CT", "nowhere"))
    files = sorted(folder.glob("*.dcm"))
    real = load_scan([SliceSource(path=path) for path in files]).hu_SHW.astype(np.int16) if files else None
    return {"phantom": render(PhantomRecipe(seed=1, slices=8 if quick else 24)).hu_SHW, "head_ct": real}


def _forms(folder: Path, hu_SHW: HU, settings: tuple[tuple[Any, int, tuple[Any, ...]], ...]) -> list[Form]:
    forms = [_shard(folder / "a.shard", hu_SHW), _raw(folder / "a.raw", hu_SHW)]
    forms += [_b2nd(folder / "a.b2nd", hu_SHW), _zarr(folder / "a.zarr", hu_SHW)]
    return forms + [_blosc2(hu_SHW, *setting) for setting in settings]


def _shard(path: Path, hu_SHW: HU) -> Form:
    """What is used: LZ4HC 5, shuffle, checksums compared, file opened and read anew."""
    seconds = _seconds(lambda: write_shard(path, hu_SHW))
    room = np.empty_like(hu_SHW)
    return Form(
        name="shard",
        bytes=path.stat().st_size,
        written_per_s=len(hu_SHW) / seconds,
        read=lambda: read_slices(path, out=room),
    )


def _raw(path: Path, hu_SHW: HU) -> Form:
    seconds = _seconds(lambda: hu_SHW.tofile(path))
    mapped, room = np.memmap(path, np.int16, "r", shape=hu_SHW.shape), np.empty_like(hu_SHW)
    return Form(
        name="raw", bytes=hu_SHW.nbytes, written_per_s=len(hu_SHW) / seconds, read=lambda: np.copyto(room, mapped)
    )


def _b2nd(path: Path, hu_SHW: HU) -> Form:
    parameters = {"codec": _CODEC.LZ4HC, "clevel": 5, "filters": [_FILTER.SHUFFLE], "filters_meta": [0], "nthreads": 1}
    chunks = (1, *hu_SHW.shape[1:])
    seconds = _seconds(lambda: blosc2.asarray(hu_SHW, chunks=chunks, cparams=parameters, urlpath=str(path), mode="w"))
    room = np.empty_like(hu_SHW)

    def read() -> None:
        array = blosc2.open(str(path), mode="r", dparams={"nthreads": 1})
        for index in range(len(room)):
            room[index] = array[index]

    return Form(name="b2nd", bytes=path.stat().st_size, written_per_s=len(hu_SHW) / seconds, read=read)


def _zarr(path: Path, hu_SHW: HU) -> Form:
    # zarr's blosc is the first one, which has LZ4HC as well.
    codec = zarr.codecs.BloscCodec(cname="lz4hc", clevel=5, shuffle="shuffle", typesize=2)
    array: Any = zarr.create_array(
        store=str(path), shape=hu_SHW.shape, chunks=(1, *hu_SHW.shape[1:]), dtype=hu_SHW.dtype, compressors=[codec]
    )

    def write() -> None:
        array[:] = hu_SHW

    seconds, room = _seconds(write), np.empty_like(hu_SHW)

    def read() -> None:
        opened: Any = zarr.open_array(str(path), mode="r")
        for index in range(len(room)):
            room[index] = opened[index]

    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return Form(name="zarr", bytes=size, written_per_s=len(hu_SHW) / seconds, read=read)


def _blosc2(hu_SHW: HU, codec: Any, level: int, filters: tuple[Any, ...]) -> Form:
    """Chunks in memory: the codec alone."""
    parameters = {"codec": codec, "clevel": level, "filters": list(filters), "filters_meta": [0] * len(filters)}
    chunks: list[bytes] = []
    seconds = _seconds(
        lambda: chunks.extend(
            blosc2.compress2(np.ascontiguousarray(hu_HW), typesize=2, nthreads=1, **parameters) for hu_HW in hu_SHW
        )
    )
    room = np.empty_like(hu_SHW[0])
    return Form(
        name="_".join([codec.name.lower(), str(level), *(one.name.lower() for one in filters)]),
        bytes=sum(map(len, chunks)),
        written_per_s=len(hu_SHW) / seconds,
        read=lambda: [blosc2.decompress2(chunk, dst=room, nthreads=1) for chunk in chunks],
    )


def _compared(scan: str, hu_SHW: HU, forms: list[Form], *, rounds: int) -> dict[str, Figure]:
    seconds: dict[str, list[float]] = {form.name: [] for form in forms}
    for form in forms:
        form.read()
    for _ in range(rounds):
        for form in forms:
            seconds[form.name].append(_seconds(form.read))
    figures: dict[str, Figure] = {}
    print(f"{scan:<28}{'ratio':>8}{'slices/s':>11}{'written/s':>12}")
    for form in forms:
        ratio, rate = hu_SHW.nbytes / form.bytes, len(hu_SHW) / statistics.median(seconds[form.name])
        print(f"  {form.name:<26}{ratio:>8.2f}{rate:>11,.0f}{form.written_per_s:>12,.0f}")
        figures[f"{scan}_ratio_{form.name}"] = round(ratio, 2)
        figures[f"{scan}_slices_per_s_{form.name}"] = round(rate)
        figures[f"{scan}_written_per_s_{form.name}"] = round(form.written_per_s)
    print()
    return figures


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
