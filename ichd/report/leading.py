"""What a page begins with: the kind that stands for a finding, and the slice that shows it."""

from ichd.domain.finding import CLASSES, ClassFinding, Finding, Presence, SlicePrediction

_WEIGHT = {Presence.PRESENT: 2, Presence.UNDETERMINED: 1, Presence.ABSENT: 0}


def leading_kind(finding: Finding) -> ClassFinding | None:
    """The most probable of the kinds that are called, else of those that are undetermined; None where all are absent.

    `any` is no kind: it says that there is blood, and not how to look for it.
    """
    kinds = [kind for kind in finding.classes[1:] if kind.presence is not Presence.ABSENT]
    return max(kinds, key=lambda kind: (_WEIGHT[kind.presence], kind.probability), default=None)


def top_slice(finding: Finding) -> SlicePrediction:
    """The slice to look at first: the leading kind's best; that of `any` where `any` is called and no kind is.

    Of a scan without key slices the most suspicious one, among equals the middle one, which shows most of the brain.
    """
    any_haemorrhage, leading = finding.classes[0], leading_kind(finding)
    surer = any_haemorrhage.presence is Presence.PRESENT and leading and leading.presence is not Presence.PRESENT
    shown = any_haemorrhage if surer or leading is None else leading
    if shown.key_slices:
        return shown.key_slices[0]
    column = CLASSES.index(shown.name)
    slices = finding.prediction.slices
    highest = max(each.probabilities[column] for each in slices)
    equals = [each for each in slices if each.probabilities[column] == highest]
    return equals[len(equals) // 2]


def slice_numbers(finding: Finding) -> dict[tuple[str, int | None], int]:
    """The number of every slice, counted from 1 at the most inferior one, by image and frame."""
    return {
        (each.sop_instance_uid, each.frame_number): number
        for number, each in enumerate(finding.prediction.slices, start=1)
    }


def marked_slices(finding: Finding) -> tuple[SlicePrediction, ...]:
    """The key slices of all classes, each once, from inferior to superior; none of a healthy head."""
    numbers = slice_numbers(finding)
    named = {key for found in finding.classes for key in found.key_slices}
    return tuple(sorted(named, key=lambda key: numbers[key.sop_instance_uid, key.frame_number]))
