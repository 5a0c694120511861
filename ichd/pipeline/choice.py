"""Which stack of a study is read: headers decide first, then a look at the pixels of those that could win.

A stack that its headers would let pass and that misses an image, since retention has dropped it, is none to read: of a
head that lacks its middle the model would speak as of a whole one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

from ichd.domain.errors import NotAnalysable
from ichd.domain.image_file import AnyImage, Bring, all_here
from ichd.domain.placed import position_mm
from ichd.domain.reason import Reason
from ichd.domain.refusal import Refusal, SelectionPolicy
from ichd.domain.selection import Candidate, Ranked, best_first, notes_on, ranking_of, select_series
from ichd.domain.stacks import Stack
from ichd.domain.study import MULTI_FRAME_CT, InstanceFacts, StudyFacts
from ichd.vision.frames import frame_facts
from ichd.vision.headness import SECTIONS_LOOKED_AT, require_head
from ichd.vision.quality import inspect, require_hounsfield
from ichd.vision.scan import HeadScan, SliceSource, load_scan

Files = Mapping[str, AnyImage]


@dataclass(frozen=True, kw_only=True)
class Unfolded:
    """A study with each frame of a multi-frame image in place of the image."""

    facts: StudyFacts
    #: Of images whose frames can't be told apart, or are not here, by SOP Instance UID: they stay whole, and no rule
    #: lets them pass.
    damaged: Mapping[str, Refusal]


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The stack to read."""

    candidate: Candidate
    scan: HeadScan
    #: Milliseconds for headers and looks (choose), and for the pixels of the whole stack (decode).
    timings_ms: Mapping[str, float]


class Choice:
    """The stacks of one study on their way to a decision; `files` by SOP Instance UID, without those dropped."""

    def __init__(
        self, study: Unfolded, files: Files, policy: SelectionPolicy, *, head_only: bool, bring: Bring = all_here
    ) -> None:
        self._files = files
        self._bring = bring
        self._head_only = head_only
        self._chosen: Candidate | None = None
        selection = select_series(study.facts, policy, pixels_to_come=head_only)
        readable = [replace(c, refusal=_dropped(c.stack.instances, files)) for c in selection.candidates]
        self._open = [c for c in readable if c.refusal is None]
        self._closed = [c for c in readable if c.refusal is not None]
        self._closed += [
            replace(c, refusal=study.damaged.get(c.stack.instances[0].sop_instance_uid, c.refusal))
            for c in selection.refused
        ]

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """All stacks, with what is known of them by now; those that may be read first, best first."""
        return (*self._open, *self._closed)

    @property
    def ranking(self) -> tuple[Ranked, ...]:
        """Every stack with its place, once the choice is settled."""
        return ranking_of(self._chosen, self.candidates)

    def settle(self) -> Chosen | None:
        """The best stack whose pixels can be read; None where there is none."""
        started = perf_counter()
        while (best := self._best()) is not None:
            found = perf_counter()
            try:
                scan = load_stack(best.stack, self._files, head_only=self._head_only, bring=self._bring)
            except NotAnalysable as refusal:
                self._open.remove(best)
                self._closed.append(_refused(best, refusal))
                continue
            self._chosen = best
            timings_ms = {"choose": (found - started) * 1e3, "decode": (perf_counter() - found) * 1e3}
            return Chosen(candidate=best, scan=scan, timings_ms=timings_ms)
        return None

    def _best(self) -> Candidate | None:
        """By its header a stack has at least the points that its pixels leave it.

        So the first in order is the best as soon as it was looked at: of ten series, one is looked at as a rule.
        """
        while self._head_only and self._open and self._open[0].evidence is None:
            first = self._open.pop(0)
            try:
                sections = load_sections(first.stack, self._files, self._bring)
                require_hounsfield(sections)
                evidence = require_head(sections)
            except NotAnalysable as refusal:
                self._closed.append(_refused(first, refusal))
            else:
                seen = replace(first, score=first.score.with_pixels(evidence), evidence=evidence)
                self._open = list(best_first([seen, *self._open]))
        return self._open[0] if self._open else None


def _dropped(images: Sequence[InstanceFacts], files: Files) -> Refusal | None:
    """Why images that are not all here can't be read."""
    gone = sum(image.sop_instance_uid not in files for image in images)
    return Refusal(reason=Reason.IMAGES_DROPPED, detail=f"{gone} of {len(images)} images") if gone else None


def _refused(candidate: Candidate, refusal: NotAnalysable) -> Candidate:
    return replace(candidate, refusal=Refusal(reason=refusal.reason, detail=refusal.detail))


def unfold(study: StudyFacts, files: Files, bring: Bring = all_here) -> Unfolded:
    """Read the frames of a study's multi-frame images."""
    damaged: dict[str, Refusal] = {}

    def frames_of(image: InstanceFacts) -> tuple[InstanceFacts, ...]:
        if image.number_of_frames == 1 and image.sop_class_uid not in MULTI_FRAME_CT:
            return (image,)
        dropped = _dropped([image], files)
        if dropped is not None:
            damaged[image.sop_instance_uid] = dropped
            return (image,)
        try:
            bring([image.sop_instance_uid])
            return frame_facts(files[image.sop_instance_uid], image)
        except NotAnalysable as refusal:
            damaged[image.sop_instance_uid] = Refusal(reason=refusal.reason, detail=refusal.detail)
            return (image,)

    series = tuple(
        replace(s, instances=tuple(frame for image in s.instances for frame in frames_of(image))) for s in study.series
    )
    return Unfolded(facts=replace(study, series=series), damaged=damaged)


def load_stack(stack: Stack, files: Files, *, head_only: bool, bring: Bring = all_here) -> HeadScan:
    """The scan of a stack, with the notes on its choice and its quality.

    Raises:
        NotAnalysable: the pixels can't be decoded, form no scan, or (with `head_only`) show too little of a head.
    """
    scan = load_images(stack.instances, files, bring)
    inspection = inspect(scan)
    if head_only:
        inspection.require()
    return replace(scan, notes=(*notes_on(stack), *scan.notes, *inspection.notes))


def load_sections(stack: Stack, files: Files, bring: Bring = all_here) -> HeadScan:
    """A few of its slices, from end to end, as if they were all.

    Raises:
        NotAnalysable: they form no scan.
    """
    ordered = sorted(stack.instances, key=lambda i: (position_mm(i) or 0.0, i.sop_instance_uid))
    count = min(len(ordered), SECTIONS_LOOKED_AT)
    last = max(count - 1, 1)
    return load_images([ordered[round(n * (len(ordered) - 1) / last)] for n in range(count)], files, bring)


def load_images(images: Sequence[InstanceFacts], files: Files, bring: Bring = all_here) -> HeadScan:
    """The scan that some images form.

    Raises:
        NotAnalysable: they form none.
    """
    bring([i.sop_instance_uid for i in images])
    return load_scan([SliceSource(path=files[i.sop_instance_uid], frame_number=i.frame_number) for i in images])
