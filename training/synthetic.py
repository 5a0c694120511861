"""Phantoms as training data: drawn from a recipe, brought onto the model's grid, kept on disk, mapped into memory.

Shapes: S slices of a scan, G the model's grid, g = G // 2, K the five kinds of bleed, C = 6 classes (any first).
"""

import hashlib
import importlib.resources
import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from ichd.domain.errors import UserError
from ichd.phantom import BLEED_KINDS, MIMIC_KINDS, PhantomRecipe, render
from ichd.vision.manifest import InputSpec
from ichd.vision.preprocess import AIR_HU, head_centre, resample_hu
from training.recipe import Phantoms, Recipe

Split = Literal["train", "calibration", "test"]
SPLITS: tuple[Split, ...] = ("train", "calibration", "test")

#: How often each kind is drawn. Epidural bleeds are rarer in clinics than here: rare kinds must be learnt as well.
_KIND_SHARES = {
    "intraparenchymal": 0.24, "intraventricular": 0.14, "subarachnoid": 0.24, "subdural": 0.26, "epidural": 0.12,
}  # fmt: skip
#: Share of a grid cell that blood must fill for the cell to be marked.
_MARKED_FROM = 0.3
_ORIGIN = "origin.json"


@dataclass(frozen=True, kw_only=True)
class LabelledScan:
    """One phantom on the model's grid; arrays are read when they are asked for."""

    path: Path
    #: bool [S, C].
    presence_SC: Tensor
    #: Blood too little to be called: present in the label volume, absent in `presence_SC`. bool [S, C].
    faint_SC: Tensor

    def __len__(self) -> int:
        return len(self.presence_SC)

    def hu(self, slices: Sequence[int] | None = None) -> Tensor:
        """HU, int16 [S, G, G], of all or the named slices (which may repeat)."""
        return self._read("hu", slices)

    def label(self, slices: Sequence[int] | None = None) -> Tensor:
        """Where the blood is, uint8 [S, g, g]; bit k is `BLEED_KINDS[k]`."""
        return self._read("label", slices)

    def _read(self, name: str, slices: Sequence[int] | None) -> Tensor:
        with safe_open(str(self.path), framework="pt") as file:
            if slices is None:
                whole: Tensor = file.get_tensor(name)
                return whole
            low, high = min(slices), max(slices) + 1
            part: Tensor = file.get_slice(name)[low:high]
        return part[torch.tensor(slices) - low]


def draw_phantom(data: Phantoms, *, seed: int, split: Split, index: int) -> PhantomRecipe:
    """The phantom of a place in a split; no two places share one."""
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    bleeds: tuple[str, ...] = ()
    if rng.random() >= data.bleed_free_share:
        several = 1 if rng.random() >= data.combined_share else int(rng.integers(2, 4))
        shares = list(_KIND_SHARES.values())
        bleeds = tuple(str(kind) for kind in rng.choice(list(_KIND_SHARES), size=several, replace=False, p=shares))
    mimics = tuple(kind for kind in MIMIC_KINDS if rng.random() < data.mimic_share)
    thin = rng.random() < data.thin_share
    return PhantomRecipe(
        seed=int(rng.integers(2**31)),
        bleeds=bleeds,
        mimics=mimics,
        slices=int(rng.integers(data.slices[0], data.slices[1] + 1)),
        rows=data.rows,
        voxel_mm=data.voxel_mm,
        wild=float(rng.uniform(*data.wild)),
        thickness_mm=round(float(rng.uniform(*data.thin_mm)), 2) if thin else None,
        subtlety=float(rng.uniform(*data.subtlety)),
    )


def render_on_grid(phantom: PhantomRecipe, spec: InputSpec) -> dict[str, Tensor]:
    """The phantom as the network will see it: `hu`, `label`, `presence`, `faint` of `LabelledScan`."""
    drawn = render(phantom)
    spacing = (drawn.pixel_spacing_mm, drawn.pixel_spacing_mm)
    # Padding is darker than air; a scan that is read from files has it clipped as well.
    padded_as_air = np.maximum(drawn.hu_SHW, np.int16(AIR_HU))
    centre = head_centre(padded_as_air, spacing)
    hu = resample_hu(padded_as_air, spacing, spec, centre=centre)
    label = torch.zeros(len(hu), spec.image_size // 2, spec.image_size // 2, dtype=torch.uint8)
    traces = np.zeros(drawn.presence_SC.shape, dtype=np.bool_)
    for k, _ in enumerate(BLEED_KINDS):
        marked = (drawn.label_SHW >> np.uint8(k)) & np.uint8(1)
        if not marked.any():
            continue
        traces[:, 1 + k] = marked.any(axis=(1, 2))
        # Outside the image resampling finds air: as a share of blood that is none.
        share = resample_hu(marked.astype(np.float32) + AIR_HU, spacing, spec, centre=centre) - AIR_HU
        label |= (functional.max_pool2d(share, 2) > _MARKED_FROM).to(torch.uint8) << k
    traces[:, 0] = traces.any(axis=1)
    return {
        "hu": hu.round().clamp(AIR_HU, 32767).to(torch.int16),
        "label": label,
        "presence": torch.from_numpy(drawn.presence_SC.copy()),
        "faint": torch.from_numpy(traces & ~drawn.presence_SC),
    }


def load_split(folder: Path, split: Split, data: Phantoms) -> tuple[LabelledScan, ...]:
    """The scans of a split that `generate` has finished, in order; no more of a shared folder than `data` asks for."""
    return tuple(_open(_path(folder, split, index)) for each, index in _places(data) if each == split)


def generate(
    recipe: Recipe, folder: Path, *, on_progress: Callable[[int, int], None] = lambda _done, _all: None
) -> None:
    """Render every phantom of the recipe into `folder`; those that are there already are kept.

    Raises:
        UserError: `folder` holds phantoms of another recipe or of another version of the phantom.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _check_origin(recipe, folder)
    places = list(_places(recipe.phantoms))
    missing = [(split, index) for split, index in places if not _path(folder, split, index).is_file()]
    done = len(places) - len(missing)
    on_progress(done, len(places))
    if not missing:
        return
    for split in SPLITS:
        (folder / split).mkdir(exist_ok=True)
    if recipe.phantoms.processes == 1:
        for split, index in missing:
            _render_to_file(recipe, folder, split, index)
            done += 1
            on_progress(done, len(places))
        return
    # Spawned, not forked: torch's threads don't survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(recipe.phantoms.processes, mp_context=context, initializer=_one_thread) as pool:
        waiting = [pool.submit(_render_to_file, recipe, folder, split, index) for split, index in missing]
        try:
            for future in as_completed(waiting):
                future.result()
                done += 1
                on_progress(done, len(places))
        finally:
            pool.shutdown(cancel_futures=True)


def phantom_digest() -> str:
    """sha256 of the phantom's source: phantoms of another version are other data."""
    digest = hashlib.sha256()
    modules = importlib.resources.files("ichd.phantom").iterdir()
    for module in sorted((m for m in modules if m.name.endswith(".py")), key=lambda m: m.name):
        digest.update(module.name.encode() + b"\0" + module.read_bytes())
    return digest.hexdigest()


def _places(data: Phantoms) -> Iterator[tuple[Split, int]]:
    yield from (("calibration", index) for index in range(data.calibration_volumes))
    yield from (("train", index) for index in range(data.train_volumes))
    yield from (("test", index) for index in range(data.test_volumes))


def _path(folder: Path, split: Split, index: int) -> Path:
    return folder / split / f"{index:06d}.safetensors"


def _render_to_file(recipe: Recipe, folder: Path, split: Split, index: int) -> None:
    phantom = draw_phantom(recipe.phantoms, seed=recipe.seed, split=split, index=index)
    path = _path(folder, split, index)
    partial = path.with_suffix(".partial")
    with _one_torch_thread():
        on_grid = render_on_grid(phantom, recipe.input)
    save_file(on_grid, partial)
    partial.replace(path)


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """As `render` sees to for itself: products that several threads share are rounded otherwise than those of one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _open(path: Path) -> LabelledScan:
    with safe_open(str(path), framework="pt") as file:
        return LabelledScan(path=path, presence_SC=file.get_tensor("presence"), faint_SC=file.get_tensor("faint"))


def _check_origin(recipe: Recipe, folder: Path) -> None:
    """What decides the phantoms' bytes, written beside them once; their number and the workers' are free to change."""
    drawn_from = recipe.phantoms.model_dump(
        mode="json", exclude={"train_volumes", "calibration_volumes", "test_volumes", "processes"}
    )
    grid = {"image_size": recipe.input.image_size, "field_of_view_mm": recipe.input.field_of_view_mm}
    origin = {"seed": recipe.seed, "data": drawn_from, "grid": grid, "phantom_sha256": phantom_digest()}
    path = folder / _ORIGIN
    if path.is_file():
        if json.loads(path.read_text(encoding="utf-8")) != origin:
            raise UserError(f"{folder} holds phantoms of another recipe or version; remove it or name another folder")
        return
    path.write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")


def _one_thread() -> None:
    """A process a core: threads of torch that contend for it would make each phantom several times slower."""
    torch.set_num_threads(1)
