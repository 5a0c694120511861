"""What a run learns from."""

from typing import Literal

from pydantic import Field

from training.recipe.part import Part, Range, Share


class Phantoms(Part):
    """Phantoms to learn from, to calibrate on and to measure on; the three never share a seed."""

    kind: Literal["phantoms"]
    train_volumes: int = Field(ge=1)
    #: Read for the learning curve, for calibration and for thresholds.
    calibration_volumes: int = Field(ge=2)
    #: Read once, for the figures in the manifest.
    test_volumes: int = Field(ge=2)
    bleed_free_share: Share = 0.45
    #: Share of the bleeding phantoms that bleed in two or three compartments.
    combined_share: Share = 0.35
    #: Each mimic is in a phantom with this probability.
    mimic_share: Share = 0.15
    slices: tuple[int, int] = (20, 36)
    #: Image rows and columns before resampling to the model's grid, and the phantom's working grid in mm.
    rows: int = Field(default=256, ge=32, le=1024)
    voxel_mm: float = Field(default=1.5, ge=0.5, le=4.0)
    #: Share of phantoms whose slices are thinner than their distance, and how thin, mm: sharper and noisier.
    thin_share: Share = 0.2
    thin_mm: Range = (0.6, 2.5)
    #: How faint bleeds are, 0 (plain) to 1 (as faint as their kind allows).
    subtlety: Range = (0.0, 1.0)
    #: Width of the randomisation, 0 (clinical) to 1 (wide).
    wild: Range = (0.0, 1.0)
    processes: int = Field(default=2, ge=1)


class Packed(Part):
    """Studies that `ichd data pack` has written, by the splits of their index."""

    kind: Literal["packed"]
    #: The split that the best epoch is chosen on. The authors chose on what is "test" here, the stage-1 test set [C].
    selection: Literal["valid", "test"] = "valid"
    #: Processes that read beside the loop.
    processes: int = Field(default=8, ge=0)
