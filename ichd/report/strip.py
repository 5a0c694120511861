"""The probability strip: every slice of the scan, from inferior to superior, and what the model says of each."""

import math
from collections.abc import Sequence
from itertools import pairwise

from PIL import Image, ImageDraw

from ichd.domain.finding import CLASSES, ClassFinding, Finding, Presence, Threshold
from ichd.domain.wording import class_label
from ichd.report.drawing import (
    INK,
    LINE,
    PLAIN,
    PRESENCE_TONE,
    QUIET,
    SURFACE,
    Colour,
    draw_bars,
    font,
    width_of,
)
from ichd.report.leading import marked_slices, slice_numbers

_GUTTER = 136
_TITLE, _NUMBERS, _TALL, _ROW, _GAP, _AXIS = 24, 22, 72, 18, 4, 26
_BELOW = 8
HEIGHT = _TITLE + _NUMBERS + _TALL + _BELOW + 5 * (_ROW + _GAP) + _AXIS
_TEXT, _SMALL = 14, 13
#: Of the distance to the nearer neighbour, what a bar takes up.
_FULLNESS = 0.84
#: Between two labels.
_BETWEEN = 6
#: Where a scan has one slice, for want of a neighbour.
_LONE_MM = 5.0
_TICKS = (1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500)


class _Axis:
    """Millimetres along the slice normal to pixels of the field."""

    def __init__(self, z_mm: Sequence[float], width: int) -> None:
        gaps = [above - below for below, above in pairwise(z_mm)]
        below, above = [*gaps[:1], *gaps], [*gaps, *gaps[-1:]]
        pairs = zip(below, above, strict=True) if gaps else [(_LONE_MM, _LONE_MM)]
        #: Of each slice, in mm.
        self._halves = [max(min(pair), 0.1) / 2 for pair in pairs]
        self.first, self.last = z_mm[0] - self._halves[0], z_mm[-1] + self._halves[-1]
        self._scale = width / (self.last - self.first)
        self._z_mm = z_mm

    def at(self, mm: float) -> float:
        return (mm - self.first) * self._scale

    def span(self, index: int) -> tuple[float, float]:
        """Left and right end of a slice's bar."""
        z, half = self._z_mm[index], self._halves[index] * _FULLNESS
        return self.at(z - half), self.at(z + half)

    def ticks(self) -> list[int]:
        """Round positions, six or so."""
        length = self.last - self.first
        step = next((each for each in _TICKS if length / each <= 9), _TICKS[-1])
        return [step * n for n in range(math.ceil(self.first / step), math.floor(self.last / step) + 1)]


def draw_strip(page: Image.Image, place: tuple[int, int], width: int, finding: Finding) -> None:
    """Draw it, `width` by `HEIGHT` pixels: `any` large, the five kinds below, key slices numbered above."""
    left, top = place
    draw = ImageDraw.Draw(page)
    slices = finding.prediction.slices
    axis = _Axis([each.z_mm for each in slices], width - _GUTTER)
    x, y = left + _GUTTER, top + _TITLE + _NUMBERS
    draw.text((left, top), "Probability of each slice", INK, font(_TEXT + 2))
    words = f"{len(slices)} slices" + ("; key slices are numbered" if marked_slices(finding) else "")
    draw.text((left + width, top + 2), words, QUIET, font(_TEXT), anchor="ra")
    _draw_field(page, finding, finding.classes[0], axis, (x, y), (width - _GUTTER, _TALL))
    _draw_scale(draw, finding.classes[0], (left, y), width)
    _draw_marks(draw, finding, axis, (x, y), width - _GUTTER)
    y += _TALL + _BELOW
    for kind in finding.classes[1:]:
        _draw_field(page, finding, kind, axis, (x, y), (width - _GUTTER, _ROW))
        draw.text((x - 12, y + _ROW / 2), class_label(kind.name), QUIET, font(_SMALL), anchor="rm")
        y += _ROW + _GAP
    _draw_axis(draw, axis, (x, y), width - _GUTTER)


def _draw_field(
    page: Image.Image, finding: Finding, shown: ClassFinding, axis: _Axis, place: tuple[int, int], size: tuple[int, int]
) -> None:
    """The bars of one class."""
    page.paste(SURFACE, (*place, place[0] + size[0], place[1] + size[1]))
    column = CLASSES.index(shown.name)
    bars: dict[Colour, list[tuple[float, float, float]]] = {}
    for index, each in enumerate(finding.prediction.slices):
        probability = each.probabilities[column]
        bars.setdefault(_tone(probability, shown.slice_threshold), []).append((*axis.span(index), probability))
    for colour, group in bars.items():
        draw_bars(page, place, size, group, colour)


def _tone(probability: float, threshold: Threshold) -> Colour:
    """Most slices of any scan are below: they stay grey, so that the others stand out."""
    if probability >= threshold.present_from:
        return PRESENCE_TONE[Presence.PRESENT]
    return PLAIN if probability < threshold.absent_below else PRESENCE_TONE[Presence.UNDETERMINED]


def _draw_scale(draw: ImageDraw.ImageDraw, shown: ClassFinding, place: tuple[int, int], width: int) -> None:
    """Probability upwards, with lines where `any` changes its presence."""
    left, top = place
    right = left + width
    threshold = shown.slice_threshold
    lines = [(threshold.present_from, "present from")]
    if threshold.absent_below < threshold.present_from:
        lines.append((threshold.absent_below, "absent below"))
    taken: list[float] = []
    for probability, words in lines:
        y = top + (1 - probability) * _TALL
        for x in range(left + _GUTTER, right, 8):
            draw.line((x, y, min(x + 3, right), y), fill=INK)
        label = y
        if taken and label - taken[-1] < _SMALL + 2:
            label = taken[-1] + _SMALL + 2
        draw.text((left + _GUTTER - 12, label), f"{words} {100 * probability:.1f} %", INK, font(_SMALL), anchor="rm")
        taken.append(label)
    # The class stands where the labels of the lines leave most room.
    places = range(top + _SMALL // 2, top + _TALL - _SMALL // 2 + 1)
    free = max(places, key=lambda y: (min(abs(y - each) for each in taken), y))
    draw.text((left + _GUTTER - 12, free), class_label(shown.name), QUIET, font(_SMALL), anchor="rm")


def _draw_marks(draw: ImageDraw.ImageDraw, finding: Finding, axis: _Axis, place: tuple[int, int], width: int) -> None:
    """The numbers above, as far apart as they need to be, each with a line to its slice or slices."""
    left, top = place
    numbers = slice_numbers(finding)
    keys = [(numbers[each.sop_instance_uid, each.frame_number], axis.at(each.z_mm)) for each in marked_slices(finding)]
    runs = _runs(keys)
    texts = [str(run[0][0]) if len(run) == 1 else f"{run[0][0]}-{run[-1][0]}" for run in runs]
    middles = [(run[0][1] + run[-1][1]) / 2 for run in runs]
    distance = max((width_of(text, _SMALL) for text in texts), default=0) + _BETWEEN
    for run, text, middle, label in zip(runs, texts, middles, apart(middles, distance, width), strict=True):
        draw.text((left + label, top - 10), text, INK, font(_SMALL), anchor="ms")
        draw.line((left + label, top - 7, left + middle, top - 3), fill=QUIET)
        draw.line((left + run[0][1] - 1, top - 2, left + run[-1][1] + 1, top - 2), fill=QUIET, width=2)


def _runs(keys: Sequence[tuple[int, float]]) -> list[list[tuple[int, float]]]:
    """Neighbours whose numbers would not fit side by side stand together; each with its number and its place."""
    runs: list[list[tuple[int, float]]] = []
    for number, x in keys:
        room = x - (width_of(str(number), _SMALL) + _BETWEEN)
        if runs and number == runs[-1][-1][0] + 1 and runs[-1][-1][1] > room:
            runs[-1].append((number, x))
        else:
            runs.append([(number, x)])
    return runs


def apart(wanted: Sequence[float], distance: float, width: float) -> list[float]:
    """The nearest places to those that are wanted (ascending) of which no two are closer than `distance`.

    Neighbours that would touch move as one block around their common middle.
    """
    distance = min(distance, width / max(len(wanted), 1))
    blocks: list[list[float]] = []
    for place in wanted:
        blocks.append([place])
        while len(blocks) > 1:
            before, last = (_ends(block, distance, width) for block in blocks[-2:])
            if before[1] + distance <= last[0]:
                break
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    return [_ends(block, distance, width)[0] + distance * n for block in blocks for n in range(len(block))]


def _ends(block: Sequence[float], distance: float, width: float) -> tuple[float, float]:
    """First and last place of a block."""
    length = distance * (len(block) - 1)
    first = min(max(sum(block) / len(block) - length / 2, 0.0), max(width - length, 0.0))
    return first, first + length


def _draw_axis(draw: ImageDraw.ImageDraw, axis: _Axis, place: tuple[int, int], width: int) -> None:
    left, top = place
    draw.line((left, top, left + width, top), fill=LINE)
    inferior, superior = "inferior", "superior, mm"
    draw.text((left, top + 8), inferior, QUIET, font(_SMALL))
    draw.text((left + width, top + 8), superior, QUIET, font(_SMALL), anchor="ra")
    clear = width_of(inferior, _SMALL) + 20, width - width_of(superior, _SMALL) - 20
    for mm in axis.ticks():
        x = axis.at(mm)
        draw.line((left + x, top, left + x, top + 5), fill=QUIET)
        if clear[0] < x < clear[1]:
            draw.text((left + x, top + 8), str(mm), QUIET, font(_SMALL), anchor="ma")
