"""Reading one study: choose the series, see it, conclude; no database, so that `ichd predict` does the same."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ichd.domain.finding import Finding, Prediction, ReadingRule, conclude
from ichd.domain.image_file import AnyImage, Bring, all_here
from ichd.domain.reason import Reason
from ichd.domain.refusal import SelectionPolicy
from ichd.domain.selection import Ranked, skipped_by
from ichd.domain.study import SkippedSeries, StudyFacts
from ichd.pipeline.choice import Choice, unfold
from ichd.vision.scan import HeadScan

#: What makes a prediction of a scan: `Reader.read`, or something that has seen parts of it before.
See = Callable[[HeadScan], Prediction]


@dataclass(frozen=True, kw_only=True)
class ReadingPolicy:
    """Which series may be read."""

    selection: SelectionPolicy
    require_head: bool


@dataclass(frozen=True, kw_only=True)
class ReadStudy:
    """A study that was read: its finding, and the series that were left out."""

    finding: Finding
    skipped: tuple[SkippedSeries, ...]
    ranking: tuple[Ranked, ...]


@dataclass(frozen=True, kw_only=True)
class UnreadStudy:
    """A study that the model must not speak about."""

    reason: Reason
    detail: str
    skipped: tuple[SkippedSeries, ...]
    ranking: tuple[Ranked, ...]


def read_study(
    study: StudyFacts,
    files: Mapping[str, AnyImage],
    see: See,
    rule: ReadingRule,
    policy: ReadingPolicy,
    *,
    bring: Bring = all_here,
) -> ReadStudy | UnreadStudy:
    """Read the best series of a study whose pixels can be read; `files` by SOP Instance UID, without those dropped."""
    unfolded = unfold(study, files, bring)
    choice = Choice(unfolded, files, policy.selection, head_only=policy.require_head, bring=bring)
    chosen = choice.settle()
    ranking = choice.ranking
    skipped = skipped_by(ranking)
    if chosen is None:
        reason, detail = why_unread(skipped)
        return UnreadStudy(reason=reason, detail=detail, skipped=skipped, ranking=ranking)
    finding = read_scan(chosen.scan, see, rule, timings_ms=chosen.timings_ms)
    return ReadStudy(finding=finding, skipped=skipped, ranking=ranking)


def read_scan(scan: HeadScan, see: See, rule: ReadingRule, *, timings_ms: Mapping[str, float]) -> Finding:
    """What the model concludes about a scan; the timings of what came before join its own."""
    prediction = see(scan)
    timed = replace(prediction, timings_ms={**timings_ms, **prediction.timings_ms})
    return conclude(timed, rule)


def why_unread(skipped: Sequence[SkippedSeries]) -> tuple[Reason, str]:
    """The reason of a whole study: that of its series where they agree, else the list of them.

    A series that could be read if only its images were here outweighs all others: whoever sends it again has a finding.
    """
    if not skipped:
        # A study exists because an image arrived; without any that is read, all were taken for others' duplicates.
        return Reason.CONFLICTING_DUPLICATE, "every image of the study"
    dropped = [s for s in skipped if s.reason is Reason.IMAGES_DROPPED]
    if dropped:
        return Reason.IMAGES_DROPPED, dropped[0].detail
    reasons = {s.reason for s in skipped}
    if len(reasons) == 1:
        return skipped[0].reason, skipped[0].detail
    return Reason.NO_READABLE_SERIES, f"{len(skipped)} series: {', '.join(sorted(reasons))}"
