"""A HeadScan of images that a test makes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ichd.domain.errors import NotAnalysable
from ichd.domain.note import Remark
from ichd.vision.scan import HeadScan

from .images import Image, load_files


def remarks(scan: HeadScan) -> list[Remark]:
    return [note.remark for note in scan.notes]


def load(folder: Path, *images: Image) -> HeadScan:
    return load_files([image.write(folder / f"{index:03}.dcm") for index, image in enumerate(images)])


def refusal(folder: Path, *images: Image) -> NotAnalysable:
    with pytest.raises(NotAnalysable) as caught:
        load(folder, *images)
    return caught.value


def stored(*values: int, dtype: type = np.int16) -> Any:
    pixels: Any = np.zeros((16, 16), dtype=dtype)
    pixels[0, : len(values)] = values
    return pixels
