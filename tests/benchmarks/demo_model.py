"""The shipped demonstration model: figures on held-out phantoms, and its scores on the real images at hand.

The held-out phantoms are rendered anew, from the recipe's test seeds, so that the figures in the manifest can be
checked on any machine. The real head CT is used where ICHD_TEST_DATA names it.
"""

import importlib.util
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from lightning_fabric import Fabric

from ichd.vision.bundle import demo_bundle, load_bundle
from tests.benchmarks.figures import Figure, arguments, print_figures
from training.evaluation.phantoms import measure, score_files
from training.lessons.source import PhantomSource
from training.reading import read
from training.recipe import load_recipe
from training.synthetic import generate, load_split

_QUICK_SCANS = 24


def main() -> None:
    options = arguments(__doc__ or "")
    torch.set_num_threads(2)
    bundle = load_bundle(demo_bundle())
    recipe = load_recipe(
        "phantom-demo",
        {"data.train_volumes": 1, "data.calibration_volumes": 2}
        | ({"data.test_volumes": _QUICK_SCANS} if options.quick else {}),
    )
    with tempfile.TemporaryDirectory() as scratch:
        generate(recipe, Path(scratch))
        source = PhantomSource(load_split(Path(scratch), "test", recipe.phantoms), recipe)
        fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
        readings = read(bundle.network(), source, recipe, fabric)
    measured = measure(readings, bundle.manifest.calibration, bundle.manifest.thresholds)

    figures: dict[str, Figure] = {
        "phantoms": measured["scans"],
        "bundle_mb": round(sum(file.stat().st_size for file in bundle.folder.iterdir()) / 1e6, 2),
    }
    why: dict[str, str] = {}
    for level in ("slice", "scan"):
        for name, value in measured[f"auc_{level}"].items():
            figures[f"auc_{level}_{name}"] = value
            if value is None:
                why[f"auc_{level}_{name}"] = "too few phantoms have it in a quick run"
    for name, value in measured["any_scan_calls"].items():
        figures[f"scan_{name}"] = value
    for name, files, missing in (
        ("real_bleed_free", _real_head_ct(), "ICHD_TEST_DATA is not set"),
        ("real_subdural", _pydicom("693_UNCR.dcm"), "pydicom-data is not installed"),
        ("real_subdural_destroyed", _pydicom("693_UNCI.dcm"), "pydicom-data is not installed"),
    ):
        scores = score_files(bundle, files)["scan"] if files else {}
        for kind in ("any", "subdural"):
            figures[f"{name}_{kind}"] = scores.get(kind)
            if not files:
                why[f"{name}_{kind}"] = missing
    print_figures(figures, why, as_json=options.json)


def _real_head_ct() -> list[Path]:
    root = os.environ.get("ICHD_TEST_DATA")
    return sorted((Path(root) / "head-ct-ge").glob("*.dcm")) if root else []


def _pydicom(name: str) -> list[Path]:
    installed = importlib.util.find_spec("data_store")
    if installed is None or not installed.submodule_search_locations:
        return []
    return [Path(installed.submodule_search_locations[0]) / "data" / name]


if __name__ == "__main__":
    main()
