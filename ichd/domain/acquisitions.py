"""Several acquisitions in one stack of images: which belong together, and which repeat one another.

A sequential scan has a number for every rotation, and a head in two halves has two: those belong together. A head that
was scanned again because the patient moved is there twice: only one of the two is read. The numbers of acquisitions say
neither, so places do: acquisitions that lie beside each other are one scan, those on top of each other are repeats.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from ichd.domain.note import Note, Remark
from ichd.domain.placed import coverage_mm, position_mm, positions_mm, repeats, slice_mm, spacing_mm
from ichd.domain.study import InstanceFacts

#: So many images of each place are a time series, and its times are not acquisitions to choose from.
TIME_SERIES_FROM = 5.0
#: Neighbouring acquisitions overlap by a slice or two; a repeat by all of the shorter one.
_REPEAT_FROM_OVERLAP = 0.5
#: Slices that are this much closer than they are thick may be two acquisitions that interlock.
_INTERLOCKED_BELOW = 0.7
_COMPLETE_FROM_COVERAGE = 0.8
_TWICE = 1.8
_ROUNDING_MM = 0.05


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One run through the head."""

    instances: tuple[InstanceFacts, ...]
    #: Which one, and of how many complete ones.
    acquisition: tuple[int, int] = (1, 1)
    notes: tuple[Note, ...] = ()


def passes_of(images: Sequence[InstanceFacts]) -> list[Pass]:
    """The complete runs through the place that the images show, first acquired first; one where nothing was repeated.

    An incomplete repeat after a complete run takes the place of the slices that it repeats: somebody saw that those
    were spoiled. What a run lacks is filled from the others, so that no place is lost.
    """
    whole = [Pass(instances=tuple(images))]
    if not _may_repeat(images):
        return whole
    runs = _joined(_runs(_pieces(images)))
    complete = sorted((run for run in runs if _is_complete(run, images, len(runs))), key=_when)
    if not complete:
        # The numbers make no sense of the places: better every slice once than a part of them.
        return whole
    partial = sorted((run for run in runs if run not in complete), key=_when)
    passes = []
    for index, run in enumerate(complete, 1):
        taken = run
        for part in partial:
            taken = _over(part, taken) if _mends(part, run) else _over(taken, part)
        for other in complete:
            taken = taken if other is run else _over(taken, other)
        passes.append(
            Pass(
                instances=tuple(taken),
                acquisition=(index, len(complete)),
                notes=_left_out(len(images) - len(taken), index, len(complete)),
            )
        )
    return passes


def _left_out(count: int, index: int, complete: int) -> tuple[Note, ...]:
    if count == 0:
        return ()
    read = f"acquisition {index} of {complete} was read" if complete > 1 else "a part was scanned again"
    return (Note(remark=Remark.ACQUISITION_LEFT_OUT, detail=f"{read}, {count} images were not read"),)


def _may_repeat(images: Sequence[InstanceFacts]) -> bool:
    """Whether a place is there twice, or slices lie closer than they are thick; unless it is a time series."""
    times = repeats(images)
    if coverage_mm(images) == 0 or times >= TIME_SERIES_FROM:
        return False
    closest = min(above - below for below, above in pairwise(positions_mm(images)))
    return times > 1 or closest < _INTERLOCKED_BELOW * slice_mm(images)


def _pieces(images: Sequence[InstanceFacts]) -> list[list[InstanceFacts]]:
    """What was reconstructed with one kernel from one acquisition, in the order of kernels and acquisitions.

    Where that holds each place several times, no number tells its acquisitions apart: the first image of each place is
    of the first, the second of the second.
    """
    numbered = sorted(images, key=lambda i: (_kernel_and_number(i), _order(i)))
    pieces: list[list[InstanceFacts]] = []
    for _, group in groupby(numbered, key=_kernel_and_number):
        piece = list(group)
        if repeats(piece) < _TWICE:
            pieces.append(piece)
            continue
        turns: dict[float, int] = {}
        times: dict[int, list[InstanceFacts]] = {}
        for image in piece:
            place = round(position_mm(image) or 0.0, 1)
            turns[place] = turns.get(place, -1) + 1
            times.setdefault(turns[place], []).append(image)
        pieces.extend(times[turn] for turn in sorted(times))
    return sorted(pieces, key=lambda p: (p[0].convolution_kernel, _order(p[0])))


def _kernel_and_number(image: InstanceFacts) -> tuple[str, int]:
    return (image.convolution_kernel, -1 if image.acquisition_number is None else image.acquisition_number)


def _order(image: InstanceFacts) -> tuple[str, int, int, str, int]:
    return (
        image.acquisition_datetime,
        -1 if image.acquisition_number is None else image.acquisition_number,
        -1 if image.instance_number is None else image.instance_number,
        image.sop_instance_uid,
        image.frame_number or 0,
    )


def _runs(pieces: Sequence[list[InstanceFacts]]) -> list[list[InstanceFacts]]:
    """Pieces of one kernel joined as long as the table moves on in one direction."""
    runs: list[list[InstanceFacts]] = []
    direction = 0
    for piece in pieces:
        step = _beyond(piece, runs[-1]) if runs else 0
        same_kernel = runs and piece[0].convolution_kernel == runs[-1][0].convolution_kernel
        if same_kernel and step != 0 and direction in (0, step):
            runs[-1].extend(piece)
            direction = step
        else:
            runs.append(list(piece))
            direction = 0
    return runs


def _beyond(piece: Sequence[InstanceFacts], run: Sequence[InstanceFacts]) -> int:
    """1 or -1 where a piece lies above or below a run, each at least with its middle clear of the other; else 0."""
    ours, theirs = positions_mm(piece), positions_mm(run)
    above = _middle(ours) > theirs[-1] and _middle(theirs) < ours[0]
    below = _middle(ours) < theirs[0] and _middle(theirs) > ours[-1]
    return int(above) - int(below)


def _middle(positions: Sequence[float]) -> float:
    return (positions[0] + positions[-1]) / 2


def _joined(runs: Sequence[list[InstanceFacts]]) -> list[list[InstanceFacts]]:
    """Each run added to the first others that it lies beside."""
    joined: list[list[InstanceFacts]] = []
    for run in runs:
        beside = next((other for other in joined if _overlap(run, other) < _REPEAT_FROM_OVERLAP), None)
        if beside is None:
            joined.append(list(run))
        else:
            beside.extend(run)
    return joined


def _overlap(a: Sequence[InstanceFacts], b: Sequence[InstanceFacts]) -> float:
    """Shared length as a part of the shorter one's."""
    (a_low, a_high), (b_low, b_high) = _extent(a), _extent(b)
    shared = min(a_high, b_high) - max(a_low, b_low)
    return shared / max(min(a_high - a_low, b_high - b_low), 1e-6)


def _extent(images: Sequence[InstanceFacts]) -> tuple[float, float]:
    positions, half = positions_mm(images), max(slice_mm(images), 0.1) / 2
    return positions[0] - half, positions[-1] + half


def _is_complete(run: Sequence[InstanceFacts], images: Sequence[InstanceFacts], runs: int) -> bool:
    """Whether a run covers nearly all that is there, as densely as its share of the places allows."""
    covers = coverage_mm(run) >= _COMPLETE_FROM_COVERAGE * coverage_mm(images)
    return covers and len(positions_mm(run)) * runs >= _COMPLETE_FROM_COVERAGE * len(positions_mm(images))


def _mends(part: Sequence[InstanceFacts], run: Sequence[InstanceFacts]) -> bool:
    return _when(part) > _when(run) and part[0].convolution_kernel == run[0].convolution_kernel


def _over(above: Sequence[InstanceFacts], below: Sequence[InstanceFacts]) -> list[InstanceFacts]:
    """One run, and of another the slices whose place it does not hold."""
    held = positions_mm(above)
    reach = min(filter(None, (spacing_mm(above), spacing_mm(below))), default=0.0) / 2 + _ROUNDING_MM
    return [*above, *(i for i in below if all(abs((position_mm(i) or 0.0) - p) > reach for p in held))]


def _when(images: Sequence[InstanceFacts]) -> tuple[str, int, int, str, int]:
    return min(map(_order, images))
