"""Images by C-MOVE: the source is told to send them to our listener, which takes them like all others."""

from collections.abc import Iterator, Sequence

from pydicom.dataset import Dataset
from pynetdicom.association import Association

from ichd.domain.reason import Reason
from ichd.intake.ask.association import associated, service
from ichd.intake.ask.errand import Tally, Wanted
from ichd.intake.ask.sources import DimseSource
from ichd.intake.ask.suboperations import ask_for_all, completed

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
        arrivals = ask_for_all(
            study_uid,
            wanted,
            associate=lambda: associated(self._source, [service(STUDY_ROOT_MOVE)]),
            ask=self._ask,
        )
        for images in arrivals:
            tally.came(images)

    def _ask(self, association: Association, request: Dataset) -> Iterator[int]:
        answers = association.send_c_move(request, self._source.calling_ae_title, STUDY_ROOT_MOVE)
        # Orthanc says so both of a destination that it does not know and of one that does not answer.
        return completed(self._source, answers, "C-MOVE", unable=self.otherwise)
