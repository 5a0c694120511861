"""`ichd model quantise`: an int8 form of a bundle for this machine, and what it loses."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from ichd.app.predict import gather
from ichd.domain.finding import CLASSES
from ichd.phantom import BLEED_KINDS, Phantom, PhantomRecipe, render
from ichd.vision.bundle import Bundle, find_bundle, load_bundle
from ichd.vision.engines.cache import EngineCache
from ichd.vision.engines.engine import Engine, Part
from ichd.vision.engines.openvino import OpenVinoEngine
from ichd.vision.engines.quantisation import keep_quantised, quantise
from ichd.vision.preprocess import resample_hu
from ichd.vision.scan import SliceSource, load_scan

#: Far from the seeds of recipes, demonstrations and tests; calibration and measurement use different phantoms.
_FIRST_SEED = 2**43
#: A scan each: every kind of bleed, and none.
_KINDS = ((), *((kind,) for kind in BLEED_KINDS))


@dataclass(frozen=True, kw_only=True)
class Loss:
    """int8 beside fp32 on the same labelled phantoms."""

    calibrated_on: str
    calibration_slices: int
    measured_slices: int
    #: Area under the ROC curve by slice, by class; a class that all slices or none have is left out.
    auc_fp32: dict[str, float]
    auc_int8: dict[str, float]
    max_abs_diff: float
    slices_per_s_fp32: float
    slices_per_s_int8: float


def quantise_bundle(
    bundle_name: str, cache: EngineCache, series: Sequence[Path], *, phantoms: int = 12, rows: int = 512
) -> Loss:
    """Quantise, measure, and keep both in `cache`.

    `series` are folders of one head CT each; without any, as many phantoms as `phantoms` says, of `rows` rows, do.
    The loss is measured on as many others.

    Raises:
        UserError: no such bundle, NNCF is not installed, a folder holds no image, or the cache can't be written.
        NotAnalysable: the files of a folder are no series that can be read.
        Permanent: the bundle is damaged.
    """
    bundle = load_bundle(find_bundle(bundle_name))
    parts = [_real(folder) for folder in series] or [_synthetic(_phantom(n, rows)) for n in range(phantoms)]
    spec = bundle.manifest.input
    grids_GG = [grid.numpy() for part in parts for grid in resample_hu(part.hu_SHW, part.pixel_spacing_mm, spec)]
    model = quantise(bundle, grids_GG)
    labelled = [_phantom(phantoms + n, rows) for n in range(phantoms)]
    with TemporaryDirectory() as scratch:
        trial = EngineCache(Path(scratch))
        keep_quantised(bundle, model, {}, trial)
        loss = _loss(bundle, trial, labelled, f"{len(series)} series" if series else "phantoms", len(grids_GG))
    keep_quantised(bundle, model, asdict(loss), cache)
    return loss


def _loss(bundle: Bundle, trial: EngineCache, phantoms: list[Phantom], calibrated_on: str, slices: int) -> Loss:
    engines = {name: OpenVinoEngine(bundle, precision=name, cache=trial) for name in ("fp32", "int8")}
    for engine in engines.values():
        engine.warm_up()
    said: dict[str, list[NDArray[np.float64]]] = {name: [] for name in engines}
    seconds = dict.fromkeys(engines, 0.0)
    # In turns, so that whatever else the machine does falls on both.
    for phantom in phantoms:
        for name, engine in engines.items():
            started = time.perf_counter()
            said[name].append(_read(engine, phantom))
            seconds[name] += time.perf_counter() - started
    fp32_SC, int8_SC = (np.concatenate(said[name]) for name in ("fp32", "int8"))
    truth_SC = np.concatenate([phantom.presence_SC for phantom in phantoms])
    return Loss(
        calibrated_on=calibrated_on,
        calibration_slices=slices,
        measured_slices=len(truth_SC),
        auc_fp32=_auc(truth_SC, fp32_SC),
        auc_int8=_auc(truth_SC, int8_SC),
        max_abs_diff=float(np.abs(int8_SC - fp32_SC).max()),
        slices_per_s_fp32=round(len(truth_SC) / seconds["fp32"], 2),
        slices_per_s_int8=round(len(truth_SC) / seconds["int8"], 2),
    )


def _auc(truth_SC: NDArray[np.bool_], p_SC: NDArray[np.float64]) -> dict[str, float]:
    return {
        name: round(float(roc_auc_score(truth_SC[:, c], p_SC[:, c])), 4)
        for c, name in enumerate(CLASSES)
        if 0 < truth_SC[:, c].sum() < len(truth_SC)
    }


def _read(engine: Engine, phantom: Phantom) -> NDArray[np.float64]:
    return engine.classify(*engine.embed([_synthetic(phantom)]))


def _phantom(number: int, rows: int) -> Phantom:
    kinds = _KINDS[number % len(_KINDS)]
    return render(PhantomRecipe(seed=_FIRST_SEED + number, bleeds=kinds, rows=rows, voxel_mm=1.5))


def _synthetic(phantom: Phantom) -> Part:
    return Part(hu_SHW=phantom.hu_SHW, pixel_spacing_mm=(phantom.pixel_spacing_mm, phantom.pixel_spacing_mm))


def _real(folder: Path) -> Part:
    scan = load_scan([SliceSource(path=path) for path in gather([folder]).files.values()])
    return Part(hu_SHW=scan.hu_SHW, pixel_spacing_mm=scan.pixel_spacing_mm)
