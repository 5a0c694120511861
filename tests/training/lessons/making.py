"""Lessons, batches and packed studies made by hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.lessons.lesson import Lesson
from training.packed.study import PackedStudy


def lesson(
    target_VSC: Tensor,
    *,
    weight: Tensor | None = None,
    lengths: Sequence[int] | None = None,
    mixed_with: Tensor | None = None,
    own_share: float = 1.0,
) -> Lesson:
    windows, slices = target_VSC.shape[:2]
    return Lesson(
        x_NCGG=torch.zeros(windows * slices, 3, 8, 8),
        lengths_V=torch.tensor(lengths or [slices] * windows),
        gap_VS=torch.zeros(windows, slices),
        target_VSC=target_VSC,
        weight_VSC=torch.ones_like(target_VSC) if weight is None else weight,
        somewhere_VC=torch.zeros(windows, target_VSC.shape[2]),
        mixed_with_N=mixed_with,
        own_share=own_share,
    )


@dataclass(frozen=True, kw_only=True)
class StudyInMemory(PackedStudy):
    """A study whose HU need no disk."""

    values_SHW: NDArray[np.int16]

    def hu(self, slices: Sequence[int] | None = None) -> NDArray[np.int16]:
        return self.values_SHW if slices is None else self.values_SHW[list(slices)]


def study(
    labels_SC: NDArray[np.int8],
    *,
    name: str = "ID_a",
    rows: int = 48,
    columns: int = 48,
    z_mm: Sequence[float] | None = None,
    study_labels_C: NDArray[np.int8] | None = None,
) -> StudyInMemory:
    slices = len(labels_SC)
    values = np.arange(slices, dtype=np.int16)[:, None, None] + np.zeros((rows, columns), dtype=np.int16)
    return StudyInMemory(
        study_id=name,
        patient_id=f"patient of {name}",
        split="train",
        path=Path(name),
        sha256="",
        image_ids=tuple((f"{name}.{index}",) for index in range(slices)),
        z_mm=tuple(5.0 * index for index in range(slices)) if z_mm is None else tuple(z_mm),
        rows=rows,
        columns=columns,
        pixel_spacing_mm=(0.5, 0.5),
        head_centre=((rows - 1) / 2, (columns - 1) / 2),
        labels_SC=labels_SC,
        study_labels_C=labels_SC.max(axis=0) if study_labels_C is None else study_labels_C,
        label_level="slice" if study_labels_C is None else "study",
        values_SHW=values,
    )
