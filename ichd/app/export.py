"""`ichd model export`: a bundle in another form, compared with itself before anybody gets it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ichd.domain.errors import IchdError, UserError
from ichd.phantom import PhantomRecipe, render
from ichd.vision.bundle import find_bundle, load_bundle
from ichd.vision.onnx_graph import compare_runtimes, write_onnx
from ichd.vision.preprocess import AIR_HU, resample_hu

#: Largest difference of a probability from torch's in fp32.
TOLERANCE = 1e-4
#: Slices of a phantom with a bleed, coarsely drawn: it must make the network speak, no more.
_PHANTOM = PhantomRecipe(seed=3, bleeds=("subdural",), slices=6, rows=256, voxel_mm=2.0)
_LENGTHS = (1, 2, 6)


@dataclass(frozen=True, kw_only=True)
class Export:
    """What was written, and how it compares."""

    path: Path
    #: By runtime, the largest difference of a probability on a phantom from torch's; empty where none was asked for.
    max_abs_diff: dict[str, float]


def export_onnx(bundle_name: str, out: Path, *, check: bool = True) -> Export:
    """Write a bundle as ONNX; with `check`, only if every runtime at hand says what torch says.

    Raises:
        UserError: there is no such bundle, `out` can't be it, or the package onnx is not installed.
        IchdError: a runtime differs by `TOLERANCE` or more; nothing is left at `out`.
    """
    if out.suffix != ".onnx":
        raise UserError(f"{out} must end in .onnx, by which programs know the format")
    if out.exists():
        raise UserError(f"{out} is there already; name another")
    bundle = load_bundle(find_bundle(bundle_name))
    partial = out.with_name(f"{out.stem}.partial.onnx")
    try:
        write_onnx(bundle, partial)
        differences: dict[str, float] = {}
        if check:
            drawn = render(_PHANTOM)
            spacing = (drawn.pixel_spacing_mm, drawn.pixel_spacing_mm)
            hu_SGG = resample_hu(np.maximum(drawn.hu_SHW, np.int16(AIR_HU)), spacing, bundle.manifest.input).numpy()
            differences = compare_runtimes(bundle, partial, [hu_SGG[:length] for length in _LENGTHS])
            worst = max(differences, key=lambda runtime: differences[runtime])
            if not differences[worst] < TOLERANCE:
                raise IchdError(
                    f"the graph says something else in {worst}: probabilities differ by {differences[worst]:.1e}; "
                    "report this with the versions of torch and of the runtime"
                )
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return Export(path=out, max_abs_diff=differences)
