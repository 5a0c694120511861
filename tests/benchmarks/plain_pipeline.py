"""The data path as most people would write it: a file a slice, everything on the CPU, a DataLoader with workers.

PNGs hold the three windows as one colour image, made beforehand; DICOM files are read by pydicom and windowed anew.
Augmentation is the paper's, by OpenCV, drawn per slice: random resized crop, a flip, one of affine, grid distortion,
optical distortion and none, one of two noises, one of two blurs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ichd.vision.window import PAPER_WINDOWS, apply_window

MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)

Image = NDArray[np.uint8]
#: OpenCV's stubs know no dtypes.
_cv2: Any = cv2


def windows_of(hu_HW: NDArray[np.int16]) -> Image:
    """Three windows as one colour image, uint8 [H, W, 3]."""
    return np.stack([(apply_window(hu_HW, window) * 255).astype(np.uint8) for window in PAPER_WINDOWS], axis=-1)


def read_image(path: Path) -> Image:
    """One slice, uint8 [H, W, 3], of a PNG or a DICOM file."""
    if path.suffix == ".png":
        return np.asarray(_cv2.cvtColor(_cv2.imread(str(path)), _cv2.COLOR_BGR2RGB), dtype=np.uint8)
    dataset = pydicom.dcmread(path)
    hu_HW = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    return windows_of(hu_HW.astype(np.int16))


class PlainWindows(Dataset[Tensor]):
    """Windows of consecutive slices of random studies, float32 [S, 3, H, W], ready for the network."""

    def __init__(
        self, studies: Sequence[Sequence[Path]], *, slices: int, windows: int, augment: bool, seed: int
    ) -> None:
        self.studies, self.slices, self.windows, self.augment, self.seed = studies, slices, windows, augment, seed

    def __len__(self) -> int:
        return self.windows

    def __getitem__(self, index: int) -> Tensor:
        # A worker has one core; OpenCV's own threads would fight over it.
        _cv2.setNumThreads(0)
        rng = np.random.default_rng((self.seed, index))
        files = self.studies[int(rng.integers(len(self.studies)))]
        start = int(rng.integers(len(files) - self.slices + 1))
        images = (read_image(path) for path in files[start : start + self.slices])
        return torch.stack([_to_tensor(augmented(image, rng) if self.augment else image) for image in images])


def augmented(image: Image, rng: np.random.Generator) -> Image:
    """One draw of the paper's augmentation."""
    image = _resized_crop(image, rng)
    if rng.random() < 0.5:
        image = _cv2.flip(image, int(rng.integers(2)))
    image = _warped(image, rng)
    image = _noisy(image, rng)
    return np.asarray(_cv2.GaussianBlur(image, (3, 3), 0) if rng.random() < 0.5 else _cv2.blur(image, (3, 3)))


def _to_tensor(image: Image) -> Tensor:
    return torch.from_numpy(((image.astype(np.float32) / 255 - MEAN) / STD).transpose(2, 0, 1).copy())


def _resized_crop(image: Image, rng: np.random.Generator) -> Image:
    rows, columns = image.shape[:2]
    share = float(np.sqrt(rng.uniform(0.8, 1.0)))
    high, wide = int(rows * share), int(columns * share)
    top, left = int(rng.integers(rows - high + 1)), int(rng.integers(columns - wide + 1))
    return np.asarray(_cv2.resize(image[top : top + high, left : left + wide], (columns, rows)), dtype=np.uint8)


def _warped(image: Image, rng: np.random.Generator) -> Image:
    rows, columns = image.shape[:2]
    kind = int(rng.integers(4))
    if kind == 0:
        turn = _cv2.getRotationMatrix2D((columns / 2, rows / 2), rng.uniform(-30, 30), rng.uniform(0.9, 1.1))
        turn[:, 2] += rng.uniform(-0.0625, 0.0625, 2) * (columns, rows)
        return np.asarray(_cv2.warpAffine(image, turn, (columns, rows)), dtype=np.uint8)
    if kind == 3:
        return image
    row, column = np.meshgrid(np.arange(rows, dtype=np.float32), np.arange(columns, dtype=np.float32), indexing="ij")
    if kind == 1:
        row, column = _stretched(row, rng), _stretched(column, rng)
    else:
        y, x = row / rows - 0.5, column / columns - 0.5
        bend = 1 + np.float32(rng.uniform(-0.2, 0.2)) * (x * x + y * y)
        row, column = (y * bend + 0.5) * rows, (x * bend + 0.5) * columns
    return np.asarray(_cv2.remap(image, column, row, _cv2.INTER_LINEAR), dtype=np.uint8)


def _stretched(axis: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Five cells along an axis, each longer or shorter by a fifth at most."""
    size = float(axis.max()) + 1
    edges = np.concatenate([[0.0], np.cumsum(1 + rng.uniform(-0.2, 0.2, 5))])
    moved: NDArray[np.float32] = np.interp(axis, np.linspace(0, size, 6), edges / edges[-1] * size).astype(np.float32)
    return moved


def _noisy(image: Image, rng: np.random.Generator) -> Image:
    shape = image.shape if rng.random() < 0.5 else (*image.shape[:2], 1)
    noise = rng.standard_normal(shape, dtype=np.float32) * np.float32(rng.uniform(3, 7))
    return np.clip(image + noise, 0, 255).astype(np.uint8)
