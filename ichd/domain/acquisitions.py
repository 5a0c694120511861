"""Several acquisitions in one stack of images: which belong together, and which repeat one another.

A sequential scan has a number for every rotation, and a head in two halves has two: those belong together. A head that
was scanned again because the patient moved is there twice: only one of the two is read. The numbers of acquisitions say
neither, so places do: acquisitions that lie beside each other are one scan, those on top of each other are repeats.

Whatever numbers say, no place is lost: a run through the head is completed from what else there is.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from ichd.domain.kernel import is_sharp
from ichd.domain.note import Note, Remark
from ichd.domain.placed import position_mm, positions_mm, repeats, slice_mm, spacing_mm
from ichd.domain.study import InstanceFacts

#: So many images of each place are a time series, and its times are not acquisitions to choose from.
TIME_SERIES_FROM = 5.0
#: Neighbouring acquisitions overlap by a slice or two; a repeat by all of the shorter one.
_REPEAT_FROM_OVERLAP = 0.5
#: Slices that are this much closer than they are thick may be two acquisitions that interlock.
_INTERLOCKED_BELOW = 0.7
#: Share of all places that a run must hold to be read for itself.
_COMPLETE_FROM = 0.8
_TWICE = 1.8
#: So many runs on top of each other are numbers without a meaning.
_MOST_RUNS = 64
_ROUNDING_MM = 0.05

#: What orders images by the time when they were acquired.
Acquired = tuple[str, int, int, str, int]


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One run through the head."""

    instances: tuple[InstanceFacts, ...]
    #: Which one, and of how many complete ones.
    acquisition: tuple[int, int] = (1, 1)
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Slice:
    """An image with what is asked of it again and again."""

    image: InstanceFacts
    z_mm: float
    half_mm: float
    acquired: Acquired


@dataclass(kw_only=True, eq=False)
class _Run:
    """Images of one kernel, and the length that they take up."""

    slices: list[_Slice]
    low_mm: float
    high_mm: float
    half_mm: float

    @classmethod
    def of(cls, slices: Sequence[_Slice]) -> "_Run":
        places = [s.z_mm for s in slices]
        half_mm = max(slice_mm([s.image for s in slices]), 0.1) / 2
        return cls(slices=list(slices), low_mm=min(places), high_mm=max(places), half_mm=half_mm)

    @property
    def kernel(self) -> str:
        return self.slices[0].image.convolution_kernel

    @property
    def middle_mm(self) -> float:
        return (self.low_mm + self.high_mm) / 2

    @property
    def begun(self) -> Acquired:
        return min(s.acquired for s in self.slices)

    def add(self, other: "_Run") -> None:
        self.slices.extend(other.slices)
        self.low_mm, self.high_mm = min(self.low_mm, other.low_mm), max(self.high_mm, other.high_mm)
        self.half_mm = max(self.half_mm, other.half_mm)


def acquired(image: InstanceFacts) -> Acquired:
    """Sorts images by the time when they were acquired, as far as that is known."""
    return (
        image.acquisition_datetime,
        -1 if image.acquisition_number is None else image.acquisition_number,
        -1 if image.instance_number is None else image.instance_number,
        image.sop_instance_uid,
        image.frame_number or 0,
    )


def passes_of(images: Sequence[InstanceFacts]) -> list[Pass]:
    """The complete runs through the place that the images show, first acquired first; one where nothing was repeated.

    An incomplete repeat after a complete run takes the place of the slices that it repeats: somebody saw that those
    were spoiled. What a run lacks is filled from the others. In each pass a place is there once, and none is missing
    but those that lie within a slice of a repeat.
    """
    if not _may_repeat(images):
        return [Pass(instances=tuple(images))]
    slices = _slices(images)
    runs = sorted(_joined(_runs(_pieces(slices))), key=lambda run: run.begun)
    exact = not _follow_one_another(runs)
    complete = [run for run in runs if _is_complete(run, slices, exact=exact)]
    if not complete:
        # The numbers make no sense of the places: better every slice once than a part of them.
        return [Pass(instances=_images(taken := _once(slices)), notes=_repeated(len(slices) - len(taken)))]
    partial = [run for run in runs if run not in complete]
    return [_completed(run, complete, partial, slices, exact=exact) for run in complete]


def _completed(
    run: _Run, complete: Sequence[_Run], partial: Sequence[_Run], slices: Sequence[_Slice], *, exact: bool
) -> Pass:
    mending = [part for part in partial if part.kernel == run.kernel and part.begun > run.begun]
    filling = [part for part in partial if part not in mending]
    taken = _over(_once(_slices_of(mending)), _once(run.slices), exact=exact)
    for others in (filling, *([other] for other in complete if other is not run)):
        taken = _over(taken, _once(_slices_of(others)), exact=exact)
    alike = [other for other in complete if other.kernel == run.kernel]
    # Another kernel is another picture of the same acquisition, and has a pass of its own.
    elsewhere = {id(s) for other in complete if other not in alike for s in other.slices}
    left_out = sum(id(s) not in elsewhere for s in slices) - sum(id(s) not in elsewhere for s in taken)
    if len(alike) == 1 and not partial:
        return Pass(instances=_images(taken), notes=_repeated(left_out))
    index = alike.index(run) + 1
    return Pass(
        instances=_images(taken),
        acquisition=(index, len(alike)),
        notes=_left_out(left_out, index, len(alike)),
    )


def _repeated(count: int) -> tuple[Note, ...]:
    if count == 0:
        return ()
    return (Note(remark=Remark.DUPLICATE_POSITIONS, detail=f"{count}, the latest of each position was read"),)


def _left_out(count: int, index: int, complete: int) -> tuple[Note, ...]:
    if count == 0:
        return ()
    read = f"acquisition {index} of {complete} was read" if complete > 1 else "a part was scanned again"
    not_read = "1 image was not read" if count == 1 else f"{count} images were not read"
    return (Note(remark=Remark.ACQUISITION_LEFT_OUT, detail=f"{read}, {not_read}"),)


def _images(slices: Iterable[_Slice]) -> tuple[InstanceFacts, ...]:
    return tuple(s.image for s in slices)


def _slices_of(runs: Iterable[_Run]) -> list[_Slice]:
    return [s for run in runs for s in run.slices]


def _may_repeat(images: Sequence[InstanceFacts]) -> bool:
    """Whether a place is there twice, or slices lie closer than they are thick; unless it is a time series."""
    places, times = positions_mm(images), repeats(images)
    if len(places) < 2 or times >= TIME_SERIES_FROM:
        return False
    closest = min(above - below for below, above in pairwise(places))
    return times > 1 or closest < _INTERLOCKED_BELOW * slice_mm(images)


def _slices(images: Sequence[InstanceFacts]) -> list[_Slice]:
    """Images at the places of the stack: those within rounding of one another are at one."""
    places = positions_mm(images)
    usual = spacing_mm(images)
    slices = []
    for image in images:
        z_mm = position_mm(image) or 0.0
        index = bisect_left(places, z_mm + 1e-9) - 1
        half_mm = (image.slice_thickness_mm or usual) / 2
        slices.append(_Slice(image=image, z_mm=places[max(index, 0)], half_mm=half_mm, acquired=acquired(image)))
    return slices


def _pieces(slices: Sequence[_Slice]) -> list[list[_Slice]]:
    """What was reconstructed with one kernel from one acquisition, in the order of kernels and acquisitions.

    Where that holds each place several times, no number tells its acquisitions apart: the first image of each place is
    of the first, the second of the second.
    """
    numbered = sorted(slices, key=lambda s: (_kernel_and_number(s), s.acquired))
    pieces: list[list[_Slice]] = []
    for _, group in groupby(numbered, key=_kernel_and_number):
        piece = list(group)
        if len(piece) < _TWICE * len({s.z_mm for s in piece}):
            pieces.append(piece)
            continue
        turns: dict[float, int] = {}
        times: dict[int, list[_Slice]] = {}
        for one in piece:
            turns[one.z_mm] = turns.get(one.z_mm, -1) + 1
            times.setdefault(turns[one.z_mm], []).append(one)
        pieces.extend(times[turn] for turn in sorted(times))
    return sorted(pieces, key=lambda p: (p[0].image.convolution_kernel, p[0].acquired))


def _kernel_and_number(one: _Slice) -> tuple[str, int]:
    number = one.image.acquisition_number
    return (one.image.convolution_kernel, -1 if number is None else number)


def _runs(pieces: Iterable[Sequence[_Slice]]) -> list[_Run]:
    """Pieces of one kernel joined as long as the table moves on in one direction."""
    runs: list[_Run] = []
    direction = 0
    for piece in map(_Run.of, pieces):
        step = _beyond(piece, runs[-1]) if runs and piece.kernel == runs[-1].kernel else 0
        if step != 0 and direction in (0, step):
            runs[-1].add(piece)
            direction = step
        else:
            runs.append(piece)
            direction = 0
    return runs


def _beyond(piece: _Run, run: _Run) -> int:
    """1 or -1 where a piece lies above or below a run, each at least with its middle clear of the other; else 0."""
    above = piece.middle_mm > run.high_mm and run.middle_mm < piece.low_mm
    below = piece.middle_mm < run.low_mm and run.middle_mm > piece.high_mm
    return int(above) - int(below)


def _joined(runs: Iterable[_Run]) -> list[_Run]:
    """Each run added to the first others that it lies beside; none where there are more than anybody scans."""
    joined: list[_Run] = []
    for run in runs:
        if len(joined) > _MOST_RUNS:
            return []
        beside = next((other for other in joined if _overlap(run, other) < _REPEAT_FROM_OVERLAP), None)
        if beside is None:
            joined.append(run)
        else:
            beside.add(run)
    return joined


def _overlap(a: _Run, b: _Run) -> float:
    """Shared length as a part of the shorter one's."""
    a_low, a_high = a.low_mm - a.half_mm, a.high_mm + a.half_mm
    b_low, b_high = b.low_mm - b.half_mm, b.high_mm + b.half_mm
    shared = min(a_high, b_high) - max(a_low, b_low)
    return shared / max(min(a_high - a_low, b_high - b_low), 1e-6)


def _follow_one_another(runs: Iterable[_Run]) -> bool:
    """Whether each run was over before the next one began.

    Then a slice of one may stand for those of another that lie within it. Runs that take turns may be the rows of one
    acquisition, and hold for each other only what lies in the very same place.
    """
    times = [[(s.acquired[0], s.acquired[2]) for s in run.slices] for run in runs]
    spans = sorted((min(when), max(when)) for when in times)
    return all(ended < begun for (_, ended), (begun, _) in pairwise(spans))


def _is_complete(run: _Run, slices: Sequence[_Slice], *, exact: bool) -> bool:
    """Whether the run holds nearly all places."""
    places = {s.z_mm for s in slices}
    within = sum(run.low_mm - run.half_mm <= z_mm <= run.high_mm + run.half_mm for z_mm in places)
    if within < _COMPLETE_FROM * len(places):
        return False
    missing = {s.z_mm for s in _over(run.slices, slices, exact=exact)} - {s.z_mm for s in run.slices}
    return len(places) - len(missing) >= _COMPLETE_FROM * len(places)


def _once(slices: Sequence[_Slice]) -> list[_Slice]:
    """Of each place the latest image, one of a soft kernel before one of a sharp one."""
    latest: dict[float, _Slice] = {}
    for one in sorted(slices, key=lambda s: (not _is_sharp(s.image), s.acquired)):
        latest[one.z_mm] = one
    return list(latest.values())


def _is_sharp(image: InstanceFacts) -> bool:
    return is_sharp(image.convolution_kernel, image.series_description)


def _over(above: Sequence[_Slice], below: Sequence[_Slice], *, exact: bool) -> list[_Slice]:
    """Some slices, and of others those whose place they do not hold: within half a slice, or to the tenth (`exact`)."""
    held = sorted((s.z_mm, 0.0 if exact else s.half_mm) for s in above)

    def is_held(z_mm: float) -> bool:
        at = bisect_left(held, (z_mm,))
        return any(abs(place - z_mm) <= reach + _ROUNDING_MM for place, reach in held[max(at - 1, 0) : at + 1])

    return [*above, *(s for s in below if not is_held(s.z_mm))]
