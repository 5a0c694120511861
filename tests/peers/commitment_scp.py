"""An independent AE that stores, lists and takes requests for storage commitment, as it is told."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    StudyRootQueryRetrieveInformationModelFind,
)

from tests.peers.ports import free_port

AE_TITLE = "KEEPER"


@dataclass(kw_only=True)
class Keeper:
    """A running AE, and what it was asked."""

    port: int
    #: Action information of each N-ACTION.
    requests: list[Dataset] = field(default_factory=list)
    #: Identifier of each C-FIND.
    queries: list[Dataset] = field(default_factory=list)
    #: Status that each N-EVENT-REPORT was answered with; None where it was not.
    answers: list[int | None] = field(default_factory=list)
    answered: threading.Event = field(default_factory=threading.Event)


@contextmanager
def running_keeper(
    *,
    status: int = 0x0000,
    report: Callable[[Dataset], tuple[int, Dataset]] | None = None,
    listed: Callable[[Dataset], Sequence[str]] = lambda query: [],
    find_status: int = 0x0000,
) -> Iterator[Keeper]:
    """Listen on loopback.

    `status` answers an N-ACTION. `report` gives event type and event information of the N-EVENT-REPORT that follows on
    the same association; without it, none does. `listed` gives SOP Instance UIDs that match a C-FIND.
    """
    keeper = Keeper(port=free_port())

    def act(event: evt.Event) -> tuple[int, Dataset | None]:
        keeper.requests.append(event.action_information)
        if report is not None:
            threading.Thread(target=tell, args=(event.assoc, *report(event.action_information))).start()
        return status, None

    def tell(association: object, event_type: int, information: Dataset) -> None:
        answer, _ = association.send_n_event_report(  # type: ignore[attr-defined]
            information, event_type, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
        keeper.answers.append(answer.get("Status"))
        keeper.answered.set()

    def find(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        keeper.queries.append(event.identifier)
        for uid in listed(event.identifier):
            match = Dataset()
            match.QueryRetrieveLevel, match.SOPInstanceUID = "IMAGE", uid
            yield 0xFF00, match
        if find_status:
            yield find_status, None

    ae = AE(ae_title=AE_TITLE)
    ae.add_supported_context(StorageCommitmentPushModel)
    ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    server = ae.start_server(
        ("127.0.0.1", keeper.port), block=False, evt_handlers=[(evt.EVT_N_ACTION, act), (evt.EVT_C_FIND, find)]
    )
    try:
        yield keeper
    finally:
        assert server is not None
        server.shutdown()
