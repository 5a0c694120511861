"""What happens by the clock, what is counted, and what the self-test is held to."""

from datetime import datetime
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ichd.domain.reason import Reason
from ichd.store.columns import Base, Id


class TickRow(Base):
    """One thing that happens by the clock: who does it, when next, and how it went; one worker at a time does it."""

    __tablename__ = "tick"

    id: Mapped[Id]
    #: With the machine behind an @ where each machine has its own: a disk, a folder of files.
    name: Mapped[str] = mapped_column(unique=True)
    owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    #: Not before.
    due_at: Mapped[datetime]
    #: End of the last run; NULL before the first.
    ran_at: Mapped[datetime | None]
    #: What is wrong, until a run finds it mended: an alert.
    trouble: Mapped[Reason | None]
    detail: Mapped[str] = mapped_column(default="")
    #: Since when there is trouble.
    troubled_since: Mapped[datetime | None]


class StatisticRow(Base):
    """A figure of one period, for plots over time."""

    __tablename__ = "statistic"
    __table_args__ = (UniqueConstraint("name", "at"),)

    id: Mapped[Id]
    name: Mapped[str]
    #: Begin of the period.
    at: Mapped[datetime]
    value: Mapped[float]


class BaselineRow(Base):
    """What a model in an engine made of the stored phantom when it was first asked; later answers are held to it."""

    __tablename__ = "baseline"

    id: Mapped[Id]
    #: Digits over bundle, engine and phantom: another of any of them has a baseline of its own.
    key: Mapped[str] = mapped_column(unique=True)
    made_at: Mapped[datetime]
    #: For people.
    engine: Mapped[str]
    #: "p": of each slice, inferior first, the probability of each class.
    answer: Mapped[dict[str, Any]]
