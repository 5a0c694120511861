"""What a model bundle says about itself: `model.json`, typed and read strictly. No torch is imported here."""

import hashlib
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from ichd.domain.errors import Permanent, UserError
from ichd.domain.finding import CLASSES, ModelIdentity, ReadingRule, Threshold
from ichd.domain.reason import Reason
from ichd.domain.scan_calibration import ScanCalibration
from ichd.vision.window import PAPER_WINDOWS, Window

MANIFEST_NAME = "model.json"

#: Statistics of ImageNet, on which the published backbones were trained (RGB, values of 0 to 1).
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

#: Keys of `RecurrentSpec` that bundles of the first form don't have, with what they then mean.
_LATER: dict[str, Any] = {"cell": "lstm", "deltas": False, "z_gap": False}

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Metric = float | int | str | None
ByClass = TypeVar("ByClass")


class _Strict(BaseModel):
    """A value object: unknown keys and values of another type are errors, nothing changes after construction."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class InputSpec(_Strict):
    """How HU become the network's input; the defaults are the paper's."""

    #: Pixels, square.
    image_size: int = Field(default=512, ge=32, le=2048)
    #: None: the whole image is resized to `image_size` (paper). A number: a square of that many mm around the head.
    field_of_view_mm: float | None = Field(default=None, ge=50.0, le=1000.0)
    #: One channel each, in the network's channel order.
    windows: tuple[Window, ...] = PAPER_WINDOWS
    #: Per channel, on windowed values of 0 to 1.
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    #: 8: windowed values are rounded down to 255ths, for weights that learnt from images of 8 bits. None: as they are.
    quantise_bits: Literal[8] | None = None

    @model_validator(mode="after")
    def _channels_agree(self) -> Self:
        if not self.windows or not len(self.windows) == len(self.mean) == len(self.std):
            raise ValueError("windows, mean and std need one entry a channel")
        if min(self.std) <= 0:
            raise ValueError("std must be positive")
        return self


class RecurrentSpec(_Strict):
    """The sequence model over the slices of a scan; the defaults are the paper's."""

    layers: int = Field(default=2, ge=1, le=8)
    #: Hidden units a direction.
    hidden: int = Field(default=512, ge=1, le=4096)
    bidirectional: bool = True
    #: Between layers, during training.
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    cell: Literal["lstm", "gru"] = "lstm"
    #: Beside each embedding, what it differs by from the slice below and from the slice above.
    deltas: bool = False
    #: Beside each embedding, how far the slice below is.
    z_gap: bool = False

    @model_serializer(mode="wrap")
    def _only_what_is_used(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Keys that came later are written where they say something: older bundles keep their bytes, and their hash."""
        content: dict[str, Any] = dump(self)
        return {key: value for key, value in content.items() if key not in _LATER or value != _LATER[key]}


class NetworkSpec(_Strict):
    """The network's architecture; `recurrent=None` is the 2D baseline that reads every slice by itself."""

    #: A name that timm knows.
    backbone: str
    #: "avg" is the paper's; timm's other poolings by their names.
    global_pool: str = "avg"
    in_channels: int = Field(default=3, ge=1, le=16)
    recurrent: RecurrentSpec | None = RecurrentSpec()
    classes: int = Field(default=len(CLASSES), ge=1)

    @field_validator("recurrent", mode="before")
    @classmethod
    def _none_in_toml(cls, recurrent: object) -> object:
        """TOML has no null: there, `recurrent = false` is the baseline."""
        return None if recurrent is False else recurrent

    @property
    def architecture(self) -> str:
        """Family name, as reports print it."""
        return "cnn" if self.recurrent is None else "cnn-lstm"


class Calibration(_Strict):
    """Platt scaling of one class at slice level: p = sigmoid(scale * logit + bias)."""

    #: Positive, so that calibration never changes which slice or scan ranks higher.
    scale: float = Field(default=1.0, gt=0.0)
    bias: float = 0.0


class ScanCalibrationSpec(_Strict):
    """From the highest slice to the scan, of one class; `ichd.domain.scan_calibration` says what the numbers mean."""

    growth: float = Field(default=0.0, ge=0.0)
    #: Positive, so that calibration never changes which of two scans of equal length ranks higher.
    scale: float = Field(default=1.0, gt=0.0)
    bias: float = 0.0
    #: (score, probability).
    knots: tuple[tuple[float, Probability], ...] = ()
    scans: int = Field(ge=1)
    patients: int = Field(ge=1)
    prevalence: Probability
    site_prevalence: Probability | None = None

    @field_validator("knots")
    @classmethod
    def _ascending(cls, knots: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        for (x0, p0), (x1, p1) in pairwise(knots):
            if x1 <= x0 or p1 < p0:
                raise ValueError("knots need ascending scores, and probabilities that never fall")
        return knots

    @property
    def rule(self) -> ScanCalibration:
        """As findings use it."""
        return ScanCalibration(**self.model_dump())


class ThresholdSpec(_Strict):
    """Scan-level probabilities from which a class is called present, and below which absent."""

    present_from: Probability = 0.5
    absent_below: Probability = 0.5

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.absent_below > self.present_from:
            raise ValueError("absent_below must not exceed present_from")
        return self


class WeightsSpec(_Strict):
    """How the weights are stored, and which they are to the bit."""

    #: fp16 and int8 are storage only: weights become fp32 at load.
    storage: Literal["fp32", "fp16", "int8"] = "fp16"
    #: Of the file `weights.safetensors`; empty until `save_bundle` has written it.
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")


class Manifest(_Strict):
    """`model.json`: everything a reader of the results, and the engine, must know about a model."""

    format_version: Literal[1] = 1
    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    version: str = Field(min_length=1, max_length=64)
    architecture: Literal["cnn-lstm", "cnn"] = "cnn-lstm"
    network: NetworkSpec
    input: InputSpec = InputSpec()
    #: Names of the network's outputs, in its order; a permutation of `ichd.domain.finding.CLASSES`.
    classes: tuple[str, ...] = CLASSES
    #: By class name; a class without an entry is used as it is.
    calibration: dict[str, Calibration] = Field(default_factory=dict)
    #: By class name; a class without an entry has the probability of its highest slice. Not written where empty.
    scan_calibration: dict[str, ScanCalibrationSpec] = Field(default_factory=dict)
    #: By class name, of the scan's probability as calibrated; a class without an entry uses the defaults.
    thresholds: dict[str, ThresholdSpec] = Field(default_factory=dict)
    max_key_slices: int = Field(default=3, ge=1, le=20)
    intended_use: str = Field(min_length=1)
    training_data: str = Field(min_length=1)
    #: Measured on held-out data; names say on which.
    metrics: dict[str, Metric | dict[str, Metric]] = Field(default_factory=dict)
    licence: str = Field(min_length=1)
    #: Stands in every report, e.g. "trained on synthetic data: demonstration only".
    statement: str = ""
    #: Results leave this machine only if the settings allow it.
    demonstration: bool = False
    #: What `model.precision = "auto"` may go down to; fp32 where probabilities suffer from less, or little is gained.
    least_precision: Literal["fp32", "bf16"] = "bf16"
    weights: WeightsSpec = WeightsSpec()

    @field_validator("classes")
    @classmethod
    def _known_classes(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if sorted(classes) != sorted(CLASSES):
            raise ValueError(f"classes must be these six in the network's order: {', '.join(CLASSES)}")
        return classes

    @field_validator("calibration", "scan_calibration", "thresholds")
    @classmethod
    def _known_keys(cls, by_class: dict[str, ByClass]) -> dict[str, ByClass]:
        unknown = sorted(set(by_class) - set(CLASSES))
        if unknown:
            raise ValueError(f"unknown class {', '.join(unknown)}; known are {', '.join(CLASSES)}")
        return by_class

    @field_validator("scan_calibration")
    @classmethod
    def _any_first(cls, by_class: dict[str, ScanCalibrationSpec]) -> dict[str, ScanCalibrationSpec]:
        if by_class and CLASSES[0] not in by_class:
            raise ValueError(f"{CLASSES[0]!r} decides triage and must be calibrated where anything is")
        return by_class

    @model_serializer(mode="wrap")
    def _only_what_is_used(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A key that came later is written where it says something: older bundles keep their bytes, and their hash."""
        content: dict[str, Any] = dump(self)
        return {key: value for key, value in content.items() if key != "scan_calibration" or value}

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if self.architecture != self.network.architecture:
            raise ValueError(f"architecture is {self.architecture!r} but the network is {self.network.architecture!r}")
        if self.network.in_channels != len(self.input.windows):
            raise ValueError(f"the network has {self.network.in_channels} channels, {len(self.input.windows)} windows")
        if self.network.classes != len(self.classes):
            raise ValueError(f"the network has {self.network.classes} outputs, {len(self.classes)} classes are named")
        return self

    @property
    def identity(self) -> ModelIdentity:
        """Which model speaks, for findings and reports."""
        return ModelIdentity(
            name=self.name,
            version=self.version,
            weights_sha256=self.weights.sha256,
            bundle_sha256=hashlib.sha256(self.to_json().encode()).hexdigest(),
            statement=self.statement,
            demonstration=self.demonstration,
        )

    @property
    def rule(self) -> ReadingRule:
        """How this model's slice probabilities become a finding."""
        thresholds = {
            name: Threshold(present_from=t.present_from, absent_below=t.absent_below)
            for name, t in self.thresholds.items()
        }
        return ReadingRule(
            thresholds=thresholds,
            scan_calibrations={name: spec.rule for name, spec in self.scan_calibration.items()},
            max_key_slices=self.max_key_slices,
        )

    def to_json(self) -> str:
        """The text of `model.json`: the same manifest always gives the same bytes."""
        return self.model_dump_json(indent=2) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a bundle; its weights are not looked at.

    Raises:
        UserError: there is no bundle at `folder`.
        Permanent: MODEL_UNUSABLE, `model.json` says something that this version can't follow.
    """
    path = folder / MANIFEST_NAME
    if not path.is_file():
        raise UserError(f"{folder} holds no {MANIFEST_NAME}; give the folder of a model bundle")
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'the file'}: {problem['msg']}"
            for problem in error.errors(include_url=False)[:5]
        )
        raise Permanent(Reason.MODEL_UNUSABLE, f"{path}: {problems}; correct the file or export it again") from error
