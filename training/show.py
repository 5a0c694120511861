"""The first batch of a run, as a picture: what augmentation makes of the data is seen before hours are spent on it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from training.augment.contact_sheet import write_contact_sheet
from training.augment.lessons import lesson_of
from training.launch import launch
from training.lessons.batch import Batch
from training.lessons.course import Course
from training.material import open_material
from training.recipe import load_recipe


def draw_first_batch(
    recipe_name_or_path: str, out: Path, picture: Path, *, overrides: Mapping[str, Any], data: Path | None
) -> Path:
    """Write the picture and return its path; nothing is trained, no weights are needed.

    Raises:
        UserError: as `training.run.train`.
    """
    recipe = load_recipe(recipe_name_or_path, {**overrides, "init": None})
    material = open_material(recipe, out, launch(recipe, device="cpu"), data=data)
    course = Course(optimisation=recipe.optimisation, studies=len(material.learn), seed=recipe.seed)
    micro = next(course.of_update(0))
    batch = material.learn.batch(micro)
    if not isinstance(batch, Batch):
        raise TypeError("embeddings can't be drawn")
    torch.set_num_threads(1)
    write_contact_sheet(lesson_of(batch, recipe, seed=micro.seed), recipe.input, picture)
    return picture
