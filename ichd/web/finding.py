"""What the model said of a study, as plain values."""

from dataclasses import dataclass

from ichd.domain.finding import CLASSES, ClassFinding, Finding, ModelIdentity
from ichd.domain.wording import class_label, meaning_of_probabilities, percent
from ichd.web.strips import Strip, strip_of
from ichd.web.words import Badge, presence_badge, timing


@dataclass(frozen=True, kw_only=True)
class KeySlice:
    """A slice that carries a finding."""

    #: Counted from 1 at the most inferior slice.
    number: int
    z_mm: float
    text: str
    sop_uid: str
    #: Of a multi-frame image, counted from 1; None where the image is the slice.
    frame_number: int | None


@dataclass(frozen=True, kw_only=True)
class ClassLine:
    """One kind of haemorrhage in the findings table."""

    label: str
    probability: float
    text: str
    badge: Badge
    present_from: float
    absent_below: float
    key_slices: tuple[KeySlice, ...]
    strip: Strip


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the model said about the series that was read."""

    model: ModelIdentity
    series_uid: str
    slices: int
    #: What the scan's probabilities mean.
    meaning: str
    classes: tuple[ClassLine, ...]
    #: The key slices of all classes, in their order in the stack, each once.
    key_slices: tuple[KeySlice, ...]
    timings: tuple[tuple[str, str], ...]
    #: What was peculiar about the series and did not keep it from being read.
    notes: tuple[str, ...]


def reading_of(finding: Finding) -> Reading:
    """The reading behind a finding."""
    prediction = finding.prediction
    classes = tuple(_class_line(finding, c) for c in finding.classes)
    # The first class that names a slice gives its probability: that of any haemorrhage, mostly.
    keys = {key.number: key for line in reversed(classes) for key in line.key_slices}
    return Reading(
        model=prediction.model,
        series_uid=prediction.series_instance_uid,
        slices=len(prediction.slices),
        meaning=meaning_of_probabilities(finding),
        classes=classes,
        key_slices=tuple(keys[number] for number in sorted(keys)),
        timings=tuple(timing(name, ms) for name, ms in prediction.timings_ms.items()),
        notes=tuple(map(str, prediction.notes)),
    )


def _class_line(finding: Finding, found: ClassFinding) -> ClassLine:
    index = CLASSES.index(found.name)
    numbers = {(s.sop_instance_uid, s.frame_number): n for n, s in enumerate(finding.prediction.slices, start=1)}
    return ClassLine(
        label=class_label(found.name),
        probability=found.probability,
        text=percent(found.probability),
        badge=presence_badge(found.presence),
        present_from=found.threshold.present_from,
        absent_below=found.threshold.absent_below,
        key_slices=tuple(
            KeySlice(
                number=numbers[s.sop_instance_uid, s.frame_number],
                z_mm=s.z_mm,
                text=percent(s.probabilities[index]),
                sop_uid=s.sop_instance_uid,
                frame_number=s.frame_number,
            )
            for s in found.key_slices
        ),
        strip=strip_of(finding, found),
    )
