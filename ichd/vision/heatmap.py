"""A heat map spread over the pixels of its image, in numpy only, so that pages can draw it."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ichd.domain.heatmap import HOTTEST, HeatMap


def spread(heat: HeatMap, rows: int, columns: int, *, drawn: tuple[int, int] | None = None) -> NDArray[np.float32]:
    """Heat of every pixel [rows, columns] of the stored image, 0 to 1, smooth between the centres of cells.

    With `drawn`, of a picture of the whole image that has so many rows and columns.

    1 is the hottest spot of this image, 0 all that is no hotter than half of the cells, and what the network did not
    see. The curve between cells is the cubic B-spline: it never leaves the range of the cells and has no corners, which
    would look like findings.
    """
    cells_hw = np.array([np.frombuffer(row, dtype=np.uint8) for row in heat.cells], dtype=np.float32) / HOTTEST
    shape = drawn or (rows, columns)
    down, top = _on_picture(heat.cell_pitch[0], heat.first_cell[0], shape[0] / rows)
    along, left = _on_picture(heat.cell_pitch[1], heat.first_cell[1], shape[1] / columns)
    smooth: NDArray[np.float32] = ndimage.affine_transform(
        cells_hw,
        np.array([1 / down, 1 / along]),
        offset=(-top / down, -left / along),
        output_shape=shape,
        output=np.float32,
        order=3,
        prefilter=False,
        mode="nearest",
    )
    seen_rows = np.abs(_cell_numbers(shape[0], top, down) - (len(heat.cells) - 1) / 2) <= len(heat.cells) / 2
    seen_columns = np.abs(_cell_numbers(shape[1], left, along) - (len(heat.cells[0]) - 1) / 2) <= len(heat.cells[0]) / 2
    seen = smooth * (seen_rows[:, None] & seen_columns[None, :])
    hottest = float(seen.max())
    return seen / np.float32(hottest) if hottest > 0 else seen


def _cell_numbers(pixels: int, first: float, pitch: float) -> NDArray[np.float64]:
    """For each pixel, in which cell its centre lies; whole numbers are centres of cells."""
    return (np.arange(pixels, dtype=np.float64) - first) / pitch


def _on_picture(pitch: float, first: float, scale: float) -> tuple[float, float]:
    """Pitch and first centre of the cells in pixels of a picture that is `scale` times as large as the image."""
    return pitch * scale, (first + 0.5) * scale - 0.5
