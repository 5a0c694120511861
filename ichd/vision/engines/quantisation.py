"""int8 by post-training quantisation (NNCF): the ranges of activations are taken from slices, nothing is trained.

A quantised model is kept in the engines' cache, with what it was measured to lose. It is made on purpose, by
`ichd model quantise`, because that loss is somebody's to accept.
"""

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from ichd.domain.errors import UserError
from ichd.vision.bundle import Bundle
from ichd.vision.engines.cache import EngineCache
from ichd.vision.engines.conversion import conversion_key, convert, save_converted
from ichd.vision.engines.runtime import signal_stack_kept

_MEASURED_NAME = "measured.json"


def quantise(bundle: Bundle, grids_GG: Iterable[NDArray[np.float32]]) -> ov.Model:
    """The bundle's CNN in int8, calibrated on HU on its grid, a slice each.

    Raises:
        UserError: NNCF is not installed, or OpenVINO can't run the backbone.
        Permanent: MODEL_UNUSABLE, the bundle's weights don't fit its network.
    """
    try:
        import nncf
    except ImportError as error:
        raise UserError("quantising needs NNCF; install it with: pip install 'ichd[int8]'") from error
    slices = [grid_GG[None] for grid_GG in grids_GG]
    # Mixed: activations of a ReLU start at zero, those of a squeeze-and-excitation don't lie around it.
    model = convert(bundle)
    # NNCF starts runtimes of its own, and draws its progress on standard output, which the command prints results on.
    with redirect_stdout(sys.stderr), signal_stack_kept():
        quantised: ov.Model = nncf.quantize(
            model, nncf.Dataset(slices), preset=nncf.QuantizationPreset.MIXED, subset_size=len(slices)
        )
    return quantised


def keep_quantised(bundle: Bundle, model: ov.Model, measured: Mapping[str, object], cache: EngineCache) -> Path:
    """Put it where `model.precision = "int8"` finds it.

    Raises:
        UserError: the cache can't be written.
    """

    def write(folder: Path) -> None:
        save_converted(model, folder)
        (folder / _MEASURED_NAME).write_text(json.dumps(measured, indent=2), encoding="utf-8")

    entry = cache.keep(_key(bundle), write, replace=True)
    if entry is None:
        raise UserError(f"{cache.folder} can't be written; set model.cache to a folder that can")
    return entry


def find_quantised(bundle: Bundle, cache: EngineCache | None) -> Path:
    """The entry of the quantised model.

    Raises:
        UserError: it was never made here, or for another version of the bundle or of OpenVINO.
    """
    entry = cache.find(_key(bundle)) if cache else None
    if entry is None:
        raise UserError(
            f'model.precision is "int8" but {bundle.identity.name} was not quantised for this version; '
            f"run: ichd model quantise {bundle.folder}"
        )
    return entry


def _key(bundle: Bundle) -> str:
    return hashlib.sha256(f"{conversion_key(bundle)} int8".encode()).hexdigest()[:32]
