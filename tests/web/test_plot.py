"""Plots: coordinates that say what the values say."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from ichd.web.plot import HEIGHT, WIDTH, Line, Plot, drawn

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
#: Where the axes are.
LEFT, BASE, PEAK = 46.0, HEIGHT - 22.0, 8.0


def plot(*lines: Line, count: int = 4, **more: object) -> Plot:
    values = {
        "key": "k",
        "title": "t",
        "note": "",
        "empty": "nothing",
        "begins": [NOON + n * timedelta(hours=1) for n in range(count)],
        "step": timedelta(hours=1),
        "say": lambda value: f"{value:g}",
    }
    return Plot(lines=lines, **(values | more))  # type: ignore[arg-type]


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](\S+?) (\S+?)(?=[MLZ ]|$)", path)]


def test_a_line_is_as_high_as_its_values() -> None:
    found = drawn(plot(Line(name="a", values=[0, 5, 10, None], tone="line-1"), top=10.0))

    assert found is not None
    wide = (WIDTH - LEFT - 8) / 4
    xy = points(found.lines[0].path)
    assert [x for x, _ in xy] == [pytest.approx(LEFT + wide * (n + 0.5), abs=0.1) for n in range(3)]
    assert [y for _, y in xy] == [BASE, (BASE + PEAK) / 2, PEAK]


def test_what_was_not_counted_is_a_gap_and_a_value_alone_a_dot() -> None:
    found = drawn(plot(Line(name="a", values=[1, None, 1, 1], tone="line-1"), top=1.0))

    assert found is not None
    assert found.lines[0].path.count("M") == 1
    assert len(found.lines[0].dots) == 1


def test_bars_stand_on_each_other() -> None:
    lower = Line(name="a", values=[3, 1, None, 0], tone="line-1", stacked=True)
    upper = Line(name="b", values=[1, 1, 2, 0], tone="line-2", stacked=True)
    found = drawn(plot(lower, upper, top=4.0))

    assert found is not None
    height = BASE - PEAK
    bars = re.findall(r"M\S+ (\S+?)V(\S+?)H", found.lines[1].area)
    assert [(float(low), float(high)) for low, high in bars] == [
        (pytest.approx(BASE - height * 3 / 4, abs=0.1), PEAK),
        (pytest.approx(BASE - height / 4, abs=0.1), pytest.approx(BASE - height / 2, abs=0.1)),
        (BASE, pytest.approx(BASE - height / 2, abs=0.1)),
    ]


@pytest.mark.parametrize(
    ("highest", "base", "ticks"),
    [
        (7.3, 10, [0, 2, 4, 6, 8]),
        (0.0031, 10, [0, 0.001, 0.002, 0.003, 0.004]),
        (100, 10, [0, 25, 50, 75, 100]),
        (90, 60, [0, 30, 60, 90]),
        (4000, 60, [0, 1800, 3600, 5400]),
        (0, 10, [0, 0.25, 0.5, 0.75, 1]),
    ],
)
def test_axes_have_round_numbers(highest: float, base: int, ticks: Sequence[float]) -> None:
    found = drawn(plot(Line(name="a", values=[highest] * 4, tone="line-1"), base=base))

    assert found is not None
    assert [float(tick.text) for tick in found.y_ticks] == pytest.approx(ticks)
    assert found.y_ticks[0].at == BASE
    assert found.y_ticks[-1].at == PEAK


def test_the_highest_value_is_never_above_the_plot() -> None:
    for highest in (0.2, 0.9, 1.01, 3.99, 4.2, 9.99, 61, 299, 1234567):
        for base in (10, 60):
            found = drawn(plot(Line(name="a", values=[highest, None, None, None], tone="line-1"), base=base))
            assert found is not None
            assert float(found.y_ticks[-1].text) >= highest * 0.999
            assert 3 <= len(found.y_ticks) <= 7


def test_every_value_is_told_in_words_too() -> None:
    line = Line(name="a", values=[0.5, None, 1, 0], band=[(0.25, 0.75), None, (1, 1), (0, 0)], tone="line-1")
    found = drawn(plot(line))

    assert found is not None
    assert [column.cells for column in found.columns] == [["0.5 (0.25 to 0.75)"], ["–"], ["1 (1 to 1)"], ["0 (0 to 0)"]]
    local = NOON.astimezone()
    assert found.columns[0].when == f"{local:%Y-%m-%d %H:%M}"


def test_nothing_is_no_plot() -> None:
    assert drawn(plot(Line(name="a", values=[None] * 4, tone="line-1"))) is None
    assert drawn(plot()) is None
