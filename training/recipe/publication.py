"""What a run's bundle will say of itself."""

from typing import Annotated, Literal

from pydantic import Field

from training.recipe.part import Part, Share


class Reading(Part):
    """Scan-level thresholds, fixed on scans held out for calibration."""

    #: Platt scaling of the slices' probabilities on the same scans; false leaves the network's own.
    calibrate: bool = True

    #: Present from the probability that this share of the scans without the class stays below ...
    present_specificity: Share = 0.85
    #: ... and absent below the one that this share of the scans with it reaches.
    absent_sensitivity: Share = 0.85
    #: The zone of doubt reaches at least so far to either side of its middle, in logits.
    least_doubt: Annotated[float, Field(gt=0)] = 0.2


class Publication(Part):
    """What the bundle's manifest says in words."""

    version: str
    statement: str = ""
    demonstration: bool = False
    intended_use: str
    training_data: str
    licence: str
    storage: Literal["fp32", "fp16", "int8"] = "fp16"
    least_precision: Literal["fp32", "bf16"] = "bf16"
