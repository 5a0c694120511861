"""The part of `engine` that needs an NVIDIA GPU; written where there is none, and so not run yet.

Our side starts at decoded int16 HU in ordinary memory and ends at embeddings (rates) or probabilities (a study). torch
eager and autocast are given windowed, standardised input that lies on the device already.
"""

import statistics
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from ichd.vision.bundle import Bundle
from ichd.vision.engines.cuda import AT_ONCE, CudaEngine, precisions
from ichd.vision.engines.engine import Part
from tests.benchmarks.figures import Figure

_STUDY = 36
_STUDIES = 8
_ROUNDS = 9
_SPACING = (0.5, 0.5)
_FIGURES = ("gpu_slices_per_s", "gpu_share_of_peak", "gpu_study_ms", "gpu_ratio_eager_fp32", "gpu_ratio_autocast")


def gpu_figures(bundles: Mapping[str, Bundle]) -> tuple[dict[str, Figure], dict[str, str]]:
    """Figures by backbone, the fixed keys for the first, and what is null."""
    if not torch.cuda.is_available():
        names = ["gpu_peak_tflops", *_FIGURES, *(f"{name}_{suffix}" for name in _FIGURES for suffix in bundles)]
        return dict.fromkeys(names), dict.fromkeys(names, "torch finds no NVIDIA GPU on this machine")
    peak = _matrix_flops_per_s()
    figures: dict[str, Figure] = {"gpu_peak_tflops": round(peak / 1e12, 1)}
    for suffix, bundle in bundles.items():
        measured = _of_backbone(bundle, peak)
        figures |= {f"{name}_{suffix}": value for name, value in measured.items()}
        figures = measured | figures  # the first backbone's stand under the fixed keys
    return figures, {}


def _of_backbone(bundle: Bundle, peak: float) -> dict[str, Figure]:
    device = torch.device("cuda")
    engine = CudaEngine(bundle, device=device, precision=precisions(device)[0])
    hu_SHW = np.random.default_rng(3).integers(-1024, 2000, (_STUDY, 512, 512)).astype(np.int16)
    parts = [Part(hu_SHW=hu_SHW, pixel_spacing_mm=_SPACING)] * _STUDIES
    network = bundle.network().cuda()
    x_NCHW = torch.randn(AT_ONCE, 3, 512, 512, device="cuda")

    @torch.inference_mode()
    def eager() -> None:
        network.embed(x_NCHW)
        torch.cuda.synchronize()

    def autocast() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            eager()

    contenders: dict[str, tuple[Callable[[], object], int]] = {
        "engine": (lambda: engine.embed(parts), _STUDY * _STUDIES),
        "eager": (eager, AT_ONCE),
        "autocast": (autocast, AT_ONCE),
        "study": (lambda: engine.classify(*engine.embed(parts[:1])), 1),
    }
    for run, _ in contenders.values():
        run()
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(_ROUNDS):
        for name, (run, count) in contenders.items():
            started = time.perf_counter()
            run()
            rates[name].append(count / (time.perf_counter() - started))
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network.embed(x_NCHW)
    slices_per_s = statistics.median(rates["engine"])
    return {
        "gpu_slices_per_s": round(slices_per_s, 1),
        "gpu_share_of_peak": round(slices_per_s * counter.get_total_flops() / AT_ONCE / peak, 3),
        "gpu_study_ms": round(1e3 / statistics.median(rates["study"]), 2),
        "gpu_ratio_eager_fp32": round(slices_per_s / statistics.median(rates["eager"]), 2),
        "gpu_ratio_autocast": round(slices_per_s / statistics.median(rates["autocast"]), 2),
    }


def _matrix_flops_per_s(side: int = 8192) -> float:
    """Of a bf16 matrix product large enough to fill the card."""
    a, b = (torch.randn(side, side, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(20):
        torch.cuda.synchronize()
        started = time.perf_counter()
        _ = a @ b
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / statistics.median(seconds[5:])
