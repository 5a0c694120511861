"""Synthetic head CT with known bleeds: commissioning, self-test, demo, tests and training data."""

from .recipe import BLEED_KINDS, MIMIC_KINDS, PhantomRecipe
from .rendering import VISIBLE_MM2, Phantom, render
from .series import write_series, write_truth

__all__ = [
    "BLEED_KINDS",
    "MIMIC_KINDS",
    "VISIBLE_MM2",
    "Phantom",
    "PhantomRecipe",
    "render",
    "write_series",
    "write_truth",
]
