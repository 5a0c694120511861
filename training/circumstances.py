"""What, beside the recipe, decides a run's result: stored with it and in its bundle."""

import os
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from training.recipe import Recipe
from training.starting import starting_point_of

#: Versions that decide what a run's numbers are.
_PACKAGES = ("ichd", "torch", "timm", "numpy", "scipy", "scikit-learn", "lightning-fabric", "blosc2", "polars")


def circumstances(recipe: Recipe, data: Mapping[str, Any], fabric: Fabric) -> dict[str, Any]:
    """Versions, revision, seed, device and data of a run, as values that JSON can hold."""
    point = starting_point_of(recipe)
    return {
        "seed": recipe.seed,
        "init_source_sha256": None if point is None else point.source_sha256,
        "data": {key: value for key, value in data.items() if not isinstance(value, Mapping)},
        "git_revision": _git_revision(),
        "packages": {package: _version(package) for package in _PACKAGES},
        "processes": fabric.world_size,
        "device": torch.cuda.get_device_name(fabric.device) if fabric.device.type == "cuda" else "cpu",
        "processor": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _git_revision() -> str | None:
    """Revision of the checkout that this file is part of, "-dirty" if it was changed; None in an installed package."""
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],  # noqa: S607
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()
