"""What a training run is made of.

The parts of the network and of its input are the bundle's own (`ichd.vision.manifest`): what is trained is what the
manifest will say.
"""

from training.recipe.augmentation import PaperAugmentation, WideAugmentation
from training.recipe.data import Packed, Phantoms
from training.recipe.loading import Recipe, list_recipes, load_recipe, parse_recipe
from training.recipe.optimisation import Loss, Optimisation, SecondStage
from training.recipe.part import Range, Share
from training.recipe.publication import Publication, Reading

__all__ = [
    "Loss",
    "Optimisation",
    "Packed",
    "PaperAugmentation",
    "Phantoms",
    "Publication",
    "Range",
    "Reading",
    "Recipe",
    "SecondStage",
    "Share",
    "WideAugmentation",
    "list_recipes",
    "load_recipe",
    "parse_recipe",
]
