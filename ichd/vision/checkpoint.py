"""Weights from files that others made: tensors by name, and never code.

A pickle can run anything while it is read; torch's restricted reader builds tensors and plain containers only.
"""

import pickle
import struct
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ichd.domain.errors import UserError

#: What torch's restricted reader raises on bytes that are no checkpoint: it has no error of its own for them.
_DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
#: Under these a checkpoint keeps its weights, beside epoch, optimiser and the like.
_WEIGHTS_KEYS = ("state_dict", "model")
#: What torch's DataParallel puts before every name.
_PARALLEL = "module."
#: Counts of training steps, which old files lack and nothing reads at inference.
_COUNTER = "num_batches_tracked"


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """The weights in a file, on the CPU, and what else a checkpoint says (empty for bare weights).

    Reads safetensors, and what `torch.save` wrote in its zip or older form: a dict of tensors, or one with such a dict
    under `state_dict` or `model`. The prefix of DataParallel is taken off.

    Raises:
        UserError: the file is not there, is none of these, or holds more than tensors and plain values, or
            values that are not finite.
    """
    if not path.is_file():
        raise UserError(f"{path} is not a file that exists; name a file of weights")
    content: Any = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickled(path)
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds a {type(content).__name__}, no dict of weights; save the model's state_dict")
    found = next((content[key] for key in _WEIGHTS_KEYS if isinstance(content.get(key), Mapping)), None)
    weights: Mapping[Any, Any] = content if found is None else found
    rest: Mapping[str, Any] = {} if found is None else content
    named = {key: value for key, value in weights.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if not named:
        raise UserError(
            f"{path} holds no tensors by name, neither directly nor under {' or '.join(_WEIGHTS_KEYS)}; "
            "save the state_dict of the model"
        )
    if all(key.startswith(_PARALLEL) for key in named):
        named = {key.removeprefix(_PARALLEL): value for key, value in named.items()}
    broken = sorted(key for key, value in named.items() if not torch.isfinite(value).all())
    if broken:
        raise UserError(
            f"{path} holds values that are no numbers or infinite, in {len(broken)} tensors, first {broken[0]}: "
            "it is damaged, or its training went astray; bring another"
        )
    return named, rest


def take(
    given: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    name_there: Callable[[str], str],
    *,
    where: str,
    mend: str,
) -> dict[str, Tensor]:
    """The tensors of `given` by the names of `expected`, which stand in the file under `name_there(name)`.

    Nothing may be missing, left over or of another shape, but for counters of batches.

    Raises:
        UserError: with the names as they stand in the file, and `mend`.
    """
    wanted = {name_there(name): tensor for name, tensor in expected.items()}
    problems = differences(
        {name: tensor for name, tensor in wanted.items() if name in given or not name.endswith(_COUNTER)}, given
    )
    if problems:
        raise UserError(f"{where}: {problems}; {mend}")
    return {
        name: given.get(name_there(name), torch.zeros_like(tensor, device="cpu")) for name, tensor in expected.items()
    }


def differences(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """In which names and shapes two sets of weights differ, for people; empty where they agree."""
    shapes = sorted(
        f"{key} is {tuple(given[key].shape)}, not {tuple(expected[key].shape)}"
        for key in expected.keys() & given.keys()
        if expected[key].shape != given[key].shape
    )
    return "; ".join(
        f"{len(found)} {kind}, first {found[0]}"
        for kind, found in (
            ("missing", sorted(expected.keys() - given.keys())),
            ("unknown", sorted(given.keys() - expected.keys())),
            ("of another shape", shapes),
        )
        if found
    )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path} is no whole safetensors file ({error}); copy it again") from error
    return tensors


def _read_pickled(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # What torch thinks of a file's contents is said below, in our words.
            warnings.filterwarnings("ignore", category=UserWarning, module=r"torch\.")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} is no file that torch.save wrote, or holds more than tensors and plain values, so that it would "
            "run code to be read; load it where it was made and save its state_dict alone, or as safetensors"
        ) from error
    except _DAMAGE as error:
        raise UserError(f"{path} is no file that torch.save wrote, or a part of one; copy it again") from error
