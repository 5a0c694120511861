"""Where heat maps put bleeds that are known: Grad-CAM and its kin, in two stages of the network, on phantoms.

Every phantom has one bleed of the demonstration model's test distribution. Looked at are its three most suspicious
slices of that kind, where they show 20 mm2 of blood and the model gives one half or more. `hit`: the hottest pixel lies
within 12 mm of the blood; `mass`: share of the heat there; `ratio`: median of mean heat in the blood over mean heat
farther away; `auc`: how well heat tells pixels of blood from those farther away. `right kind`: of phantoms with two
kinds, how often the map of each is hottest nearer to its own.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from ichd.domain.finding import CLASSES
from ichd.phantom import BLEED_KINDS, Phantom, PhantomRecipe, render
from ichd.vision.attribution import Attribution
from ichd.vision.bundle import demo_bundle, load_bundle
from ichd.vision.preprocess import head_centre, normalise, resample_hu
from tests.benchmarks.figures import arguments

Mask = NDArray[np.bool_]

NEAR_MM = 12.0
VISIBLE_MM2 = 20.0
PAIRS = (("intraparenchymal", "subdural"), ("intraventricular", "epidural"), ("subarachnoid", "epidural"))


def grad_cam(cells_Khw: Tensor, gradient_Khw: Tensor) -> Tensor:
    """Selvaraju et al. 2017."""
    return torch.einsum("k,khw->hw", gradient_Khw.mean(dim=(1, 2)), cells_Khw).clamp(min=0)


def hires_cam(cells_Khw: Tensor, gradient_Khw: Tensor) -> Tensor:
    """Draelos and Carin 2020."""
    return (gradient_Khw * cells_Khw).sum(dim=0).clamp(min=0)


def layer_cam(cells_Khw: Tensor, gradient_Khw: Tensor) -> Tensor:
    """Jiang et al. 2021."""
    return (gradient_Khw.clamp(min=0) * cells_Khw).sum(dim=0).clamp(min=0)


def positive_grad_cam(cells_Khw: Tensor, gradient_Khw: Tensor) -> Tensor:
    """The weights of `ichd.vision.attribution`, without taking off what half of the cells have."""
    return torch.einsum("k,khw->hw", gradient_Khw.clamp(min=0).mean(dim=(1, 2)), cells_Khw)


def ours(cells_Khw: Tensor, gradient_Khw: Tensor) -> Tensor:
    """As in `ichd.vision.attribution`."""
    heat_hw = positive_grad_cam(cells_Khw, gradient_Khw)
    return (heat_hw - heat_hw.median()).clamp(min=0)


METHODS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Grad-CAM": grad_cam,
    "HiResCAM": hires_cam,
    "LayerCAM": layer_cam,
    "positive Grad-CAM": positive_grad_cam,
    "positive Grad-CAM above the median": ours,
}
STAGES = {"s4": 32, "s3": 16}


class Bench:
    """The demonstration model, and gradients in any of its stages."""

    def __init__(self) -> None:
        bundle = load_bundle(demo_bundle())
        self.spec = bundle.manifest.input
        self.network = bundle.network()
        self.attributions = {stage: Attribution(bundle, largest_cell=size) for stage, size in STAGES.items()}
        self.pixel_mm = (self.spec.field_of_view_mm or 0.0) / self.spec.image_size

    def look(self, phantom: Phantom, kind: str) -> Iterator[tuple[str, str, NDArray[np.float32], int]]:
        """Stage, method, heat on the model's grid [G, G] and slice, of the most suspicious slices of a kind."""
        windows, blood_SGG = self.seen(phantom, kind)
        with torch.no_grad():
            embeddings_SF = self.network.embed(windows)
            logits_S = self.network.classify(embeddings_SF)[:, CLASSES.index(kind)]
        for index in logits_S.argsort(descending=True)[:3].tolist():
            if blood_SGG[index].sum() * self.pixel_mm**2 < VISIBLE_MM2 or float(logits_S[index]) < 0:
                continue
            for stage, attribution in self.attributions.items():
                seen = attribution.look(windows[index : index + 1], index, [kind], embeddings_SF.numpy())
                for name, method in METHODS.items():
                    yield stage, name, self.enlarged(method(seen.cells_Khw, seen.gradients_Khw[0])), index

    def seen(self, phantom: Phantom, kind: str) -> tuple[Tensor, Mask]:
        """The network's input, and where it shows a kind of blood."""
        spacing_mm = (phantom.pixel_spacing_mm, phantom.pixel_spacing_mm)
        centre = head_centre(phantom.hu_SHW, spacing_mm)
        bit = np.uint8(BLEED_KINDS.index(kind))
        # Blood as if it were HU 0 in air: resampled as the image is.
        marked_SHW = np.where(phantom.label_SHW >> bit & 1, 0, -1024).astype(np.int16)
        marked_SGG = resample_hu(marked_SHW, spacing_mm, self.spec, centre=centre).numpy()
        hu_SGG = resample_hu(phantom.hu_SHW, spacing_mm, self.spec, centre=centre)
        return normalise(hu_SGG, self.spec), marked_SGG > -1024 * 0.7

    def enlarged(self, heat_hw: Tensor) -> NDArray[np.float32]:
        """Heat on the model's grid."""
        size = (self.spec.image_size, self.spec.image_size)
        large = torch.nn.functional.interpolate(heat_hw[None, None], size, mode="bilinear", align_corners=False)
        heat_GG: NDArray[np.float32] = large[0, 0].numpy()
        return heat_GG

    def away_mm(self, blood_GG: Mask) -> NDArray[np.float64]:
        """How far each pixel is from the blood."""
        distance_GG: NDArray[np.float64] = ndimage.distance_transform_edt(~blood_GG) * self.pixel_mm
        return distance_GG


def scores(heat_GG: NDArray[np.float32], blood_GG: Mask, away_mm: NDArray[np.float64]) -> tuple[float, ...]:
    """hit, mass, ratio, auc."""
    near = away_mm <= NEAR_MM
    outside = np.sort(heat_GG[~near])
    below = np.searchsorted(outside, heat_GG[blood_GG]) / len(outside)
    return (
        float(near.flat[heat_GG.argmax()]),
        float(heat_GG[near].sum() / max(heat_GG.sum(), 1e-9)),
        float(heat_GG[blood_GG].mean() / max(outside.mean(), 1e-9)),
        float(below.mean()),
    )


def measure(each_kind: int, each_pair: int) -> dict[str, dict[str, float]]:
    """Scores by stage and method."""
    bench = Bench()
    found: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for kind in BLEED_KINDS:
        for number in range(each_kind):
            phantom = phantom_of(910_000 + 100 * BLEED_KINDS.index(kind) + number, kind)
            blood_SGG = bench.seen(phantom, kind)[1]
            for stage, method, heat_GG, index in bench.look(phantom, kind):
                score = scores(heat_GG, blood_SGG[index], bench.away_mm(blood_SGG[index]))
                found[f"{stage} {method}"].append(score)
    kinds: dict[str, list[bool]] = defaultdict(list)
    for pair in PAIRS:
        for number in range(each_pair):
            phantom = phantom_of(930_000 + number, *pair)
            for kind, other in (pair, pair[::-1]):
                own_SGG, other_SGG = bench.seen(phantom, kind)[1], bench.seen(phantom, other)[1]
                for stage, method, heat_GG, index in bench.look(phantom, kind):
                    if other_SGG[index].sum() * bench.pixel_mm**2 >= VISIBLE_MM2:
                        hottest = int(heat_GG.argmax())
                        own, others = (bench.away_mm(blood[index]).flat[hottest] for blood in (own_SGG, other_SGG))
                        kinds[f"{stage} {method}"].append(bool(own <= others))
    table = {}
    for name, rows in found.items():
        hit, mass, ratio, auc = np.array(rows).T
        table[name] = {
            "slices": len(rows),
            "hit": round(float(hit.mean()), 3),
            "mass": round(float(mass.mean()), 3),
            "ratio": round(float(np.median(ratio)), 1),
            "auc": round(float(auc.mean()), 3),
            "right_kind": round(float(np.mean(kinds[name])), 3),
            "right_kind_slices": len(kinds[name]),
        }
    return table


def phantom_of(seed: int, *kinds: str) -> Phantom:
    """A phantom as the demonstration model is measured on, small enough to be drawn in seconds; two kinds are plainer,
    so that both are called.
    """
    if len(kinds) > 1:
        return render(PhantomRecipe(seed=seed, bleeds=kinds, slices=24, rows=192, voxel_mm=1.8, wild=0.2, subtlety=0.3))
    return render(PhantomRecipe(seed=seed, bleeds=kinds, slices=24, rows=256, voxel_mm=1.5, wild=0.2, subtlety=0.5))


def main() -> None:
    """Print the table of docs/heat-maps.md."""
    options = arguments(__doc__ or "")
    torch.set_num_threads(1)
    table = measure(1, 1) if options.quick else measure(7, 5)
    for name, row in sorted(table.items()):
        print(f"{name:<40}", "  ".join(f"{key} {value}" for key, value in row.items()))
    if options.json:
        print(json.dumps(table))


if __name__ == "__main__":
    main()
