"""Random changes of what a step learns from."""

from typing import Literal

from pydantic import Field

from training.recipe.part import Part, Range, Share


class WideAugmentation(Part):
    """Random changes of HU of whole windows of slices, as wide as a scan that no phantom resembles asks for.

    Amplitudes are those of a wide draw, see `training.augment.wide`.
    """

    kind: Literal["wide"] = "wide"
    flip_share: Share = 0.5
    rotation_deg: float = Field(default=20.0, ge=0.0)
    scale: Range = (0.85, 1.12)
    shear: float = Field(default=0.06, ge=0.0)
    shift_share: float = Field(default=0.06, ge=0.0)
    #: Standard deviation of slow displacements, as a share of the grid.
    warp_share: float = Field(default=0.012, ge=0.0)
    #: Standard deviation of the change of every tissue's HU, and of the slope of soft tissue contrast.
    offset_hu: float = Field(default=3.0, ge=0.0)
    contrast: Range = (0.85, 1.25)
    bone_gain: Range = (0.8, 1.2)
    #: Slow changes over the image: beam hardening and cupping.
    shading_hu: float = Field(default=3.0, ge=0.0)
    noise_hu: Range = (0.0, 4.5)
    blur_px: Range = (0.0, 1.0)
    sharpen_share: Share = 0.25
    coarse_share: Share = 0.1
    streak_share: Share = 0.1
    streak_hu: float = Field(default=12.0, ge=0.0)
    #: Steps between the slices of a window, in slices: under 1 a slice repeats, as thin ones look alike.
    slice_steps: tuple[float, ...] = (1.0, 1.0, 1.0, 0.5, 0.25, 2.0)


class PaperAugmentation(Part):
    """The published recipe's changes, drawn anew for every slice, see `training.augment.paper`.

    Every default is the paper's or its authors' code's. A share of 0 leaves a change out; of a group of changes, one
    that applies is chosen with equal probability. "Nothing" weighs half as much as a change, as in the authors' code.
    """

    kind: Literal["paper"] = "paper"
    #: Random resized crop: its area as a share of the image, and its width over its height, drawn by logarithm.
    crop_share: Share = 1.0
    crop_area: Range = (0.8, 1.0)
    crop_aspect: Range = (3 / 4, 4 / 3)
    #: One of a horizontal and a vertical flip.
    flip_share: Share = 0.5
    #: One of shift-scale-rotate, grid distortion, optical distortion and nothing.
    warp_share: Share = 0.5
    #: Of the image's side, in both directions of each axis.
    shift: float = Field(default=0.0625, ge=0.0)
    #: Scaling by 1 - this to 1 + this.
    scale: float = Field(default=0.1, ge=0.0, lt=1.0)
    rotation_deg: float = Field(default=30.0, ge=0.0)
    grid_distortion: float = Field(default=0.2, ge=0.0, lt=1.0)
    #: Cells a side of the grid that is distorted.
    grid_steps: int = Field(default=5, ge=1)
    optical_distortion: float = Field(default=0.2, ge=0.0, lt=1.0)
    #: One of additive noise of a drawn standard deviation, noise of a drawn variance, and nothing; of values 0 to 255.
    noise_share: Share = 0.5
    noise_std: Range = (2.55, 12.75)
    noise_variance: Range = (10.0, 50.0)
    #: One of a median, a mean over 3 by 3 pixels, and nothing.
    blur_share: Share = 0.5
    #: Beta distribution of CutMix; 0 leaves it out.
    cutmix_alpha: float = Field(default=1.0, ge=0.0)
