"""Where a run stands, on disk: whole or not at all."""

import dataclasses
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ichd.domain.errors import UserError
from ichd.vision.network import CnnLstm
from training.journal import Validation
from training.learner import Learner, parameter_groups
from training.recipe import Recipe

CHECKPOINT_NAME = "last.ckpt"
BEST_NAME = "best.safetensors"


@dataclass(kw_only=True)
class Training:
    """What changes while a run learns."""

    learner: Learner
    #: The learner as Fabric wraps it: in precision and across processes.
    model: Any
    optimiser: Any
    average: AveragedModel | None
    #: Updates that are behind.
    update: int = 0
    #: The validation that the best weights were chosen by.
    best: Validation | None = None
    #: Losses since the last report, [slices, localisation], and of how many updates.
    sums: Tensor
    summed: int = 0

    @classmethod
    def start(cls, recipe: Recipe, make: Callable[[Recipe], Learner], fabric: Fabric) -> "Training":
        """At update 0, the same in every process."""
        plan = recipe.optimisation
        fabric.seed_everything(recipe.seed, verbose=False)
        learner = make(recipe).to(memory_format=torch.channels_last)
        fused = fabric.device.type == "cuda"
        groups = parameter_groups(learner, plan)
        optimiser = torch.optim.AdamW(groups, lr=plan.learning_rate, eps=plan.epsilon, fused=fused)
        model, optimiser = fabric.setup(learner, optimiser)
        model.train()
        average = None
        if plan.average_decay:
            decay = get_ema_multi_avg_fn(plan.average_decay)  # type: ignore[no-untyped-call]
            average = AveragedModel(learner, multi_avg_fn=decay, use_buffers=True)
        sums = torch.zeros(2, device=fabric.device)
        return cls(learner=learner, model=model, optimiser=optimiser, average=average, sums=sums)

    @property
    def averaged(self) -> CnnLstm:
        """The network that is measured and kept."""
        return cast(Learner, self.average.module if self.average is not None else self.learner).network

    def agree(self, fabric: Fabric) -> None:
        """Average what each process has counted by itself, the norms' running statistics, over all of them."""
        if fabric.world_size == 1:
            return
        for module in (self.learner, *([] if self.average is None else [self.average.module])):
            for buffer in module.buffers():
                if buffer.is_floating_point():
                    buffer.copy_(torch.as_tensor(fabric.all_reduce(buffer, reduce_op="mean")))

    def follow(self) -> None:
        """Let the average follow the weights."""
        if self.average is not None:
            self.average.update_parameters(self.learner)


def resume(training: Training, folder: Path, fabric: Fabric) -> Training:
    """Where the checkpoint in `folder` stands; where the run starts if there is none.

    Raises:
        UserError: the checkpoint is damaged, or not the same for all processes.
    """
    path = folder / CHECKPOINT_NAME
    if path.is_file():
        training = _loaded(training, path, fabric)
    if fabric.world_size > 1 and fabric.broadcast(training.update) != training.update:
        raise UserError(f"the processes do not see the same {path}; --out must be a folder that all machines share")
    return training


def _loaded(training: Training, path: Path, fabric: Fabric) -> Training:
    state = _state(training, fabric)
    try:
        kept: dict[str, Any] = torch.load(path, map_location=fabric.device, weights_only=True)
        training.learner.load_state_dict(kept["model"])
        training.optimiser.load_state_dict(kept["optimiser"])
        if training.average is not None:
            training.average.load_state_dict(kept["average"])
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise UserError(f"{path} can't be read ({str(error).splitlines()[0]}); remove it to start again") from error
    if state["precision"]:
        fabric.strategy.precision.load_state_dict(kept["precision"])
    return dataclasses.replace(
        training,
        update=kept["update"],
        best=None if kept["best"] is None else Validation(**kept["best"]),
        sums=kept["sums"],
        summed=kept["summed"],
    )


def save(training: Training, folder: Path, fabric: Fabric) -> None:
    """All of it, under its name once it is whole; the first process writes, the others wait.

    Written by torch itself: Fabric would write to the system's temporary folder first, which may be another disk.

    Raises:
        UserError: the disk is full; the checkpoint before stays.
    """
    state, path = _state(training, fabric), folder / CHECKPOINT_NAME
    if fabric.is_global_zero:
        partial = folder / (CHECKPOINT_NAME + ".partial")
        try:
            torch.save(state, partial)
            partial.replace(path)
        except (OSError, RuntimeError) as error:
            partial.unlink(missing_ok=True)
            before = "the run goes on from the checkpoint before" if path.is_file() else "there is no checkpoint yet"
            reason = str(error).splitlines()[0]
            raise UserError(f"{path} can't be written ({reason}); make room, then start again: {before}") from error
    fabric.barrier()


def keep_best(training: Training, found: Validation, folder: Path, fabric: Fabric) -> Validation:
    """Keep the network's weights if they are the best so far (paper, selection); says whether they are."""
    if training.best is not None and not found.weighted_log_loss < training.best.weighted_log_loss:
        return found
    training.best = dataclasses.replace(found, best=True)
    if fabric.is_global_zero:
        _write_weights(training.averaged, folder / BEST_NAME, found.update)
    return training.best


def best_weights(training: Training, folder: Path) -> CnnLstm:
    """The network of the best epoch, or of the last update where none was chosen."""
    network = training.averaged.cpu()
    path = folder / BEST_NAME
    if training.best is not None:
        network.load_state_dict(load_file(path))
    return network.eval().requires_grad_(False)


def _state(training: Training, fabric: Fabric) -> dict[str, Any]:
    """Tensors and plain values only, so that nothing is run when it is read."""
    return {
        "model": training.learner.state_dict(),
        "optimiser": training.optimiser.state_dict(),
        "average": None if training.average is None else training.average.state_dict(),
        "update": training.update,
        "best": None if training.best is None else dataclasses.asdict(training.best),
        "sums": training.sums,
        "summed": training.summed,
        # The scaler of fp16; empty otherwise.
        "precision": dict(fabric.strategy.precision.state_dict()),
    }


def _write_weights(network: CnnLstm, path: Path, update: int) -> None:
    partial = path.with_suffix(".partial")
    try:
        save_file(
            {key: tensor.detach().cpu().contiguous().clone() for key, tensor in network.state_dict().items()},
            partial,
            metadata={"update": str(update)},
        )
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(f"{path} can't be written ({error.strerror or error}); make room, then start again") from error
