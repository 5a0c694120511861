"""The training loop, to be read from top to bottom.

One seed gives one curve, across any kill, and the same losses on any number of processes that deal its micro-batches
evenly (norms count their running statistics in each process, and average them at the end of an epoch): what an update
learns from is a function of the seed and the update alone (`training.lessons.course`), chance inside the network is
seeded anew each update, and a checkpoint holds all the rest. Another processor, thread count or version of torch rounds
differently.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from ichd.vision.network import CnnLstm
from training.checkpoint import Training, best_weights, keep_best, resume, save
from training.delivery import deliver
from training.journal import Journal, Progress, Validation
from training.learner import Learner, Losses, losses
from training.lessons.course import Course, learning_rate
from training.lessons.lesson import Lesson
from training.lessons.source import Source
from training.recipe import Recipe
from training.validate import validate
from training.watch import Agreement, Interrupted, LossWatch, stop_requests

Hear = Callable[[Progress | Validation], None]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of the loop."""

    recipe: Recipe
    learn: Source
    #: The best epoch is chosen on these; without any, the last weights are taken.
    select: Source | None
    folder: Path
    #: What is trained: the whole network, or the sequence model alone.
    make: Callable[[Recipe], Learner] = Learner
    #: Updates between two reports; None: a hundredth of the run, at most 25.
    report_every: int | None = None


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a run of the loop ends with."""

    network: CnnLstm
    #: The validation that its epoch was chosen by; None where the last weights were taken.
    chosen: Validation | None


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One micro-batch after it went through the network."""

    share: float
    lesson: Lesson
    losses: Losses


def fit(run: Run, fabric: Fabric, *, hear: Hear = lambda _line: None) -> Fitted:
    """Train from where the recipe starts, or from the checkpoint in the run's folder.

    The network is the best epoch's, averaged where the recipe averages, in evaluation mode on the CPU.

    Raises:
        UserError: the recipe does not fit its backbone, or this number of processes.
        Diverged: the loss is no number any more.
        Interrupted: SIGTERM or SIGINT came; the checkpoint is saved.
    """
    plan = run.recipe.optimisation
    course = Course(optimisation=plan, studies=len(run.learn), seed=run.recipe.seed, processes=fabric.world_size)
    training = resume(Training.start(run.recipe, run.make, fabric), run.folder, fabric)
    model, optimiser = training.model, training.optimiser
    lessons = deliver(
        run.learn,
        course,
        run.recipe,
        rank=fabric.global_rank,
        first_update=training.update,
        device=fabric.device,
    )
    watch, report = LossWatch(run.folder), _Report(run, course, training)
    journal = Journal(run.folder, last_update=training.update) if fabric.is_global_zero else None

    with stop_requests() as stops:
        agreement = Agreement(fabric, stops, save_every_min=plan.checkpoint_every_min)
        for update in range(training.update, course.updates):
            fabric.seed_everything(run.recipe.seed + update, verbose=False)
            rate = learning_rate(course.progress(update), float(plan.epochs or course.updates), plan)
            for group in optimiser.param_groups:
                group["lr"] = rate

            seen: list[Seen] = []
            for micro, lesson in islice(lessons, course.micro_batches // course.processes):
                with fabric.no_backward_sync(model, enabled=not micro.last):
                    loss = losses(model(lesson.x_NCGG, lesson.lengths_V, lesson.gap_VS), lesson, run.recipe.loss)
                    # Processes' gradients are averaged, the micro-batches of an update summed up by their share.
                    fabric.backward(loss.total * (micro.share * fabric.world_size))
                seen.append(Seen(share=micro.share, lesson=lesson, losses=loss))
            if plan.gradient_norm:
                fabric.clip_gradients(model, optimiser, max_norm=plan.gradient_norm)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            training.follow()
            training.update = update + 1

            watch.saw(update, _mean(seen, "total"), tuple(name for each in seen for name in each.lesson.names))
            line = report.add(update, rate, seen, fabric)
            if line is not None:
                _tell(line, journal, hear)
            epoch = course.ends_epoch(update)
            if epoch is not None:
                training.agree(fabric)
            if epoch is not None and run.select is not None:
                watch.settle()
                found = validate(training.averaged, run.select, run.recipe, fabric, update=update + 1, epoch=epoch)
                found = keep_best(training, found, run.folder, fabric)
                _tell(found, journal, hear)
            due, stop = agreement.ask(update)
            if due or epoch is not None:
                watch.settle()
                save(training, run.folder, fabric)
            if stop:
                raise Interrupted(
                    f"stopped after update {update + 1} of {course.updates}, saved; start it again to go on"
                )
        watch.settle()
    return Fitted(network=best_weights(training, run.folder), chosen=training.best)


def _mean(seen: Sequence[Seen], which: str) -> Tensor:
    """Over this process's micro-batches, by their share of the update."""
    whole = sum(each.share for each in seen)
    return torch.stack([getattr(each.losses, which).detach() * (each.share / whole) for each in seen]).sum()


def _tell(line: Progress | Validation, journal: Journal | None, hear: Hear) -> None:
    if journal is not None:
        journal.write(line)
    hear(line)


class _Report:
    """Sums over the updates since the last report; they stay on the device until then."""

    def __init__(self, run: Run, course: Course, training: Training) -> None:
        self._every = run.report_every or max(1, min(25, course.updates // 100))
        self._course, self._training = course, training
        self._since = time.perf_counter()
        self._slices = 0

    def add(self, update: int, rate: float, seen: Sequence[Seen], fabric: Fabric) -> Progress | None:
        """What to say after this update, if it is time."""
        training = self._training
        training.sums = training.sums + torch.stack([_mean(seen, "slices"), _mean(seen, "localisation")])
        training.summed += 1
        self._slices += sum(len(each.lesson.x_NCGG) for each in seen)
        if (update + 1) % self._every and update + 1 < self._course.updates:
            return None
        means: Any = training.sums / training.summed
        if fabric.world_size > 1:
            means = fabric.all_reduce(means, reduce_op="mean")
        slice_mean, map_mean = means.tolist()
        now = time.perf_counter()
        line = Progress(
            update=update + 1,
            updates=self._course.updates,
            progress=self._course.progress(update + 1),
            slice_loss=slice_mean,
            localisation_loss=map_mean,
            learning_rate=rate,
            slices_per_s=self._slices * fabric.world_size / (now - self._since),
        )
        training.sums, training.summed = torch.zeros_like(training.sums), 0
        self._since, self._slices = now, 0
        return line
