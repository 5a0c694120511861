"""Which devices a run has: one, or as many as torchrun has started processes for."""

import logging
import os
from typing import Literal

import structlog
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from ichd.domain.errors import UserError
from training.recipe import Recipe

log = structlog.get_logger(__name__)


def launch(recipe: Recipe, *, device: str = "auto") -> Fabric:
    """Fabric over this process's device, "auto", "cpu" or "cuda"; under torchrun, over all processes of all nodes.

    Raises:
        UserError: the device is not there.
    """
    if device not in {"auto", "cpu", "cuda"}:
        raise UserError(f"--device {device!r} is none of auto, cpu and cuda")
    cuda = torch.cuda.is_available()
    if device == "cuda" and not cuda:
        raise UserError("--device cuda: torch sees no CUDA device here; use --device cpu, or look at nvidia-smi")
    accelerator = "cuda" if cuda and device != "cpu" else "cpu"
    processes, here = (int(os.environ.get(name, "1")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if accelerator == "cpu" and recipe.optimisation.threads is not None:
        torch.set_num_threads(recipe.optimisation.threads)
    if accelerator == "cuda":
        # One seed, one curve: the fastest of an autotuner's choices differs from run to run.
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
    # What it says at its start is in the recipe.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    fabric = Fabric(
        accelerator=accelerator,
        devices=here,
        num_nodes=max(1, processes // here),
        # Norms' running statistics are averaged where they are used (`Training.agree`), instead of the first process's.
        strategy=DDPStrategy(broadcast_buffers=False) if processes > 1 else "auto",
        precision=_precision(recipe, accelerator),
    )
    fabric.launch()
    return fabric


def _precision(recipe: Recipe, accelerator: str) -> Literal["32-true", "bf16-mixed", "16-mixed"]:
    """As the recipe has it; fp32, which is never less exact, on a processor that lacks bf16."""
    wanted = recipe.optimisation.precision
    if accelerator == "cpu" and wanted == "bf16-mixed" and not _has_bf16():
        log.warning("precision_raised", wanted=wanted, used="32-true", why="this processor does not multiply bf16")
        return "32-true"
    return wanted


def _has_bf16() -> bool:
    """Whether the processor can do all that a network asks of it in bf16; torch has no word for that, so it is tried.

    Convolutions are emulated where they must be, recurrent layers are not.
    """
    try:
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            torch.nn.LSTM(1, 1)(torch.zeros(1, 1, 1))
    except RuntimeError:
        return False
    return True
