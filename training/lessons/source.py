"""Where windows come from: packed studies, or phantoms that know where their blood is.

Shapes as in `training.lessons.batch`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ichd.domain.finding import CLASSES
from ichd.vision.manifest import InputSpec
from ichd.vision.preprocess import AIR_HU
from training.lessons.batch import Batch
from training.lessons.course import MicroBatch, window_of
from training.lessons.lesson import Lesson
from training.packed.study import UNKNOWN, PackedStudy
from training.recipe import Recipe, WideAugmentation
from training.synthetic import LabelledScan

#: Of a bleeding phantom this share of the windows is centred on blood, the rest anywhere: rare kinds must be learnt.
_ON_BLOOD_SHARE = 0.6


@dataclass(frozen=True, kw_only=True)
class Window:
    """Some slices of one study; the fields are those of `Batch` without its first axis."""

    name: str
    hu_SHW: NDArray[np.int16]
    spacing_mm: tuple[float, float]
    centre: tuple[float, float]
    gap_mm: NDArray[np.float32]
    target_SC: NDArray[np.float32]
    weight_SC: NDArray[np.float32]
    somewhere_C: NDArray[np.float32]
    label_Sgg: Tensor | None = None


class Source(Protocol):
    """Studies to learn from or to be measured on."""

    def __len__(self) -> int:
        """How many."""

    def batch(self, micro: MicroBatch) -> Batch | Lesson:
        """The windows of a micro-batch, the same for the same micro-batch in any process."""

    def scan(self, index: int) -> Batch | Lesson:
        """All slices of one study, as a batch of one window."""


class PackedSource:
    """Windows of packed studies, as the published recipe takes them: a random centre, clipped to the scan."""

    def __init__(self, studies: Sequence[PackedStudy]) -> None:
        self.studies = studies

    def __len__(self) -> int:
        return len(self.studies)

    def batch(self, micro: MicroBatch) -> Batch:
        """As in `Source`."""
        rng = np.random.default_rng(micro.seed)
        return collate([self._window(self.studies[index], micro.slices, rng) for index in micro.studies])

    def scan(self, index: int) -> Batch:
        """As in `Source`."""
        study = self.studies[index]
        return collate([_packed_window(study, range(len(study)))])

    @staticmethod
    def _window(study: PackedStudy, slices: int, rng: np.random.Generator) -> Window:
        return _packed_window(study, window_of(len(study), slices, centre=float(rng.integers(len(study)))))


class PhantomSource:
    """Windows of phantoms, more of them where there is blood, with steps that stretch and thin them out."""

    def __init__(self, scans: Sequence[LabelledScan], recipe: Recipe) -> None:
        self.scans = scans
        self._input, self._faint_weight = recipe.input, recipe.loss.faint_weight
        wide = recipe.augmentation
        self._steps = wide.slice_steps if isinstance(wide, WideAugmentation) else (1.0,)

    def __len__(self) -> int:
        return len(self.scans)

    def batch(self, micro: MicroBatch) -> Batch:
        """As in `Source`."""
        rng = np.random.default_rng(micro.seed)
        return collate([self._drawn(index, micro.slices, rng) for index in micro.studies])

    def scan(self, index: int) -> Batch:
        """As in `Source`."""
        return collate([self._window(index, list(range(len(self.scans[index]))))])

    def _drawn(self, index: int, slices: int, rng: np.random.Generator) -> Window:
        scan = self.scans[index]
        on_blood = torch.nonzero(scan.presence_SC[:, 0]).flatten().numpy()
        anywhere = len(on_blood) == 0 or rng.random() >= _ON_BLOOD_SHARE
        centre = rng.uniform(0, len(scan) - 1) if anywhere else float(rng.choice(on_blood))
        return self._window(index, window_of(len(scan), slices, centre=centre, step=float(rng.choice(self._steps))))

    def _window(self, index: int, slices: list[int]) -> Window:
        scan, chosen = self.scans[index], torch.tensor(slices)
        faint = scan.faint_SC[chosen].numpy()
        return Window(
            name=f"{scan.path.stem} ({slices[0]}-{slices[-1]})",
            hu_SHW=scan.hu(slices).numpy(),
            spacing_mm=_grid_spacing(self._input),
            centre=((self._input.image_size - 1) / 2,) * 2,
            gap_mm=np.zeros(len(slices), dtype=np.float32),
            target_SC=scan.presence_SC[chosen].float().numpy(),
            weight_SC=np.where(faint, np.float32(self._faint_weight), np.float32(1)),
            somewhere_C=np.zeros(len(CLASSES), dtype=np.float32),
            label_Sgg=scan.label(slices),
        )


def collate(windows: Sequence[Window]) -> Batch:
    """Windows side by side; shorter ones and smaller images are filled up with air that counts for nothing."""
    count, longest = len(windows), max(len(w.hu_SHW) for w in windows)
    rows, columns = (max(w.hu_SHW.shape[axis] for w in windows) for axis in (1, 2))
    sizes = [(*w.hu_SHW.shape[1:],) for w in windows]
    full = all(w.hu_SHW.shape == (longest, rows, columns) for w in windows)
    make = torch.empty if full else torch.zeros
    hu = make((count, longest, rows, columns), dtype=torch.int16)
    if not full:
        hu.fill_(int(AIR_HU))
    gap, target, weight = (torch.zeros(count, longest, *more) for more in ((), (len(CLASSES),), (len(CLASSES),)))
    for place, window in enumerate(windows):
        slices, height, width = window.hu_SHW.shape
        hu[place, :slices, :height, :width] = torch.from_numpy(window.hu_SHW)
        gap[place, :slices] = torch.from_numpy(window.gap_mm)
        target[place, :slices] = torch.from_numpy(window.target_SC)
        weight[place, :slices] = torch.from_numpy(window.weight_SC)
    return Batch(
        hu_VSHW=hu,
        size_V2=torch.tensor(sizes),
        spacing_V2=torch.tensor([w.spacing_mm for w in windows]),
        centre_V2=torch.tensor([w.centre for w in windows], dtype=torch.float32),
        lengths_V=torch.tensor([len(w.hu_SHW) for w in windows]),
        gap_VS=gap,
        target_VSC=target,
        weight_VSC=weight,
        somewhere_VC=torch.from_numpy(np.stack([w.somewhere_C for w in windows])),
        label_VSgg=_labels(windows, longest),
        names=tuple(w.name for w in windows),
    )


def _labels(windows: Sequence[Window], longest: int) -> Tensor | None:
    labels = [w.label_Sgg for w in windows if w.label_Sgg is not None]
    if len(labels) < len(windows):
        return None
    padded = torch.zeros(len(labels), longest, *labels[0].shape[1:], dtype=torch.uint8)
    for place, label in enumerate(labels):
        padded[place, : len(label)] = label
    return padded


def _packed_window(study: PackedStudy, slices: Sequence[int]) -> Window:
    chosen = list(slices)
    labels = study.labels_SC[chosen]
    return Window(
        name=f"{study.study_id} ({chosen[0]}-{chosen[-1]})",
        hu_SHW=study.hu(chosen),
        spacing_mm=study.pixel_spacing_mm,
        centre=study.head_centre,
        gap_mm=gaps(study.z_mm)[chosen],
        target_SC=(labels == 1).astype(np.float32),
        weight_SC=(labels != UNKNOWN).astype(np.float32),
        somewhere_C=_somewhere(study, whole=len(chosen) == len(study)),
    )


def _somewhere(study: PackedStudy, *, whole: bool) -> NDArray[np.float32]:
    """Of a study that was labelled as a whole, a window says what is in it only if it is the whole."""
    unnamed_C = (study.study_labels_C == 1) & (study.labels_SC == UNKNOWN).all(axis=0)
    return np.asarray(unnamed_C & whole, dtype=np.float32)


def gaps(z_mm: Sequence[float]) -> NDArray[np.float32]:
    """Distance of each slice to the one below, mm, [S]; 0 for the first."""
    return np.asarray(np.diff(np.asarray(z_mm), prepend=z_mm[0]), dtype=np.float32)


def _grid_spacing(spec: InputSpec) -> tuple[float, float]:
    """Phantoms lie on the model's grid already: what it is cut to fills it."""
    side_mm = spec.field_of_view_mm or float(spec.image_size)
    return (side_mm / spec.image_size,) * 2
