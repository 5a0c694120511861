"""From probabilities to a finding: scan level, presence, key slices, triage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby

from ichd.domain.errors import Permanent
from ichd.domain.geometry import holes
from ichd.domain.note import Note, Remark
from ichd.domain.reason import Reason
from ichd.domain.scan_calibration import ScanCalibration

#: Slices that are not there, or were not read: blood may be on them.
_NEVER_ROUTINE = frozenset({Remark.SLICES_MISSING, Remark.SLICES_SPOILED, Remark.IMAGES_LEFT_OUT})

#: The network's outputs, in its order (the published model's own).
CLASSES: tuple[str, ...] = (
    "any",
    "intraparenchymal",
    "intraventricular",
    "subarachnoid",
    "subdural",
    "epidural",
)


class Presence(StrEnum):
    """Whether the model calls a kind of haemorrhage."""

    PRESENT = "present"
    ABSENT = "absent"
    UNDETERMINED = "undetermined"


class Triage(StrEnum):
    """What the worklist should do with the study."""

    URGENT = "urgent"
    ROUTINE = "routine"
    INDETERMINATE = "indeterminate"


@dataclass(frozen=True, kw_only=True)
class ModelIdentity:
    """Which model spoke, to the bit."""

    name: str
    version: str
    weights_sha256: str
    #: sha256 over the whole bundle, thresholds and calibration included: other thresholds are another reader, whose
    #: reports must not pass for this one's.
    bundle_sha256: str
    #: One sentence that stands in every report, e.g. "trained on synthetic data: demonstration only".
    statement: str = ""
    #: A demonstration model's results leave this machine only if the settings allow it.
    demonstration: bool = False


@dataclass(frozen=True, kw_only=True)
class SlicePrediction:
    """The six probabilities of one slice, in the order of `CLASSES`."""

    sop_instance_uid: str
    sop_class_uid: str
    #: Position along the slice normal, mm, growing to the head.
    z_mm: float
    probabilities: tuple[float, ...]
    #: Of a slice in a multi-frame image, counted from 1; None where the image is the slice.
    frame_number: int | None = None


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the model says about one series: a row a slice, from inferior to superior."""

    study_instance_uid: str
    series_instance_uid: str
    model: ModelIdentity
    slices: tuple[SlicePrediction, ...]
    #: What was noticed about the input and survived.
    notes: tuple[Note, ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """Scan-level probabilities from which a class is called; between the two it is undetermined."""

    present_from: float = 0.5
    absent_below: float = 0.5


@dataclass(frozen=True, kw_only=True)
class ReadingRule:
    """How slice probabilities become a finding; part of the model bundle."""

    #: By class name; a class without an entry uses the default of `Threshold`.
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
    #: By class name; a class without an entry has the probability of its highest slice.
    scan_calibrations: Mapping[str, ScanCalibration] = field(default_factory=dict)
    #: At most this many slices are named as evidence of a class.
    max_key_slices: int = 3


@dataclass(frozen=True, kw_only=True)
class ClassFinding:
    """One kind of haemorrhage in one scan."""

    name: str
    #: Scan level: what the bundle's calibration makes of the highest slice; without one, just that (the published rule
    #: for CQ500).
    probability: float
    #: The maximum over the slices.
    highest_slice: float
    #: None where `probability` is that of the highest slice.
    calibration: ScanCalibration | None
    threshold: Threshold
    #: The same for slices: what the highest one must reach for the scan to be called.
    slice_threshold: Threshold
    presence: Presence
    #: Slices with the highest probability, highest first; empty when the class is absent.
    key_slices: tuple[SlicePrediction, ...]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a report says."""

    prediction: Prediction
    #: In the order of `CLASSES`.
    classes: tuple[ClassFinding, ...]
    triage: Triage

    @property
    def scan(self) -> dict[str, float]:
        """Scan-level probability by class name."""
        return {c.name: c.probability for c in self.classes}


def conclude(prediction: Prediction, rule: ReadingRule) -> Finding:
    """Apply the rule of a model bundle to what the model said.

    Raises:
        ValueError: the prediction has no slices; selection never lets such a series through.
        Permanent: the model gave something else than probabilities; NaN would pass every threshold unseen.
    """
    if not prediction.slices:
        raise ValueError("a prediction without slices has no finding")
    for s in prediction.slices:
        if len(s.probabilities) != len(CLASSES) or not all(0 <= p <= 1 for p in s.probabilities):
            raise Permanent(Reason.MODEL_UNUSABLE, f"slice at {s.z_mm:.1f} mm has outputs {s.probabilities}")
    classes = tuple(_conclude_class(prediction, rule, index) for index in range(len(CLASSES)))
    triage = _triage(classes)
    unseen = any(note.unseen or note.remark in _NEVER_ROUTINE for note in prediction.notes)
    if triage is Triage.ROUTINE and (unseen or holes([s.z_mm for s in prediction.slices])):
        # Blood may lie where no slice is: what was seen is not what there is.
        triage = Triage.INDETERMINATE
    return Finding(prediction=prediction, classes=classes, triage=triage)


def _conclude_class(prediction: Prediction, rule: ReadingRule, index: int) -> ClassFinding:
    threshold = rule.thresholds.get(CLASSES[index], Threshold())
    calibration = rule.scan_calibrations.get(CLASSES[index])
    slabs = _one_of_each_slab(prediction.slices)

    def of_scan(highest: float) -> float:
        return highest if calibration is None else calibration.probability(highest, len(slabs))

    ranked = sorted(slabs, key=lambda s: s.probabilities[index], reverse=True)
    highest = ranked[0].probabilities[index]
    presence = _presence(of_scan(highest), threshold)
    # A slice is evidence if the scan would not be called absent for it alone.
    evidence = [s for s in ranked if of_scan(s.probabilities[index]) >= threshold.absent_below]
    return ClassFinding(
        name=CLASSES[index],
        probability=of_scan(highest),
        highest_slice=highest,
        calibration=calibration,
        threshold=threshold,
        slice_threshold=_of_slices(threshold, calibration, len(slabs)),
        presence=presence,
        key_slices=() if presence is Presence.ABSENT else tuple(evidence[: rule.max_key_slices]),
    )


def _of_slices(threshold: Threshold, calibration: ScanCalibration | None, slices: int) -> Threshold:
    if calibration is None:
        return threshold
    return Threshold(
        present_from=calibration.highest_for(threshold.present_from, slices),
        absent_below=calibration.highest_for(threshold.absent_below, slices),
    )


def _one_of_each_slab(slices: Sequence[SlicePrediction]) -> list[SlicePrediction]:
    """Neighbours with the very same probabilities are thin slices that were read as one slab: the middle one is shown.

    Three key slices of one slab would show the same millimetres three times.
    """
    slabs = [list(slab) for _, slab in groupby(slices, key=lambda s: s.probabilities)]
    return [slab[len(slab) // 2] for slab in slabs]


def _presence(probability: float, threshold: Threshold) -> Presence:
    if probability >= threshold.present_from:
        return Presence.PRESENT
    return Presence.ABSENT if probability < threshold.absent_below else Presence.UNDETERMINED


def _triage(classes: tuple[ClassFinding, ...]) -> Triage:
    """`any` rules; a kind that is called while `any` is not contradicts it, and a person must look."""
    any_haemorrhage, *kinds = classes
    if any_haemorrhage.presence is Presence.PRESENT:
        return Triage.URGENT
    contradicted = any(kind.presence is Presence.PRESENT for kind in kinds)
    if any_haemorrhage.presence is Presence.ABSENT and not contradicted:
        return Triage.ROUTINE
    return Triage.INDETERMINATE
