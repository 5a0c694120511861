"""The torch device that a setting names."""

import torch

from ichd.domain.errors import UserError


def find_device(name: str) -> torch.device:
    """The device of "auto", "cpu" or "cuda[:N]"; auto is CUDA where there is one, else the CPU.

    Raises:
        UserError: there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"model.device {name!r} is unknown; use auto, cpu or cuda") from error
    if device.type not in {"cpu", "cuda"}:
        raise UserError(f"model.device {name!r} is not supported; use auto, cpu or cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"model.device is {name!r} but torch sees {torch.cuda.device_count()} GPUs; use auto or cpu")
    return device


def gpu_count() -> int:
    """How many GPUs torch sees here."""
    return torch.cuda.device_count()
