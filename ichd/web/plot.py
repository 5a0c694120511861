"""Plots as the numbers of an SVG: `templates/plot.html` draws them, style sheets give them colours.

Coordinates are those of a view box that is about as many CSS pixels wide as the plot is shown, so that text has its own
size. Every plot has its values in words, as tooltips and as a table: nothing is told by a colour alone.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

WIDTH, HEIGHT = 400, 176
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 8, 8, 22
#: Of the table: a plot of ninety days has every day in it.
_NOTHING = "–"

Values = Sequence[float | None]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One figure over time."""

    name: str
    values: Values
    #: Class of the style sheet: its colour and its dashes.
    tone: str
    #: It is one of several that are stacked on each other.
    stacked: bool = False
    #: An area is drawn between these, e.g. an interval around the line.
    band: Sequence[tuple[float, float] | None] | None = None


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A level that means something."""

    value: float
    name: str
    tone: str


@dataclass(frozen=True, kw_only=True)
class Plot:
    """What is to be drawn. All lines have a value for each of `begins`."""

    #: Name of its own on the page.
    key: str
    title: str
    #: One sentence below it; shown instead of the plot, `empty`, where no line has a value.
    note: str
    empty: str
    begins: Sequence[datetime]
    step: timedelta
    lines: Sequence[Line]
    #: A value in words.
    say: Callable[[float], str]
    #: The axis ends here; as far as the values go where it is None, but at `at_least`.
    top: float | None = None
    at_least: float = 0.0
    marks: Sequence[Mark] = ()
    #: Ticks of the axis are multiples of 1, 2, 5 times a power of this; 60 for durations.
    base: int = 10


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A label at an axis."""

    at: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """The same in coordinates."""

    plot: Plot
    lines: Sequence["DrawnLine"]
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    marks: Sequence[tuple[float, Mark]]
    columns: Sequence["Column"]
    left: float = _LEFT
    right: float = WIDTH - _RIGHT
    top: float = _TOP
    bottom: float = HEIGHT - _BOTTOM
    width: int = WIDTH
    height: int = HEIGHT


@dataclass(frozen=True, kw_only=True)
class DrawnLine:
    """A line or an area as the `d` of a path; `dots` are points without neighbours."""

    line: Line
    path: str
    area: str
    dots: Sequence[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Column:
    """The stripe of one step: what it says when it is pointed at, and its line of the table."""

    x: float
    width: float
    when: str
    cells: Sequence[str] = field(default_factory=tuple)


def drawn(plot: Plot) -> Drawn | None:
    """Coordinates; None where there is nothing to draw."""
    if all(value is None for line in plot.lines for value in line.values):
        return None
    levels = list(_levels(plot))
    ticks = _nice_ticks(plot.top or max([plot.at_least, *(top for _, tops in levels for top in tops if top)]), plot)
    frame = _Frame(plot, ticks[-1] if plot.top is None else plot.top)
    return Drawn(
        plot=plot,
        lines=[_line(line, floors, tops, frame) for line, (floors, tops) in zip(plot.lines, levels, strict=True)],
        x_ticks=list(_time_ticks(plot, frame)),
        y_ticks=[Tick(at=frame.y(value), text=plot.say(value)) for value in ticks if value <= frame.highest],
        marks=[(frame.y(mark.value), mark) for mark in plot.marks if mark.value <= frame.highest],
        columns=list(_columns(plot, frame)),
    )


class _Frame:
    """From values to coordinates."""

    def __init__(self, plot: Plot, highest: float) -> None:
        self.highest = highest
        self.wide = (WIDTH - _LEFT - _RIGHT) / len(plot.begins)

    def x(self, place: float) -> float:
        return round(_LEFT + place * self.wide, 1)

    def y(self, value: float) -> float:
        share = min(max(value / self.highest, 0.0), 1.0) if self.highest else 0.0
        return round(HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM), 1)


def _levels(plot: Plot) -> Iterator[tuple[Values, Values]]:
    """Of each line its floor and its top; those that are stacked stand on the ones before."""
    heap = [0.0] * len(plot.begins)
    for line in plot.lines:
        if line.stacked:
            floors = list(heap)
            heap = [floor + (value or 0.0) for floor, value in zip(heap, line.values, strict=True)]
            tops = [None if v is None else top for v, top in zip(line.values, heap, strict=True)]
            yield floors, tops
        else:
            highest = [
                value if value is None or edge is None else max(value, edge[1])
                for value, edge in zip(line.values, line.band or [None] * len(plot.begins), strict=True)
            ]
            yield [0.0] * len(plot.begins), highest


def _line(line: Line, floors: Values, tops: Values, frame: _Frame) -> DrawnLine:
    if line.stacked:
        return DrawnLine(line=line, path="", area=_bars(floors, tops, frame), dots=())
    runs = list(_runs(line.values))
    points = [[(frame.x(i + 0.5), frame.y(line.values[i] or 0.0)) for i in run] for run in runs]
    return DrawnLine(
        line=line,
        path=" ".join(_polyline(run) for run in points if len(run) > 1),
        area=" ".join(_band(line.band, run, frame) for run in runs) if line.band else "",
        dots=[run[0] for run in points if len(run) == 1],
    )


def _runs(values: Sequence[object]) -> Iterator[list[int]]:
    """Places of values without a gap between them: what was not counted is not drawn."""
    run: list[int] = []
    for place, value in enumerate(values):
        if value is not None:
            run.append(place)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _polyline(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points)


def _band(band: Sequence[tuple[float, float] | None], run: Sequence[int], frame: _Frame) -> str:
    edges = [(i, edge) for i in run if (edge := band[i]) is not None]
    if not edges:
        return ""
    # Half a step to either side, so that a single day has an area too.
    over = [(frame.x(i + half), frame.y(high)) for i, (_, high) in edges for half in (0, 1)]
    under = [(frame.x(i + half), frame.y(low)) for i, (low, _) in reversed(edges) for half in (1, 0)]
    return _polyline([*over, *under]) + "Z"


def _bars(floors: Values, tops: Values, frame: _Frame) -> str:
    thin = min(1.0, frame.wide * 0.12)
    bars = []
    for place, (floor, top) in enumerate(zip(floors, tops, strict=True)):
        if top is not None and top > (floor or 0.0):
            left, right = round(frame.x(place) + thin, 1), round(frame.x(place + 1) - thin, 1)
            bars.append(f"M{left:g} {frame.y(floor or 0.0):g}V{frame.y(top):g}H{right:g}V{frame.y(floor or 0.0):g}Z")
    return "".join(bars)


def _nice_ticks(highest: float, plot: Plot) -> list[float]:
    """From 0 to above the highest value, in three to five steps of a size that people use."""
    if highest <= 0:
        highest = 1.0
    if plot.base == 60 and highest > 4:
        sizes: Sequence[float] = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 86400, 604800)
    else:
        power = 10.0 ** math.floor(math.log10(highest))
        sizes = [power * factor for factor in (0.1, 0.2, 0.25, 0.5, 1, 2)]
    size = next((size for size in sizes if highest / size <= 4.01), sizes[-1])
    return [n * size for n in range(math.ceil(highest / size - 1e-9) + 1)]


def _time_ticks(plot: Plot, frame: _Frame) -> Iterator[Tick]:
    """At whole hours or days of this machine's time zone."""
    span = len(plot.begins) * plot.step
    last = None
    for place, begin in enumerate(plot.begins):
        local = begin.astimezone()
        if span <= timedelta(days=2):
            label = f"{local:%H:%M}" if local.hour % 6 == 0 else None
        elif span <= timedelta(days=10):
            label = f"{local:%a} {local.day}" if local.date() != last and last is not None else None
        else:
            label = f"{local.day} {local:%b}" if local.day in (1, 15) else None
        last = local.date()
        if label and _LEFT + 12 < frame.x(place) < WIDTH - 20:
            yield Tick(at=frame.x(place), text=label)


def _columns(plot: Plot, frame: _Frame) -> Iterator[Column]:
    for place, begin in enumerate(plot.begins):
        local = begin.astimezone()
        yield Column(
            x=frame.x(place),
            width=round(frame.wide, 2),
            when=f"{local:%Y-%m-%d}" if plot.step >= timedelta(days=1) else f"{local:%Y-%m-%d %H:%M}",
            cells=[_said(line, place, plot) for line in plot.lines],
        )


def _said(line: Line, place: int, plot: Plot) -> str:
    value = line.values[place]
    if value is None:
        return _NOTHING
    edge = line.band[place] if line.band else None
    return plot.say(value) + (f" ({plot.say(edge[0])} to {plot.say(edge[1])})" if edge else "")
