"""How fast the engines read: against torch, against the bare network, over the length of a scan, and in what memory.

CPU, both published backbones at 512x512, random weights. The engine's side starts at the DICOM files and ends at the
probabilities; the bare network is OpenVINO's own bf16 (fp32 where the processor has none) on ready input, as its hint
LATENCY has it and again in as many streams as the engine has. "torch eager fp32" is a batch of eight as the authors'
code has it, images before channels; torch at its best is given beside it. Rates come from rounds in which all take
turns, ratios are medians over the rounds. The GPU's part is in `graphics`.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import pydicom
import torch
from pydicom.uid import generate_uid

from ichd.phantom import BLEED_KINDS, PhantomRecipe, render, write_series
from ichd.vision.bundle import Bundle, demo_bundle, load_bundle, save_bundle
from ichd.vision.engines.cache import EngineCache
from ichd.vision.engines.choice import EngineWish, choose_engine, open_engine
from ichd.vision.engines.eager import EagerEngine
from ichd.vision.engines.runtime import CPU_PLUGIN, openvino_core
from ichd.vision.manifest import InputSpec, NetworkSpec
from ichd.vision.network import CnnLstm
from ichd.vision.preprocess import prepare
from ichd.vision.published import BACKBONES
from ichd.vision.reader import Reader
from ichd.vision.scan import HeadScan
from tests.benchmarks.figures import Figure, arguments, print_figures
from tests.benchmarks.graphics import gpu_figures
from tests.benchmarks.lengths import length_figures
from tests.vision.images import load_files
from tests.vision.test_bundle import manifest

#: Of plain torch, as the authors' code has it.
_EAGER_BATCH = 8
#: Of the rates: the bars are ratios, so nothing here depends on the machine.
CPU = EngineWish(device="cpu")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What --quick changes."""

    backbones: Mapping[str, str]
    #: Of the scan whose reading gives the rates.
    slices: int
    rounds: int
    phantoms: int
    lengths: tuple[int, ...]


FULL = Options(backbones=BACKBONES, slices=36, rounds=5, phantoms=50, lengths=(20, 40, 80, 160, 320))
QUICK = Options(backbones={"resnet50": "resnet50"}, slices=8, rounds=2, phantoms=1, lengths=())


def main() -> None:
    given = arguments(__doc__ or "")
    options = QUICK if given.quick else FULL
    figures: dict[str, Figure] = {}
    why_null: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        bundles = {suffix: random_bundle(folder / suffix, name) for suffix, name in BACKBONES.items()}
        cache = EngineCache(folder / "cache")
        files = thick_series(folder / "series", options.slices)
        for suffix in BACKBONES:
            measured = _rates(bundles[suffix], cache, files, options.rounds) if suffix in options.backbones else {}
            for name in _RATES:
                figures[f"{name}_{suffix}"] = measured.get(name)
                why_null |= {} if measured else {f"{name}_{suffix}": "left out by --quick"}
        figures |= _differences(cache, options.phantoms)
        measured_lengths, missing = length_figures(folder, bundles["seresnext50"].folder, options.lengths)
        figures, why_null = figures | measured_lengths, why_null | missing
        on_gpu, missing = gpu_figures(bundles)
        figures, why_null = figures | on_gpu, why_null | missing
    print_figures(figures, why_null, as_json=given.json)


def random_bundle(folder: Path, backbone: str) -> Bundle:
    """The published architecture on the published input."""
    torch.manual_seed(7)
    described = manifest(network=NetworkSpec(backbone=backbone), input=InputSpec())
    save_bundle(folder, described, CnnLstm(described.network).state_dict())
    return load_bundle(folder)


def thick_series(folder: Path, slices: int) -> list[Path]:
    """One phantom slice over and over, 5 mm apart."""
    (path,) = write_series(render(PhantomRecipe(seed=1, slices=1)), folder.with_name("template"))
    image = pydicom.dcmread(path)
    folder.mkdir()
    x, y, z = (float(v) for v in image.ImagePositionPatient)
    files = [folder / f"{number:03}.dcm" for number in range(slices)]
    for number, file in enumerate(files):
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        image.InstanceNumber = number + 1
        image.ImagePositionPatient = [x, y, z + 5.0 * number]
        image.SliceThickness = 5.0
        image.save_as(file)
    return files


_RATES = (
    "ratio_torch_fp32",
    "share_bare_openvino",
    "share_bare_openvino_streams",
    "slices_per_s",
    "slices_per_s_bare_openvino",
    "slices_per_s_bare_openvino_streams",
    "slices_per_s_torch_fp32",
    "slices_per_s_torch_fp32_at_its_best",
    "max_abs_diff_random",
)


def _rates(bundle: Bundle, cache: EngineCache, files: list[Path], rounds: int) -> dict[str, Figure]:
    engine = open_engine(bundle, CPU, cache)
    reader, best = Reader(engine), Reader(EagerEngine(bundle, device="cpu"))
    scan = load_files(files)
    precision = {"INFERENCE_PRECISION_HINT": "bf16" if engine.name.endswith("bf16") else "f32"}
    contenders: dict[str, Callable[[], object]] = {
        "engine": lambda: reader.read(load_files(files)),
        "bare": _bare_openvino(bundle, {"PERFORMANCE_HINT": "LATENCY", **precision}, 1, len(files)),
        "streams": _bare_openvino(bundle, {"NUM_STREAMS": engine.at_once, **precision}, engine.at_once, len(files)),
        "eager": _plain_eager(bundle, scan),
        "best": lambda: best.read(scan),
    }
    for run in contenders.values():
        run()
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            started = time.perf_counter()
            run()
            rates[name].append(len(files) / (time.perf_counter() - started))
    return {
        "ratio_torch_fp32": _median_ratio(rates["engine"], rates["eager"]),
        "share_bare_openvino": _median_ratio(rates["engine"], rates["bare"]),
        "share_bare_openvino_streams": _median_ratio(rates["engine"], rates["streams"]),
        "slices_per_s": round(statistics.median(rates["engine"]), 2),
        "slices_per_s_bare_openvino": round(statistics.median(rates["bare"]), 2),
        "slices_per_s_bare_openvino_streams": round(statistics.median(rates["streams"]), 2),
        "slices_per_s_torch_fp32": round(statistics.median(rates["eager"]), 2),
        "slices_per_s_torch_fp32_at_its_best": round(statistics.median(rates["best"]), 2),
        "max_abs_diff_random": _difference(reader, best, scan),
    }


def _median_ratio(ours: list[float], theirs: list[float]) -> float:
    return round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 3)


def _bare_openvino(bundle: Bundle, options: Mapping[str, object], streams: int, slices: int) -> Callable[[], object]:
    """The CNN as OpenVINO converts it by itself, fed with one and the same ready input."""
    import openvino as ov

    class Cnn(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = bundle.network()

        def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
            return self.network.embed(x_NCHW)

    shape = (1, 3, 512, 512)
    with torch.no_grad():
        model = ov.convert_model(torch.export.export(Cnn().eval(), (torch.zeros(shape),), strict=False))
    model.reshape(list(shape))
    queue = ov.AsyncInferQueue(openvino_core().compile_model(model, CPU_PLUGIN, dict(options)), streams)
    ready = np.random.default_rng(0).normal(size=shape).astype(np.float32)

    def run() -> None:
        for _ in range(slices):
            queue.start_async([ready], share_inputs=True)
        queue.wait_all()

    return run


def _plain_eager(bundle: Bundle, scan: HeadScan) -> Callable[[], object]:
    network = bundle.network()

    @torch.inference_mode()
    def run() -> None:
        x_SCHW = prepare(scan.hu_SHW, scan.pixel_spacing_mm, bundle.manifest.input)
        network.classify(torch.cat([network.embed(batch) for batch in torch.split(x_SCHW, _EAGER_BATCH)]))

    return run


def _differences(cache: EngineCache, count: int) -> dict[str, Figure]:
    """The demonstration model, which was trained: random weights say much the same of every slice."""
    bundle = load_bundle(demo_bundle())
    reference = Reader(EagerEngine(bundle, device="cpu"))
    readers = {
        "max_abs_diff": Reader(
            open_engine(bundle, EngineWish(device="cpu", precision=choose_engine(CPU).precision), cache)
        ),
        "max_abs_diff_fp32": Reader(open_engine(bundle, EngineWish(device="cpu", precision="fp32"), cache)),
    }
    worst = dict.fromkeys(readers, 0.0)
    kinds = [(), *((kind,) for kind in BLEED_KINDS)]
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(count):
            recipe = PhantomRecipe(seed=2**42 + number, bleeds=kinds[number % len(kinds)], voxel_mm=1.5)
            scan = load_files(write_series(render(recipe), Path(scratch, str(number))))
            worst = {name: max(worst[name], _difference(reader, reference, scan)) for name, reader in readers.items()}
    real = os.environ.get("ICHD_TEST_DATA")
    if real:
        scan = load_files(sorted(Path(real, "head-ct-ge").glob("*.dcm")))
        worst = {name: max(worst[name], _difference(reader, reference, scan)) for name, reader in readers.items()}
    return {**worst, "max_abs_diff_phantoms": count, "max_abs_diff_real_heads": int(bool(real))}


def _difference(ours: Reader, reference: Reader, scan: HeadScan) -> float:
    said, expected = (np.array([s.probabilities for s in r.read(scan).slices]) for r in (ours, reference))
    return float(np.abs(said - expected).max())


if __name__ == "__main__":
    main()
