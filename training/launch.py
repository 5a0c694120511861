"""Which devices a run has: one, or as many as torchrun has started processes for."""

import logging
import os

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from ichd.domain.errors import UserError
from training.recipe import Recipe


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
        precision=recipe.optimisation.precision,
    )
    fabric.launch()
    return fabric
