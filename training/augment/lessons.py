"""A micro-batch to what the network sees of it, by the recipe's augmentation."""

import torch

from training.augment import paper, wide
from training.lessons.batch import Batch
from training.lessons.lesson import Lesson
from training.recipe import PaperAugmentation, Recipe


def lesson_of(batch: Batch, recipe: Recipe, *, seed: int, device: torch.device | None = None) -> Lesson:
    """Changed as the recipe says, on a device; by default where the batch lies."""
    if isinstance(recipe.augmentation, PaperAugmentation):
        return paper.prepare(batch, recipe.augmentation, recipe.input, seed, device=device)
    return wide.prepare(batch, recipe.augmentation, recipe.input, seed=seed)


def plain_lesson_of(batch: Batch, recipe: Recipe, *, device: torch.device | None = None) -> Lesson:
    """Nothing changed: what is measured on."""
    return paper.prepare(batch, None, recipe.input, 0, device=device)
