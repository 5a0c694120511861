"""How fast learning is fed, and how fast it steps.

The host's share of the data path is all that stays on the CPU: with augmentation on the GPU, to read windows of ten
slices of random studies, to decompress and to collate them as int16 [5, 10, 512, 512]. Two threads decode into buffers
that are used again, and blosc2 lets go of the interpreter meanwhile; the same in two processes of torch's DataLoader,
in fresh shared memory, is given beside it. Against them stands the plain pipeline (`tests.benchmarks.plain_pipeline`)
in two processes of DataLoader, in alternating rounds; ratios are medians over the rounds. All files are in the page
cache, so no disk decides. What the plain pipeline does without augmentation is given as well: reading alone.

The GPU's part needs a GPU.
"""

import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ichd.phantom import PhantomRecipe, render, write_series
from tests.benchmarks.figures import Figure, arguments, print_figures
from tests.benchmarks.plain_pipeline import PlainWindows, windows_of
from tests.benchmarks.training_gpu import gpu_figures
from training.packed.shard import read_slices, write_shard

#: Studies in a micro-batch, consecutive slices of each (paper, batch).
VIEWS, SLICES = 5, 10
_WORKERS = 2


@dataclass(frozen=True, kw_only=True)
class Options:
    """What --quick changes."""

    studies: int
    slices: int
    rounds: int
    #: Micro-batches of a round, ours and plain.
    ours: int
    plain: int


FULL = Options(studies=8, slices=28, rounds=5, ours=100, plain=8)
QUICK = Options(studies=2, slices=12, rounds=1, ours=30, plain=4)


class PackedWindows(Dataset[Tensor]):
    """Micro-batches of windows of packed studies, int16 HU [V, S, H, W], decoded where the trainer will read them."""

    def __init__(self, shards: Sequence[Path], lengths: Sequence[int], *, size: int, batches: int, seed: int) -> None:
        self.shards, self.lengths, self.size, self.batches, self.seed = shards, lengths, size, batches, seed

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int) -> Tensor:
        room: Any = self.buffer()
        return self.decoded(index, room.share_memory_())

    def buffer(self) -> Tensor:
        """Room for one micro-batch."""
        return torch.empty((VIEWS, SLICES, self.size, self.size), dtype=torch.int16)

    def decoded(self, index: int, hu_VSHW: Tensor) -> Tensor:
        """One micro-batch in the room that is given."""
        rng = np.random.default_rng((self.seed, index))
        for window in hu_VSHW.numpy():
            study = int(rng.integers(len(self.shards)))
            start = int(rng.integers(self.lengths[study] - SLICES + 1))
            read_slices(self.shards[study], range(start, start + SLICES), out=window)
        return hu_VSHW


@dataclass(frozen=True, kw_only=True)
class Files:
    """The same slices in three forms, a study an entry."""

    shards: list[Path]
    png: list[list[Path]]
    dicom: list[list[Path]]
    lengths: list[int]
    size: int


def main() -> None:
    given = arguments(__doc__ or "")
    options = QUICK if given.quick else FULL
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        files = write_files(Path(scratch), options)
        figures, why_null = host_figures(files, options)
        on_gpu, missing = gpu_figures(lambda: packed_batches(files, options.ours, seed=0))
        figures, why_null = figures | on_gpu, why_null | missing
    print_figures(figures, why_null, as_json=given.json)


def write_files(folder: Path, options: Options, *, rows: int = 512) -> Files:
    """Phantoms as shards, as PNGs of three windows and as DICOM."""
    files = Files(shards=[], png=[], dicom=[], lengths=[], size=rows)
    for seed in range(options.studies):
        phantom = render(PhantomRecipe(seed=seed, slices=options.slices, rows=rows, voxel_mm=1.5))
        shard, png = folder / f"{seed}.shard", folder / f"{seed}.png"
        write_shard(shard, phantom.hu_SHW)
        png.mkdir()
        names = [png / f"{index:03}.png" for index in range(options.slices)]
        for name, hu_HW in zip(names, phantom.hu_SHW, strict=True):
            cv2.imwrite(str(name), cv2.cvtColor(windows_of(hu_HW), cv2.COLOR_RGB2BGR))
        files.shards.append(shard)
        files.png.append(names)
        files.dicom.append(write_series(phantom, folder / f"{seed}.dicom"))
        files.lengths.append(options.slices)
    return files


def packed_batches(files: Files, batches: int, *, seed: int) -> Iterator[Tensor]:
    """Our side in threads: each micro-batch is the caller's until it asks for the next one."""
    windows = PackedWindows(files.shards, files.lengths, size=files.size, batches=batches, seed=seed)
    rooms = deque(windows.buffer() for _ in range(2 * _WORKERS + 1))
    if torch.cuda.is_available():
        rooms = deque(room.pin_memory() for room in rooms)
    coming: deque[Future[Tensor]] = deque()
    with ThreadPoolExecutor(_WORKERS) as pool:
        for index in range(batches):
            coming.append(pool.submit(windows.decoded, index, rooms.popleft()))
            if len(rooms) == 0:
                yield (batch := coming.popleft().result())
                rooms.append(batch)
        yield from (future.result() for future in coming)


def packed_loader(files: Files, batches: int, *, seed: int) -> Iterable[Tensor]:
    """Our side in processes."""
    windows = PackedWindows(files.shards, files.lengths, size=files.size, batches=batches, seed=seed)
    return DataLoader(windows, batch_size=None, num_workers=_WORKERS, prefetch_factor=4)


def plain_loader(studies: Sequence[Sequence[Path]], batches: int, *, augment: bool, seed: int) -> Iterable[Tensor]:
    """The other side, with torch's own collation."""
    windows = PlainWindows(studies, slices=SLICES, windows=VIEWS * batches, augment=augment, seed=seed)
    return DataLoader(windows, batch_size=VIEWS, num_workers=_WORKERS)


def host_figures(files: Files, options: Options) -> tuple[dict[str, Figure], dict[str, str]]:
    """Slices a second of each side, and the ratios."""
    contenders: Mapping[str, Callable[[int], Iterable[Tensor]]] = {
        "ours": lambda seed: packed_batches(files, options.ours, seed=seed),
        "processes": lambda seed: packed_loader(files, options.ours, seed=seed),
        "png": lambda seed: plain_loader(files.png, options.plain, augment=True, seed=seed),
        "dicom": lambda seed: plain_loader(files.dicom, options.plain, augment=True, seed=seed),
        "png_bare": lambda seed: plain_loader(files.png, options.plain, augment=False, seed=seed),
    }
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(options.rounds):
        for name, loader in contenders.items():
            rates[name].append(_rate(loader(turn)))
    slices = sum(files.lengths)
    kib = {
        "shard": sum(path.stat().st_size for path in files.shards) / slices / 1024,
        "png": sum(path.stat().st_size for study in files.png for path in study) / slices / 1024,
    }
    return {
        "ratio_data_path": _median_ratio(rates["ours"], rates["png"]),
        "ratio_data_path_processes": _median_ratio(rates["processes"], rates["png"]),
        "ratio_data_path_dicom": _median_ratio(rates["ours"], rates["dicom"]),
        "ratio_data_path_png_unaugmented": _median_ratio(rates["ours"], rates["png_bare"]),
        "slices_per_s_data": round(statistics.median(rates["ours"])),
        "slices_per_s_data_processes": round(statistics.median(rates["processes"])),
        "slices_per_s_png": round(statistics.median(rates["png"]), 1),
        "slices_per_s_dicom": round(statistics.median(rates["dicom"]), 1),
        "slices_per_s_png_unaugmented": round(statistics.median(rates["png_bare"]), 1),
        "kib_per_slice_shard": round(kib["shard"]),
        "kib_per_slice_png": round(kib["png"]),
    }, {}


def _rate(loader: Iterable[Tensor]) -> float:
    """Slices a second, counted from when each worker has brought one batch: starting them belongs to neither side.

    Workers begin together and take turns, so whole turns are counted and nothing that was read ahead.
    """
    batches = iter(loader)
    for _ in range(_WORKERS):
        next(batches)
    started, slices = time.perf_counter(), 0
    for batch in batches:
        slices += batch.shape[0] * batch.shape[1]
    return slices / (time.perf_counter() - started)


def _median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 2)


if __name__ == "__main__":
    main()
