"""How long, how fast, and towards what a run learns."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ichd.domain.finding import CLASSES
from training.recipe.part import Part, Share


class Optimisation(Part):
    """AdamW with linear warm-up and cosine to zero, and how long."""

    #: Passes over the training studies, each giving one window a pass; or `updates`, with windows drawn at random.
    epochs: int | None = Field(default=None, ge=1)
    updates: int | None = Field(default=None, ge=1)
    #: In the same unit as the length.
    warmup: float = Field(default=0.0, ge=0.0)
    #: Slices behind one change of the weights, over all processes and accumulated micro-batches.
    slices_per_update: int = Field(default=100, ge=1)
    #: Micro-batches that an update is accumulated from: each is normalised (batch norm) and mixed (CutMix) by itself.
    accumulate: int = Field(default=1, ge=1)
    #: Slices of a window, drawn anew for each micro-batch: a sequence model should not mind how long a scan is.
    window_slices: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(10,), min_length=1)
    learning_rate: float = Field(default=1e-3, gt=0.0)
    weight_decay: float = Field(default=1e-2, ge=0.0)
    #: Biases never decay. Weights of norms do in the published recipe.
    decay_norms: bool = True
    epsilon: float = Field(default=1e-8, gt=0.0)
    #: 0 leaves gradients as long as they are.
    gradient_norm: float = Field(default=0.0, ge=0.0)
    #: Weights of the bundle are this moving average; 0 takes the last ones.
    average_decay: float = Field(default=0.0, ge=0.0, lt=1.0)
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "bf16-mixed"
    #: Of the loop itself on a CPU; None leaves torch its own number. Batches are made by processes beside it.
    threads: int | None = Field(default=None, ge=1)
    #: Besides the one after every epoch.
    checkpoint_every_min: float = Field(default=10.0, gt=0.0)

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.updates is None):
            raise ValueError("give one of epochs and updates")
        if self.warmup > (self.epochs or self.updates or 0):
            raise ValueError("warmup is longer than the run")
        return self


class Loss(Part):
    """Weighted binary cross-entropy a slice (paper, loss), and the training-only localisation beside it."""

    class_weights: tuple[float, ...] = (2.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    #: A slice with less blood than is called visible is no clear negative: its classes weigh this much.
    faint_weight: Share = 0.2
    localisation_weight: float = Field(default=0.0, ge=0.0)
    #: Feature maps that must show where the blood is, by their stride in pixels; needs data that knows the place.
    localisation_strides: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _a_weight_a_class(self) -> Self:
        if len(self.class_weights) != len(CLASSES):
            raise ValueError(f"class_weights needs {len(CLASSES)} values, one a class: {', '.join(CLASSES)}")
        return self


class SecondStage(Part):
    """The sequence model once more, on embeddings that no longer change: whole scans, for a small part of the cost."""

    epochs: int = Field(ge=1)
    warmup: float = Field(default=0.0, ge=0.0)
    scans_per_update: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0.0)
    weight_decay: float = Field(default=1e-2, ge=0.0)
