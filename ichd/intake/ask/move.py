"""Images by C-MOVE: the source is told to send them to our listener, which takes them like all others."""

from collections.abc import Sequence

from ichd.domain.reason import Reason
from ichd.intake.ask.association import associated, service
from ichd.intake.ask.errand import Tally, Wanted
from ichd.intake.ask.sources import DimseSource
from ichd.intake.ask.suboperations import completed, requests_for

STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"


class MoveRetriever:
    """C-MOVE (PS3.4 C.4.2) to our own AE title."""

    otherwise = Reason.NOT_ARRIVED

    def __init__(self, source: DimseSource) -> None:
        self._source = source

    def retrieve(self, study_uid: str, wanted: Sequence[Wanted], tally: Tally) -> None:
        """Have them sent; whether they arrive is seen in the database.

        Raises:
            SettingsError, Transient, Permanent: as `Retriever.retrieve`.
        """
        with associated(self._source, [service(STUDY_ROOT_MOVE)]) as association:
            for each in wanted:
                for request in requests_for(study_uid, each):
                    answers = association.send_c_move(request, self._source.calling_ae_title, STUDY_ROOT_MOVE)
                    # Orthanc says so both of a destination that it does not know and of one that does not answer.
                    for images in completed(self._source, answers, "C-MOVE", unable=self.otherwise):
                        tally.came(images)
