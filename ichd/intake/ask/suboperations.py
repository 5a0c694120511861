"""Requests that C-GET and C-MOVE have in common, and what their answers say (PS3.4 C.4.2 and C.4.3)."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager

from pydicom.dataset import Dataset
from pynetdicom.association import Association

from ichd.domain.errors import Permanent, Transient
from ichd.domain.reason import Reason
from ichd.intake.ask.association import failed, status_of
from ichd.intake.ask.dimse_find import identifier
from ichd.intake.ask.errand import Wanted
from ichd.intake.ask.rows import Level
from ichd.intake.ask.sources import DimseSource

_SUCCESS = 0x0000
#: Complete, one or more images failed.
_SOME_FAILED = 0xB000
#: No image could be sent; some archives say so where the standard has them say 0xB000.
_ALL_FAILED = 0xA702
_UNABLE = 0xC000
_CANCELLED = 0xFE00
_PENDING = frozenset({0xFF00, 0xFF01})

Answers = Iterable[tuple[Dataset, Dataset | None]]


def ask_for_all(
    study_uid: str,
    wanted: Sequence[Wanted],
    *,
    associate: Callable[[], AbstractContextManager[Association]],
    ask: Callable[[Association, Dataset], Iterator[int]],
) -> Iterator[int]:
    """Ask for all that is wanted of a study; how many images came since the last answer.

    Some sources end the association after each answer: it takes as many as that takes.

    Raises:
        SettingsError, Transient, Permanent: as `associate` and `ask`.
    """
    waiting = deque(request for each in wanted for request in _requests_for(study_uid, each))
    while waiting:
        answered = begun = False
        try:
            with associate() as association:
                while waiting:
                    begun = False
                    for images in ask(association, waiting[0]):
                        begun = True
                        yield images
                    waiting.popleft()
                    answered = True
        except Transient as error:
            if error.reason is not Reason.SOURCE_LOST or not answered or begun:
                raise


def _requests_for(study_uid: str, wanted: Wanted) -> Iterator[Dataset]:
    """Identifiers that together ask for all that is wanted of a series."""
    series = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": wanted.series_uid}
    if wanted.whole:
        yield identifier(Level.SERIES, series)
        return
    for chunk in wanted.chunks():
        yield identifier(Level.IMAGE, series | {"SOPInstanceUID": "\\".join(chunk)})


def completed(source: DimseSource, answers: Answers, asked: str, *, unable: Reason) -> Iterator[int]:
    """Go through the answers to a request: how many images came since the last one, by the source's word.

    `unable` is what "unable to process" (0xCxxx) most likely means to who asked. The images that failed are those that
    are missing at the end: sources are not of one mind about where to count them.

    Raises:
        Transient: the source broke off, is busy, or cancelled.
        Permanent: it refused.
    """
    done = 0
    for answer, _ in answers:
        status = status_of(source, answer)
        now_done = _number(answer, "NumberOfCompletedSuboperations") + _number(answer, "NumberOfWarningSuboperations")
        if now_done > done:
            yield now_done - done
            done = now_done
        if status in _PENDING or status in (_SUCCESS, _SOME_FAILED):
            continue
        if status == _ALL_FAILED and _number(answer, "NumberOfFailedSuboperations"):
            continue
        if status == _CANCELLED:
            raise Transient(Reason.SOURCE_LOST, f"{source} cancelled {asked}")
        trouble = failed(source, status, asked)
        raise Permanent(unable, trouble.detail) if status & 0xF000 == _UNABLE else trouble


def _number(answer: Dataset, keyword: str) -> int:
    return int(answer.get(keyword) or 0)
