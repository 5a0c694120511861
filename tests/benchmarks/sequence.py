"""Does the sequence model pay? The same CNN with the LSTM and without it, on blood that one slice does not show.

Phantoms of `training.layouts.ambiguous`: a bright spot that goes on in the neighbouring slices is blood, one that does
not is calcium. Both networks start from the backbone of the demonstration model, which knows what blood looks like.
Everything is the product's own: `ichd data synthesise`, `index`, `pack`, `ichd train` of the recipes resnet50 and
resnet50-2d with a small backbone, and the measures of `ichd eval` on patients held out.

    python tests/benchmarks/sequence.py [--quick] [--json] [--work DIR]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch

from ichd.domain.finding import CLASSES
from ichd.vision.bundle import demo_bundle, load_bundle
from ichd.vision.engines.eager import EagerEngine
from ichd.vision.starting_point import StartingPoint, save_starting_point
from training.measures.basic import auc, weighted_log_loss
from training.packed.dataset import open_packed
from training.packed.reading import read_studies
from training.run import train

RECIPES = {"CNN-LSTM": "resnet50", "CNN": "resnet50-2d"}
#: What makes the published recipes small enough for two cores; equal for both.
SMALL: dict[str, Any] = {
    "network.backbone": "regnetx_002",
    "network.global_pool": "catavgmax",
    "input.image_size": 64,
    "data.processes": 1,
    # Flips alone: a cut or a blurred spot would blur what is asked.
    "augmentation": {
        "kind": "paper", "crop_share": 0.0, "warp_share": 0.0, "noise_share": 0.0, "blur_share": 0.0,
        "cutmix_alpha": 0.0,
    },
    "optimisation.epsilon": 1e-8,
    "optimisation.accumulate": 1,
    "optimisation.precision": "32-true",
    "optimisation.threads": 1,
}  # fmt: skip
LSTM = {"network.recurrent": {"layers": 1, "hidden": 64}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, few studies, two epochs: that it runs")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--work", type=Path, help="folder to keep, with data and runs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        rows = measure(work, quick=arguments.quick)
    show(rows)
    if arguments.json:
        print(json.dumps({"runs": rows, "median": medians(rows)}))


def measure(work: Path, *, quick: bool) -> list[dict[str, Any]]:
    """A row a run: sort, seed, and what it is worth on the test split."""
    packed = data(work, studies=16 if quick else 320)
    start = starting_point(work)
    rows = []
    for seed in range(1 if quick else 3):
        for name, recipe in RECIPES.items():
            changes = SMALL | (LSTM if name == "CNN-LSTM" else {}) | {"seed": seed, "init": str(start)}
            changes |= {"optimisation.epochs": 2 if quick else 15, "optimisation.warmup": 1 if quick else 2}
            out = work / "runs" / f"{name}-{seed}"
            result = train(recipe, out, overrides=changes, data=packed, device="cpu")
            rows.append({"network": name, "seed": seed, "minutes": round(result.minutes, 1)} | scores(out, packed))
            print(rows[-1], file=sys.stderr)
    return rows


def data(work: Path, *, studies: int) -> Path:
    """The packed phantoms; made once where the folder is kept."""
    raw, index, packed = work / "raw", work / "index.parquet", work / "packed"
    slices = ("--slices", "16", "22", "--processes", "2")
    if not raw.exists():
        ichd("data", "synthesise", raw, "--ambiguous", "--no-faults", "--studies", studies, "--rows", 64, *slices)
    if not packed.exists():
        ichd("data", "index", "--rsna", raw, "--out", index, "--valid", "0.1", "--test", "0.3")
        ichd("data", "pack", index, "--out", packed)
    return packed


def starting_point(work: Path) -> Path:
    """The backbone of the demonstration model, by itself."""
    bundle = load_bundle(demo_bundle())
    own = "backbone."
    weights = {key.removeprefix(own): value for key, value in bundle.state_dict.items() if key.startswith(own)}
    backbone, sha256 = bundle.manifest.network.backbone, bundle.identity.weights_sha256
    path = work / "start.safetensors"
    save_starting_point(path, StartingPoint(backbone=backbone, state_dict=weights, source_sha256=sha256))
    return path


def ichd(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "ichd", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def scores(out: Path, packed: Path) -> dict[str, float | None]:
    """Of the bundle, on slices and scans of patients that it has not learnt from."""
    torch.set_num_threads(1)
    engine = EagerEngine(load_bundle(out / "bundle"), device="cpu")
    scans = list(read_studies(engine, open_packed(packed).split("test")))
    p, y = np.concatenate([scan.p_SC for scan in scans]), np.concatenate([scan.truth_SC for scan in scans]) == 1
    p_scan, y_scan = np.stack([scan.p_C for scan in scans]), np.stack([scan.truth_C for scan in scans]) == 1
    column = CLASSES.index("any")
    return {
        "scans": len(scans),
        "auc_slice": auc(p[:, column], y[:, column]),
        "auc_scan": auc(p_scan[:, column], y_scan[:, column]),
        "weighted_log_loss": weighted_log_loss(p, y),
    }


def medians(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    keys = ("auc_slice", "auc_scan", "weighted_log_loss")
    return {
        name: {key: float(np.median([row[key] for row in rows if row["network"] == name])) for key in keys}
        for name in RECIPES
    }


def show(rows: list[dict[str, Any]]) -> None:
    print(f"{'network':10} {'seed':>4} {'scans':>5} {'AUC slice':>9} {'AUC scan':>8} {'log loss':>8} {'minutes':>7}")
    for row in rows:
        slices, scans = ("-" if row[key] is None else f"{row[key]:.4f}" for key in ("auc_slice", "auc_scan"))
        start = f"{row['network']:10} {row['seed']:>4} {row['scans']:>5} {slices:>9} {scans:>8}"
        print(f"{start} {row['weighted_log_loss']:>8.4f} {row['minutes']:>7}")


if __name__ == "__main__":
    main()
