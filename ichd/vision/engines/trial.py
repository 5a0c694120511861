"""An engine is tried on slices whose answer is known before it reads for anybody.

Made for what runs on hardware that nobody here has seen: it has to give a slice the same bits wherever it stands in a
batch, and to say what torch says in fp32 on the processor.
"""

import numpy as np
from numpy.typing import NDArray

from ichd.vision.engines.engine import Engine, Part

#: Largest difference of a probability from torch's in fp32.
_TOLERANCE, _TOLERANCE_FP32 = 1e-2, 1e-4
#: Different slices that are read.
_DISTINCT = 3
_SPACING_MM = (0.5, 0.5)


def fault_of(engine: Engine, reference: Engine, *, rows: int, precision: str) -> str | None:
    """What is wrong with an engine that reads `rows` slices at once, in a few words; None when it may be trusted."""
    side = engine.bundle.manifest.input.image_size

    def embed(by: Engine, slices_SGG: NDArray[np.int16]) -> NDArray[np.float32]:
        middle = ((side - 1) / 2, (side - 1) / 2)
        (embeddings_SF,) = by.embed([Part(hu_SHW=slices_SGG, pixel_spacing_mm=_SPACING_MM, centre=middle)])
        return embeddings_SF

    slices_DGG: NDArray[np.int16] = np.stack([_head(side, seed) for seed in range(_DISTINCT)])
    alone_DF = np.concatenate([embed(engine, one_GG[None]) for one_GG in slices_DGG])
    if not np.isfinite(alone_DF).all():
        return "embeddings hold what is no number"
    # Each slice comes to stand in each row once.
    for turn in range(_DISTINCT):
        order = (np.arange(rows) + turn) % _DISTINCT
        among_RF = embed(engine, slices_DGG[order])
        strays = np.flatnonzero((among_RF != alone_DF[order]).any(axis=1))
        if len(strays):
            return f"a slice has other bits in row {strays[0]} of {rows} than alone"
    expected_DC = reference.classify(embed(reference, slices_DGG))
    worst = float(np.abs(engine.classify(alone_DF) - expected_DC).max())
    tolerance = _TOLERANCE_FP32 if precision == "fp32" else _TOLERANCE
    if worst > tolerance:
        return f"probabilities differ from torch's in fp32 by {worst:.2g}, and may by {tolerance:g}"
    return None


def _head(side: int, seed: int) -> NDArray[np.int16]:
    """A skull around brain with a bleed somewhere, in air, [G, G]; a figure to compute with, no patient to diagnose."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side] / side - 0.5
    radius = np.hypot(rows / 0.45, columns / 0.36)
    hu: NDArray[np.float64] = np.where(radius < 1, np.where(radius < 0.9, 32.0, 900.0), -1000.0)
    row, column = random.uniform(-0.2, 0.2, 2)
    hu[np.hypot(rows - row, columns - column) < 0.07] = 70.0
    return (hu + random.normal(0, 5, hu.shape)).round().astype(np.int16)
