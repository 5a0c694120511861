"""Runs of the loop, in this process or in others that may be killed.

As a program: python -m tests.training.fitting RECIPE.json PHANTOMS OUT
"""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from ichd.domain.errors import UserError
from training.journal import Progress, Validation
from training.launch import launch
from training.lessons.batch import Batch
from training.lessons.course import MicroBatch
from training.lessons.lesson import Lesson
from training.lessons.source import PhantomSource
from training.loop import Fitted, Run, fit
from training.recipe import Recipe
from training.synthetic import load_split


class Spoiled(PhantomSource):
    """One phantom's weights are no numbers: every loss that it takes part in is none, either."""

    spoiled = 3

    def batch(self, micro: MicroBatch) -> Batch:
        batch = super().batch(micro)
        if self.spoiled not in micro.studies:
            return batch
        weight = batch.weight_VSC.clone()
        weight[micro.studies.index(self.spoiled)] = torch.nan
        return replace(batch, weight_VSC=weight)


class Damaged(PhantomSource):
    """Cannot be read, as a damaged shard can't."""

    def batch(self, micro: MicroBatch) -> Batch:
        raise UserError("slice 3 of a shard is damaged; pack it again")


def run_of(
    recipe: Recipe, phantoms: Path, out: Path, *, select: bool = True, source: type[PhantomSource] = PhantomSource
) -> Run:
    learn = source(load_split(phantoms, "train", recipe.phantoms), recipe)
    chosen = PhantomSource(load_split(phantoms, "calibration", recipe.phantoms), recipe) if select else None
    out.mkdir(exist_ok=True)
    return Run(recipe=recipe, learn=learn, select=chosen, folder=out, report_every=1)


def curve(
    run: Run, *, hear: Callable[[Progress | Validation], None] = lambda _line: None
) -> tuple[list[float], Fitted]:
    """The loss of every update, and what the run ends with."""
    losses: list[float] = []

    def listen(line: Progress | Validation) -> None:
        hear(line)
        if isinstance(line, Progress):
            losses.append(line.slice_loss)

    return losses, fit(run, launch(run.recipe, device="cpu"), hear=listen)


def written(out: Path) -> list[tuple[int, float, float]]:
    """The journal's losses: (update, training or -1, validation or -1)."""
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [(line["update"], line.get("slice_loss", -1.0), line.get("weighted_log_loss", -1.0)) for line in lines]


def main() -> None:
    recipe = Recipe.model_validate_json(Path(sys.argv[1]).read_text())
    curve(run_of(recipe, Path(sys.argv[2]), Path(sys.argv[3])))


if __name__ == "__main__":
    main()

__all__ = ["Lesson", "Spoiled", "curve", "run_of", "written"]
