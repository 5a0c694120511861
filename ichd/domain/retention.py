"""Which images go, and when: how full a disk may become, and which studies can do without theirs."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from ichd.domain.study import StudyState

#: Nobody is going to read these again. A failed study is not among them: a person may retry it.
DONE_WITH = frozenset({StudyState.REPORTED, StudyState.NOT_ANALYSED})


class Cause(StrEnum):
    """Why images were dropped."""

    AGE = "age"
    DISK = "disk"


@dataclass(frozen=True, kw_only=True)
class Watermarks:
    """Shares of a disk that are used, 0 to 1."""

    #: From here on images are refused.
    high: float = 0.95
    #: Below it they are taken again. Never above `high`.
    low: float = 0.85

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}: images would never be taken again")

    @property
    def dropping_from(self) -> float:
        """From here on old images make room: a quarter of the way from high to low.

        At the high mark itself the doors would close each time, for as long as it takes until somebody notices and has
        deleted enough. Halfway down, images would go that a disk with its usual ups and downs could have kept. A
        quarter is 2.5 % of the disk with the defaults: of 100 GB a gigabit a second fills that in 20 s, which is more
        than the pause between two looks.
        """
        return self.high - (self.high - self.low) / 4

    def is_shut(self, used: float, *, was_shut: bool) -> bool:
        """Whether images are refused: between the marks it stays as it was, so that doors do not flap."""
        return used >= (self.low if was_shut else self.high)

    def is_short(self, used: float, *, was_short: bool) -> bool:
        """Whether room is to be made; between the marks it goes on as it was."""
        return used >= (self.low if was_short else self.dropping_from)


#: Those of an installation that sets none.
USUAL = Watermarks()


@dataclass(frozen=True, kw_only=True)
class RetentionPolicy:
    """How long images are kept."""

    watermarks: Watermarks = USUAL
    #: Since their study was finished; None where only a full disk makes them go.
    keep_for: timedelta | None = None
    #: Whether a full disk makes images go. Not one that only has copies of what is in a bucket.
    makes_room: bool = True

    def expired_before(self, now: datetime) -> datetime | None:
        """Images of studies that were finished earlier are due; None where none ever is."""
        return None if self.keep_for is None else now - self.keep_for


def is_done_with(state: StudyState, *, owes: bool) -> bool:
    """Whether a study can do without its images.

    It `owes` while a job of it is queued or leased, or a dead one may be revived: a report is rendered from images, and
    a study that was not analysed may still owe its destinations one.
    """
    return state in DONE_WITH and not owes
