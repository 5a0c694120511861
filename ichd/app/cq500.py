"""Reading a study of CQ500 as the daemon would: its headers, its choice of series, its pixels, its model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ichd.app.predict import Gathered, gather, group
from ichd.domain.contrast import has_contrast
from ichd.domain.errors import NotAnalysable, UserError
from ichd.domain.kernel import is_sharp
from ichd.domain.placed import coverage_mm, slice_mm
from ichd.domain.reason import Reason
from ichd.domain.refusal import Refusal
from ichd.domain.selection import Candidate, skipped_by
from ichd.domain.stacks import Stack
from ichd.domain.study import SkippedSeries, StudyFacts
from ichd.pipeline.choice import Choice, Unfolded, load_sections, load_stack, unfold
from ichd.pipeline.reading import ReadingPolicy, why_unread
from ichd.vision.headness import require_head
from ichd.vision.quality import require_hounsfield
from ichd.vision.reader import Reader
from ichd.vision.scan import HeadScan
from training.cases.cq500 import Cq500, DamagedArchive, Scan
from training.evaluation.cq500 import CaseReading, SeriesLine
from training.measures.basic import Flags, Floats

#: How a series is chosen. "daemon" is the product; the others show how much hangs on it: the thinnest or the thickest
#: plain one with a soft kernel, and whatever readable one has the lowest number, as who takes the first folder would.
CHOICES: tuple[str, ...] = ("daemon", "thin", "thick", "first")

_Identity = tuple[str, int | None]
_Order = Callable[[Candidate], tuple[object, ...]]


@dataclass(frozen=True, kw_only=True)
class _Settled:
    """Which series of a study is read, and why the others are not."""

    chosen: _Identity | None
    scan: HeadScan | None
    #: By series and stack, what speaks against each that is not read.
    against: Mapping[_Identity, Refusal]
    order: tuple[Stack, ...]
    #: Of the study, where none is read.
    unread: tuple[str, str] = ("", "")


def read_cq500(
    data: Cq500, reader: Reader, policy: ReadingPolicy, choices: Sequence[str]
) -> Iterator[dict[str, CaseReading]]:
    """Each study whose truth is known, by each way of choosing; a scan that two ways choose is read once."""
    for scan, read in data.cases:
        yield read_case(scan, read.truth_C, reader, policy, choices)


def read_case(
    scan: Scan, truth_C: Flags, reader: Reader, policy: ReadingPolicy, choices: Sequence[str]
) -> dict[str, CaseReading]:
    """One study by each way of choosing its series; what can't be read says why.

    Raises:
        UserError: there is no room to unpack it.
    """
    try:
        with scan.folder() as folder:
            return _read_folder(folder, scan.name, truth_C, reader, policy, choices)
    except DamagedArchive as damage:
        lost = CaseReading(name=scan.name, truth_C=truth_C, reason="damaged_archive", detail=str(damage))
        return dict.fromkeys(choices, lost)


def _read_folder(
    folder: Path, name: str, truth_C: Flags, reader: Reader, policy: ReadingPolicy, choices: Sequence[str]
) -> dict[str, CaseReading]:
    try:
        gathered = gather([folder])
    except UserError:
        # Whoever holds 491 studies wants to hear of this one at the end, and not to start again.
        lost = CaseReading(name=name, truth_C=truth_C, reason="no_images", detail="no readable DICOM image in it")
        return dict.fromkeys(choices, lost)
    unfolded = unfold(_as_one_study(gathered), gathered.files)
    known: dict[_Identity, tuple[Floats, int]] = {}
    cases = {}
    for choice in choices:
        settled = _settle(choice, unfolded, gathered, policy)
        if settled.chosen is not None and settled.scan is not None and settled.chosen not in known:
            prediction = reader.read(settled.scan)
            p_SC = np.array([s.probabilities for s in prediction.slices], dtype=np.float64)
            known[settled.chosen] = (p_SC.max(axis=0), len(settled.scan.hu_SHW))
        p_C, slices = known[settled.chosen] if settled.chosen is not None else (None, 0)
        cases[choice] = CaseReading(
            name=name,
            truth_C=truth_C,
            p_C=p_C,
            slices=slices,
            reason=settled.unread[0],
            detail=settled.unread[1],
            series=tuple(_line(stack, settled) for stack in settled.order),
        )
    return cases


def _as_one_study(gathered: Gathered) -> StudyFacts:
    """The reads are of a folder: where anonymisation gave its series several studies, they are one here."""
    studies = group(gathered.facts)
    series = tuple(one for study in studies for one in study.series)
    return StudyFacts(study_instance_uid=studies[0].study_instance_uid, series=series)


def _settle(choice: str, unfolded: Unfolded, gathered: Gathered, policy: ReadingPolicy) -> _Settled:
    if choice == "daemon":
        return _as_the_daemon(unfolded, gathered, policy)
    return _in_order(_ORDERS[choice], choice, unfolded, gathered, policy)


def _as_the_daemon(unfolded: Unfolded, gathered: Gathered, policy: ReadingPolicy) -> _Settled:
    choice = Choice(unfolded, gathered.files, policy.selection, head_only=policy.require_head)
    chosen = choice.settle()
    ranking = choice.ranking
    stacks = {_identity(c.stack): c.stack for c in choice.candidates}
    return _Settled(
        chosen=_identity(chosen.candidate.stack) if chosen else None,
        scan=chosen.scan if chosen else None,
        against={(r.series_instance_uid, r.stack): r.refusal for r in ranking if r.refusal is not None},
        order=tuple(stacks[r.series_instance_uid, r.stack] for r in ranking),
        unread=_words(skipped_by(ranking)) if chosen is None else ("", ""),
    )


def _in_order(order: _Order, choice: str, unfolded: Unfolded, gathered: Gathered, policy: ReadingPolicy) -> _Settled:
    """The first in this order whose pixels pass what the daemon asks of them."""
    candidates = Choice(unfolded, gathered.files, policy.selection, head_only=policy.require_head).candidates
    against = {_identity(c.stack): c.refusal for c in candidates if c.refusal is not None}
    readable = sorted((c for c in candidates if c.refusal is None), key=order)
    chosen, scan = None, None
    for candidate in readable:
        if scan is not None:
            against[_identity(candidate.stack)] = Refusal(
                reason=Reason.RANKED_LOWER, detail=f"another comes before it by --series {choice}"
            )
            continue
        try:
            scan = _load(candidate.stack, gathered, policy)
        except NotAnalysable as refusal:
            against[_identity(candidate.stack)] = Refusal(reason=refusal.reason, detail=refusal.detail)
        else:
            chosen = _identity(candidate.stack)
    stacks = [c.stack for c in (*readable, *(c for c in candidates if c.refusal is not None))]
    refused = [
        SkippedSeries(series_instance_uid=uid, reason=refusal.reason, detail=refusal.detail)
        for (uid, _), refusal in against.items()
    ]
    return _Settled(
        chosen=chosen,
        scan=scan,
        against=against,
        order=tuple(sorted(stacks, key=lambda s: _identity(s) != chosen)),
        unread=_words(refused) if chosen is None else ("", ""),
    )


def _load(stack: Stack, gathered: Gathered, policy: ReadingPolicy) -> HeadScan:
    if policy.require_head:
        sections = load_sections(stack, gathered.files)
        require_hounsfield(sections)
        require_head(sections)
    return load_stack(stack, gathered.files, head_only=policy.require_head)


def _by_thickness(sign: int) -> _Order:
    """Thickness alone is varied: no contrast agent and a soft kernel come first, as they do for the daemon."""

    def order(candidate: Candidate) -> tuple[object, ...]:
        images = candidate.stack.instances
        sharp = any(is_sharp(i.convolution_kernel, i.series_description) for i in images)
        thickness = round(slice_mm(images), 2)
        return (has_contrast(images), sharp, sign * thickness, -candidate.score.total, *_tie(candidate.stack))

    return order


def _by_number(candidate: Candidate) -> tuple[object, ...]:
    numbers = [i.series_number for i in candidate.stack.instances if i.series_number is not None]
    return (min(numbers, default=2**31), *_tie(candidate.stack))


_ORDERS: Mapping[str, _Order] = {"thin": _by_thickness(1), "thick": _by_thickness(-1), "first": _by_number}


def _tie(stack: Stack) -> tuple[str, int]:
    return (stack.series_instance_uid, stack.number or 0)


def _identity(stack: Stack) -> _Identity:
    return (stack.series_instance_uid, stack.number)


def _words(skipped: Sequence[SkippedSeries]) -> tuple[str, str]:
    reason, detail = why_unread(skipped)
    return (str(reason), detail)


def _line(stack: Stack, settled: _Settled) -> SeriesLine:
    images, first = stack.instances, stack.instances[0]
    refusal = settled.against.get(_identity(stack))
    return SeriesLine(
        series_uid=stack.series_instance_uid,
        stack=stack.number,
        series_number=first.series_number,
        description=first.series_description,
        kernel=first.convolution_kernel,
        images=len(images),
        thickness_mm=round(slice_mm(images), 2),
        coverage_mm=round(coverage_mm(images), 1),
        contrast=has_contrast(images),
        read=_identity(stack) == settled.chosen,
        reason=str(refusal.reason) if refusal else "",
        detail=refusal.detail if refusal else "",
    )
