"""Images by C-GET: they come over the association that asks for them, and go through the counter like all others."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import cast

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.presentation import PresentationContext, build_context

from ichd.domain.errors import Refused, Transient
from ichd.domain.reason import Reason
from ichd.intake.ask.association import associated, service
from ichd.intake.ask.errand import Tally, Wanted
from ichd.intake.ask.sources import DimseSource
from ichd.intake.ask.suboperations import ask_for_all, completed
from ichd.intake.ask.visiting import Delivery, delivery
from ichd.intake.claim import ACCEPTED_SOP_CLASSES, Claim, Sender
from ichd.intake.counter import Counter
from ichd.intake.status import SUCCESS, failure
from ichd.intake.syntax import TRANSFER_SYNTAXES

STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"

_PIECE_BYTES = 1 << 18


class GetRetriever:
    """C-GET (PS3.4 C.4.3); one visit for each study."""

    otherwise = Reason.NOT_HANDED_OVER

    def __init__(self, source: DimseSource, counter: Counter, *, place: str, clock: Callable[[], datetime]) -> None:
        self._source = source
        self._counter = counter
        self._place = place
        self._clock = clock

    def retrieve(self, study_uid: str, wanted: Sequence[Wanted], tally: Tally) -> None:
        """Get them over one association.

        Raises:
            SettingsError, Transient, Permanent: as `Retriever.retrieve`.
        """
        sender = Sender(calling_ae_title=self._source.name, address=self._source.host)
        with delivery(self._counter, sender, wanted, tally, place=self._place, clock=self._clock) as handed_over:
            # What has come is counted where it comes.
            for _ in ask_for_all(study_uid, wanted, associate=lambda: self._association(handed_over), ask=self._ask):
                pass

    def _association(self, handed_over: Delivery) -> AbstractContextManager[Association]:
        return associated(
            self._source,
            contexts(),
            stores=ACCEPTED_SOP_CLASSES,
            handlers=[(evt.EVT_C_STORE, lambda event: _store(event, handed_over))],
            max_image_bytes=self._counter.max_instance_bytes,
        )

    def _ask(self, association: Association, request: Dataset) -> Iterator[int]:
        answers = association.send_c_get(request, STUDY_ROOT_GET)
        return completed(self._source, answers, "C-GET", unable=Reason.SOURCE_REFUSED)


def _store(event: evt.Event, handed_over: Delivery) -> int | Dataset:
    request = cast(C_STORE, event.request)
    claim = Claim(
        sop_class_uid=str(request.AffectedSOPClassUID),
        sop_instance_uid=str(request.AffectedSOPInstanceUID),
        transfer_syntax_uid=str(event.context.transfer_syntax),
    )
    try:
        # The bytes as they came, not copied: `event.dataset` would decode them.
        handed_over.take(claim, _pieces(cast(io.BytesIO, request.DataSet).getbuffer()))
    except (Refused, Transient) as error:
        handed_over.tally.failed(error.reason)
        return _failure(error)
    return SUCCESS


def _pieces(dataset: memoryview) -> Iterator[memoryview]:
    """In pieces: of what is too large as a whole, the counter learns from the first ones whose it is."""
    for start in range(0, len(dataset), _PIECE_BYTES):
        yield dataset[start : start + _PIECE_BYTES]


def _failure(error: Refused | Transient) -> Dataset:
    answer = Dataset()
    answer.Status, comment = failure(error)
    # An LO (PS3.7 annex C).
    answer.ErrorComment = comment[:64]
    return answer


def contexts() -> list[PresentationContext]:
    """The service, and one context for each SOP class and transfer syntax: 37 of the 128 that an association has.

    With several syntaxes in one context the source would pick one, and fail or transcode images that lie in others.
    """
    stored = [build_context(sop_class, uid) for sop_class in ACCEPTED_SOP_CLASSES for uid in TRANSFER_SYNTAXES]
    return [service(STUDY_ROOT_GET), *stored]
