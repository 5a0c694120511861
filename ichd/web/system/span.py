"""How far the plots look back, and in which steps."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class Span(StrEnum):
    """What a visitor may choose."""

    DAY = "24h"
    WEEK = "7d"
    QUARTER = "90d"

    @property
    def words(self) -> str:
        """For people."""
        return {Span.DAY: "24 hours", Span.WEEK: "7 days", Span.QUARTER: "90 days"}[self]

    @property
    def step(self) -> timedelta:
        """From one point to the next."""
        return {Span.DAY: HOUR, Span.WEEK: 6 * HOUR, Span.QUARTER: DAY}[self]

    @property
    def steps(self) -> int:
        """Points."""
        return {Span.DAY: 24, Span.WEEK: 28, Span.QUARTER: 90}[self]


@dataclass(frozen=True, kw_only=True)
class Steps:
    """The points of a plot over time: each stands for the time from its begin to that of the next."""

    begins: Sequence[datetime]
    step: timedelta

    @property
    def since(self) -> datetime:
        """Begin of the first."""
        return self.begins[0]

    @property
    def until(self) -> datetime:
        """End of the last."""
        return self.begins[-1] + self.step

    def gathered(
        self, rows: Iterable[tuple[datetime, float]], how: Callable[[Sequence[float]], float] = sum
    ) -> list[float | None]:
        """What the values of each step come to; None where there is none."""
        found: list[list[float]] = [[] for _ in self.begins]
        for at, value in rows:
            place = (at - self.since) // self.step
            if 0 <= place < len(found):
                found[place].append(value)
        return [how(values) if values else None for values in found]


def steps_of(span: Span, now: datetime) -> Steps:
    """The points of a span that ends with the step in which `now` lies; steps begin at whole hours or days of UTC."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    last = midnight + (now - midnight) // span.step * span.step
    return Steps(begins=[last - n * span.step for n in range(span.steps - 1, -1, -1)], step=span.step)
