"""Where a run stands, on disk: whole or not at all."""

import dataclasses
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
    best_loss: float = float("inf")
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
        UserError: the checkpoint is damaged.
    """
    path = folder / CHECKPOINT_NAME
    if not path.is_file():
        return training
    state = _state(training, fabric)
    try:
        rest = fabric.load(path, state, strict=False)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} can't be read ({str(error).splitlines()[0]}); remove it to start again") from error
    fabric.strategy.precision.load_state_dict(rest.get("precision", state.get("precision", {})))
    return dataclasses.replace(
        training,
        update=state["update"],
        best_loss=state["best_loss"],
        sums=state["sums"].to(fabric.device),
        summed=state["summed"],
    )


def save(training: Training, folder: Path, fabric: Fabric) -> None:
    """All of it, under its name once it is whole; every process takes part.

    Raises:
        UserError: the disk is full; the checkpoint before stays.
    """
    partial = folder / (CHECKPOINT_NAME + ".partial")
    try:
        fabric.save(partial, _state(training, fabric))
        if fabric.is_global_zero:
            partial.replace(folder / CHECKPOINT_NAME)
    except (OSError, RuntimeError) as error:
        partial.unlink(missing_ok=True)
        raise UserError(
            f"{folder / CHECKPOINT_NAME} can't be written ({str(error).splitlines()[0]}); make room, then start again: "
            "the run goes on from the checkpoint before"
        ) from error
    fabric.barrier()


def keep_best(training: Training, found: Validation, folder: Path, fabric: Fabric) -> Validation:
    """Keep the network's weights if they are the best so far (paper, selection); says whether they are."""
    if not found.weighted_log_loss < training.best_loss:
        return found
    training.best_loss = found.weighted_log_loss
    if fabric.is_global_zero:
        _write_weights(training.averaged, folder / BEST_NAME, found.update)
    return dataclasses.replace(found, best=True)


def best_weights(training: Training, folder: Path) -> CnnLstm:
    """The network of the best epoch, or of the last update where none was chosen."""
    network = training.averaged.cpu()
    path = folder / BEST_NAME
    if path.is_file():
        network.load_state_dict(load_file(path))
    return network.eval().requires_grad_(False)


def _state(training: Training, fabric: Fabric) -> dict[str, Any]:
    state: dict[str, Any] = {
        "model": training.model,
        "optimiser": training.optimiser,
        "update": training.update,
        "best_loss": training.best_loss,
        "sums": training.sums,
        "summed": training.summed,
        # The scaler of fp16; empty otherwise.
        "precision": fabric.strategy.precision.state_dict(),
    }
    return state if training.average is None else state | {"average": training.average}


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
