"""Which series of a study is read, and why the others are not.

Every series falls into stacks (`stacks`), every stack has an account (`ranking`), and a stack that breaks a rule
(`refusal`) is none to read, however good its account. This is decided on headers; pixels are looked at where they are,
and what they show comes back here as evidence. docs/series-choice.md says the same for people.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ichd.domain.contrast import has_contrast
from ichd.domain.image_kind import ImageKind, is_derived
from ichd.domain.kernel import is_sharp
from ichd.domain.note import Note, Remark
from ichd.domain.ranking import PixelEvidence, SeriesScore, deciding, score_of
from ichd.domain.reason import Reason
from ichd.domain.refusal import Refusal, SelectionPolicy, refusal_of
from ichd.domain.stacks import Stack, stacks_of
from ichd.domain.study import SkippedSeries, StudyFacts


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A stack with its account; one with a refusal is not read."""

    stack: Stack
    score: SeriesScore
    refusal: Refusal | None = None
    #: Once its pixels were looked at.
    evidence: PixelEvidence | None = None


@dataclass(frozen=True, kw_only=True)
class Selection:
    """All stacks of a study."""

    #: Those that may be read, best first.
    candidates: tuple[Candidate, ...]
    #: Those that break a rule, best account first.
    refused: tuple[Candidate, ...]


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """One line of the ranking that is kept with the study."""

    series_instance_uid: str
    stack: int | None
    #: Counted from 1; readable ones first.
    rank: int
    read: bool
    score: SeriesScore
    #: Why it was not read; None for the one that was.
    refusal: Refusal | None


def select_series(study: StudyFacts, policy: SelectionPolicy, *, pixels_to_come: bool = True) -> Selection:
    """Sort the stacks of a study; the same images in any order give the same result.

    With `pixels_to_come` the points are what the pixels leave at most, else what headers alone can say.
    """
    candidates = []
    for series in study.series:
        for stack in stacks_of(series):
            refusal = refusal_of(stack.instances, policy)
            score = score_of(stack, pixels_to_come=pixels_to_come)
            candidates.append(Candidate(stack=stack, score=score, refusal=refusal))
    return Selection(
        candidates=best_first([c for c in candidates if c.refusal is None]),
        refused=best_first([c for c in candidates if c.refusal is not None]),
    )


def best_first(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """By their points; UIDs break ties, so that the same study always gives the same choice."""
    return tuple(sorted(candidates, key=lambda c: (-c.score.total, c.stack.series_instance_uid, c.stack.number or 0)))


def ranked_lower(other: Candidate, chosen: Candidate) -> Refusal:
    """Why a stack was not read because another one was."""
    return Refusal(
        reason=Reason.RANKED_LOWER,
        detail=(
            f"{other.score.total:.1f} points; {_name(chosen.stack)} with {chosen.score.total:.1f} is read, "
            f"by {deciding(chosen.score, other.score)}"
        ),
    )


def ranking_of(chosen: Candidate | None, candidates: Sequence[Candidate]) -> tuple[Ranked, ...]:
    """Every stack of a study with its rank: the one that is read, then readable ones, then those with a refusal."""
    others = best_first([c for c in candidates if c is not chosen and c.refusal is None])
    refused = best_first([c for c in candidates if c is not chosen and c.refusal is not None])
    ordered = [*([chosen] if chosen else []), *others, *refused]
    return tuple(
        Ranked(
            series_instance_uid=c.stack.series_instance_uid,
            stack=c.stack.number,
            rank=rank,
            read=c is chosen,
            score=c.score,
            refusal=_why_not(c, chosen),
        )
        for rank, c in enumerate(ordered, 1)
    )


def skipped_by(ranking: Sequence[Ranked]) -> tuple[SkippedSeries, ...]:
    """The series of which nothing is read, each with the reason of its best stack, in the order of the ranking."""
    read = {line.series_instance_uid for line in ranking if line.read}
    skipped: dict[str, SkippedSeries] = {}
    for line in ranking:
        if line.refusal is None or line.series_instance_uid in read:
            continue
        one = SkippedSeries(
            series_instance_uid=line.series_instance_uid, reason=line.refusal.reason, detail=line.refusal.detail
        )
        skipped.setdefault(line.series_instance_uid, one)
    return tuple(skipped.values())


def notes_on(stack: Stack) -> tuple[Note, ...]:
    """What a reader of the finding must know of the images that were chosen."""
    images = stack.instances
    notes = list(stack.notes)
    if has_contrast(images):
        notes.append(Note(remark=Remark.CONTRAST_AGENT))
    sharp = sorted({i.convolution_kernel for i in images if is_sharp(i.convolution_kernel, i.series_description)})
    if sharp:
        notes.append(Note(remark=Remark.SHARP_KERNEL, detail=", ".join(filter(None, sharp[:3]))))
    derived = [i for i in images if stack.kind is ImageKind.REFORMAT or is_derived(i)]
    if derived:
        detail = f"{len(derived)} of {len(images)}, " + "\\".join(derived[0].image_type)
        notes.append(Note(remark=Remark.DERIVED_IMAGES, detail=detail))
    return tuple(notes)


def _why_not(candidate: Candidate, chosen: Candidate | None) -> Refusal | None:
    if candidate is chosen or candidate.refusal is not None or chosen is None:
        return candidate.refusal
    return ranked_lower(candidate, chosen)


def _name(stack: Stack) -> str:
    return f"series {stack.series_instance_uid}" + ("" if stack.number is None else f", stack {stack.number},")
