"""Looks at input quality: how many spoiled heads are found, how many clean ones are noted, and what looking costs.

The phantoms are none of those that the thresholds were chosen with. The real head CT, clean and spoiled, is used where
ICHD_TEST_DATA names it.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import process_time

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from ichd.domain.errors import NotAnalysable
from ichd.domain.note import Remark
from ichd.phantom.anatomy import draw_subject
from ichd.phantom.recipe import PhantomRecipe
from ichd.vision.quality import inspect, require_hounsfield
from ichd.vision.quality.extent import extent_of
from ichd.vision.quality.sections import sections_of
from ichd.vision.scan import HeadScan, SliceSource, load_scan
from tests.benchmarks.figures import Figure, arguments, print_figures
from tests.vision import spoiled

_FIRST_SEED, _HEADS, _QUICK_HEADS = 200, 24, 12
#: By name: the fault, and the remark that it must bring.
_FAULTS: dict[str, tuple[Callable[[HeadScan], HeadScan], Remark]] = {
    "jerk_2mm_in_a_slice": (lambda s: spoiled.moved_within(s, [14], (1.0, 1.7)), Remark.MOTION),
    "jerk_4mm_in_a_slice": (lambda s: spoiled.moved_within(s, [14], (1.5, 4.0)), Remark.MOTION),
    "step_3mm": (lambda s: spoiled.stepped(s, 16, round(3 / s.pixel_spacing_mm[1])), Remark.MOTION),
    "step_5mm": (lambda s: spoiled.stepped(s, 16, round(5 / s.pixel_spacing_mm[1])), Remark.MOTION),
    "metal": (lambda s: spoiled.with_metal(s, 13), Remark.METAL),
    "cut_10mm": (lambda s: spoiled.clipped(s, 10.0), Remark.FIELD_OF_VIEW_CLIPPED),
    "face_down": (spoiled.face_down, Remark.ORIENTATION_DOUBTFUL),
    "vertex_down": (spoiled.vertex_down, Remark.ORIENTATION_DOUBTFUL),
}
_WRONG_SCALES = ((1.0, 1024.0), (1.0, -1024.0), (2.0, 1024.0), (0.5, -512.0), (0.1, 100.0))


def main() -> None:
    options = arguments(__doc__ or "")
    seeds = range(_FIRST_SEED, _FIRST_SEED + (_QUICK_HEADS if options.quick else _HEADS))
    heads = [spoiled.any_head(seed) for seed in seeds]
    figures: dict[str, Figure] = {"heads": len(heads)}
    for remark in (Remark.MOTION, Remark.METAL, Remark.FIELD_OF_VIEW_CLIPPED, Remark.ORIENTATION_DOUBTFUL):
        figures[f"noted_clean_{remark}"] = sum(remark in remarks(scan) for scan in heads)
    figures["refused_clean"] = sum(inspect(s).refusal is not None or not in_hounsfield(s) for s in heads)
    for name, (spoil, remark) in _FAULTS.items():
        figures[f"found_{name}"] = sum(remark in remarks(spoil(scan)) for scan in heads)
    for mimic, remark in (("motion", Remark.MOTION), ("clip", Remark.METAL)):
        phantoms = [spoiled.head(seed, mimics=(mimic,)) for seed in seeds]
        figures[f"found_phantom_{mimic}"] = sum(remark in remarks(scan) for scan in phantoms)
    figures["refused_wrong_scale_share"] = float(
        np.mean([not in_hounsfield(spoiled.rescaled(scan, *scale)) for scan in heads for scale in _WRONG_SCALES])
    )
    figures["refused_ruined"] = sum(inspect(spoiled.ruined(scan)).refusal is not None for scan in heads)
    figures |= of_extent(dict(zip(seeds, heads, strict=True)))
    figures["look_36_slices_ms"] = milliseconds(heads[0])
    why = {}
    real = real_head()
    for name in ("noted", *(f"found_{fault}" for fault in _FAULTS)):
        if real is None:
            figures[f"real_{name}"], why[f"real_{name}"] = None, "ICHD_TEST_DATA is not set"
    if real is not None:
        figures["real_noted"] = len(inspect(real).notes)
        for name, (spoil, remark) in _FAULTS.items():
            figures[f"real_found_{name}"] = int(remark in remarks(spoil(real)))
    print_figures(figures, why, as_json=options.json)


def remarks(scan: HeadScan) -> set[Remark]:
    return {note.remark for note in inspect(scan).notes}


def in_hounsfield(scan: HeadScan) -> bool:
    try:
        require_hounsfield(scan)
    except NotAnalysable:
        return False
    return True


def of_extent(heads: dict[int, HeadScan]) -> dict[str, Figure]:
    """Error of what is said to be missing above 45 mm, and how many bases are missed from where on."""
    errors = []
    for seed, scan in heads.items():
        low = spoiled.between(scan, -200.0, 45.0)
        truth_mm = draw_subject(PhantomRecipe(seed=seed)).up - low.z_mm[-1]
        errors.append(extent_of(sections_of(low)).above_mm - truth_mm)
    figures: dict[str, Figure] = {
        "vertex_error_mean_mm": float(np.mean(errors)),
        "vertex_error_sd_mm": float(np.std(errors)),
    }
    for from_mm in (-50, -40, -30, -20):
        figures[f"found_base_missing_below_{-from_mm}mm"] = sum(
            Remark.BASE_MISSING in remarks(spoiled.between(scan, from_mm, 200.0)) for scan in heads.values()
        )
    return figures


def milliseconds(scan: HeadScan) -> float:
    """Median of seven looks at 36 slices of 512x512, of one core, whatever else runs."""
    slices = np.linspace(0, len(scan.z_mm) - 1, 36).round().astype(int)
    pixels = np.arange(512) * scan.hu_SHW.shape[1] // 512
    fine = replace(
        scan,
        hu_SHW=scan.hu_SHW[np.ix_(slices, pixels, pixels)],
        z_mm=tuple(np.linspace(scan.z_mm[0], scan.z_mm[-1], 36).tolist()),
        pixel_spacing_mm=(scan.pixel_spacing_mm[0] * scan.hu_SHW.shape[1] / 512,) * 2,
    )
    took = []
    for _ in range(7):
        started = process_time()
        require_hounsfield(fine)
        inspect(fine)
        took.append((process_time() - started) * 1e3)
    return float(np.median(took))


def real_head() -> HeadScan | None:
    """The real head on half its matrix, so that a jerk is reconstructed quickly."""
    folder = os.environ.get("ICHD_TEST_DATA")
    if folder is None:
        return None
    scan = load_scan([SliceSource(path=path) for path in (Path(folder) / "head-ct-ge").glob("*.dcm")])
    spacing = scan.pixel_spacing_mm
    return replace(scan, hu_SHW=scan.hu_SHW[:, ::2, ::2], pixel_spacing_mm=(2 * spacing[0], 2 * spacing[1]))


if __name__ == "__main__":
    main()
