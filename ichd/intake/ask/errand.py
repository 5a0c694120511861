"""What is to be fetched of a study, and how it goes."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ichd.domain.reason import Reason
from ichd.intake.ask.find import FoundStudy

#: UIDs of one request; more would pass what old archives take as one value.
_CHUNK = 50


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is missing of one series."""

    series_uid: str
    #: SOP Instance UIDs.
    images: tuple[str, ...]
    #: All that the series holds is missing, and all that it holds is wanted: it can be asked for in one word.
    whole: bool

    def chunks(self) -> Iterator[Sequence[str]]:
        """The images, so many at a time as one request may name."""
        for start in range(0, len(self.images), _CHUNK):
            yield self.images[start : start + _CHUNK]


@dataclass(frozen=True, kw_only=True)
class Errand:
    """One study, and what is missing of it here."""

    study: FoundStudy
    prior: bool
    #: CT images that the source has, by name.
    images: int
    #: CT images that the source counts but does not name: nobody can ask for them.
    unnamed: int
    #: By series; empty where everything is here.
    wanted: tuple[Wanted, ...]

    @property
    def missing(self) -> int:
        """Images that are not here and can be asked for."""
        return sum(len(each.images) for each in self.wanted)


class Tally:
    """How a retrieval goes, told while it goes."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        self._tell = tell
        #: Images that did not come, by why.
        self.troubles: Counter[Reason] = Counter()

    def came(self, images: int = 1) -> None:
        """So many more have arrived."""
        self._tell(images)

    def failed(self, reason: Reason, images: int = 1) -> None:
        """So many will not."""
        self.troubles[reason] += images


class Retriever(Protocol):
    """A way of getting images."""

    #: Why an image is missing that nobody said anything about.
    otherwise: Reason

    def retrieve(self, study_uid: str, wanted: Sequence[Wanted], tally: Tally) -> None:
        """Get them; single ones that fail are in the tally, and the others are got all the same.

        Raises:
            SettingsError: the certificates of the source can't be used.
            Transient: the source is away, busy or broke off; what came until then stays.
            Permanent: it does not hand over images, or not to us.
        """
