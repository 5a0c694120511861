"""Images by C-GET: they come over the association that asks for them, and go through the counter like all others."""

import io
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import cast

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.presentation import PresentationContext, build_context

from ichd.domain.errors import Refused, Transient
from ichd.domain.reason import Reason
from ichd.intake.admit import ACCEPTED_SOP_CLASSES, Claim, Counter, Sender, Visit
from ichd.intake.ask.association import associated, service
from ichd.intake.ask.errand import Tally, Wanted
from ichd.intake.ask.sources import DimseSource
from ichd.intake.ask.suboperations import completed, requests_for
from ichd.intake.ask.visiting import visiting
from ichd.intake.status import SUCCESS, failure
from ichd.intake.syntax import TRANSFER_SYNTAXES

STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"


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
        with (
            visiting(self._counter, sender, wanted, place=self._place, clock=self._clock) as visit,
            associated(
                self._source,
                _contexts(),
                stores=ACCEPTED_SOP_CLASSES,
                handlers=[(evt.EVT_C_STORE, lambda event: self._store(event, visit, tally))],
            ) as association,
        ):
            for each in wanted:
                for request in requests_for(study_uid, each):
                    answers = association.send_c_get(request, STUDY_ROOT_GET)
                    # What has come is counted where it comes.
                    for _ in completed(self._source, answers, "C-GET", unable=Reason.SOURCE_REFUSED):
                        pass

    def _store(self, event: evt.Event, visit: Visit, tally: Tally) -> int | Dataset:
        request = cast(C_STORE, event.request)
        claim = Claim(
            sop_class_uid=str(request.AffectedSOPClassUID),
            sop_instance_uid=str(request.AffectedSOPInstanceUID),
            transfer_syntax_uid=str(event.context.transfer_syntax),
        )
        with visit.receive(claim) as reception:
            # The bytes as they came, not copied: `event.dataset` would decode them.
            reception.write(cast(io.BytesIO, request.DataSet).getbuffer())
            try:
                reception.admit(now=self._clock())
            except (Refused, Transient) as error:
                tally.failed(error.reason)
                return _failure(error)
        tally.came()
        return SUCCESS


def _failure(error: Refused | Transient) -> Dataset:
    answer = Dataset()
    answer.Status, comment = failure(error)
    # An LO (PS3.7 annex C).
    answer.ErrorComment = comment[:64]
    return answer


def _contexts() -> list[PresentationContext]:
    """The service, and one context for each SOP class and transfer syntax: 37 of the 128 that an association has.

    With several syntaxes in one context the source would pick one, and fail or transcode images that lie in others.
    """
    stored = [build_context(sop_class, uid) for sop_class in ACCEPTED_SOP_CLASSES for uid in TRANSFER_SYNTAXES]
    return [service(STUDY_ROOT_GET), *stored]
