"""Results of storage commitment that destinations bring: on an association of theirs, as its provider."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydicom import Dataset
from pynetdicom import AE, build_role
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]

from ichd.domain.job import JobKind
from ichd.domain.reason import Reason
from ichd.intake.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE
from ichd.intake.promised import PromisedResults
from ichd.intake.service import Answer, Request
from ichd.store.arrivals import Arrivals
from ichd.store.engine import open_database
from ichd.store.promises import Promise, Promises
from ichd.store.tables import RefusalRow
from tests.intake.conftest import House, OpenHouse
from tests.store.house import house_on

TRANSACTION = "2.25.4711"
SR = "1.2.840.10008.5.1.4.1.1.88.34"


@pytest.fixture
def house(open_house: OpenHouse) -> Iterator[House]:
    """A listener whose destination PACS was asked about one delivery, job 2."""

    # The listener's fixture makes the database, so the service finds it only when it is asked.
    def accept(request: Request) -> Answer:
        return PromisedResults(Promises(opened.engine), Arrivals(opened.engine)).accept(request)

    opened = open_house(services={PUSH_MODEL: accept}, provided={PUSH_MODEL})
    engine = open_database(str(opened.engine.url))
    store = house_on(engine, opened.spool)
    store.ready()
    store.analyse("pacs")
    job = store.claim(kinds=(JobKind.PUBLISH,))
    assert job.id == 2
    Promises(engine).ask(job.id, TRANSACTION, "PACS", store.now)
    yield opened
    engine.dispose()


def verdict(house: House) -> Promise:
    promise = Promises(house.engine).verdict(2)
    assert promise is not None
    return promise


def result(*, failed: tuple[str, ...] = (), transaction_uid: str = TRANSACTION) -> Dataset:
    information = Dataset()
    information.TransactionUID = transaction_uid
    information.ReferencedSOPSequence = [reference("2.25.1")]
    if failed:
        information.FailedSOPSequence = [reference(uid) for uid in failed]
    return information


def reference(uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = SR, uid
    return item


def provider(house: House, *, caller: str = "PACS", says_its_role: bool = True) -> Association:
    ae = AE(ae_title=caller)
    ae.add_requested_context(StorageCommitmentPushModel)
    roles: list[Any] = [build_role(StorageCommitmentPushModel, scp_role=True)] if says_its_role else []
    association = ae.associate("127.0.0.1", house.port, ae_title="ICHD", ext_neg=roles)
    assert association.is_established
    return association


def tell(house: House, information: Dataset, *, event_type: int = 1, caller: str = "PACS") -> int:
    association = provider(house, caller=caller)
    status, _ = association.send_n_event_report(
        information, event_type, StorageCommitmentPushModel, PUSH_MODEL_INSTANCE
    )
    association.release()
    return int(status.Status)


def test_the_peer_has_the_role_that_it_proposes(house: House) -> None:
    association = provider(house)
    (context,) = association.accepted_contexts
    assert (context.as_scu, context.as_scp) == (False, True)
    association.release()


def test_a_yes_to_all_is_kept(house: House) -> None:
    assert tell(house, result()) == 0x0000
    promise = verdict(house)
    assert promise.answered_at is not None
    assert promise.committed == ("2.25.1",)


def test_only_what_is_named_is_committed_to(house: House) -> None:
    assert tell(house, result(failed=("2.25.2", "2.25.3")), event_type=2) == 0x0000
    assert verdict(house).committed == ("2.25.1",)


def test_a_failure_counts_whatever_the_type_of_the_event(house: House) -> None:
    assert tell(house, result(failed=("2.25.1",)), event_type=1) == 0x0000
    assert verdict(house).committed == ()


def test_a_no_that_can_not_be_read_is_no_yes(house: House) -> None:
    empty = result()
    empty.FailedSOPSequence = [Dataset()]
    assert tell(house, result(), event_type=2) == 0x0120
    assert tell(house, empty, event_type=1) == 0x0120
    assert verdict(house).answered_at is None


@pytest.mark.parametrize(("caller", "transaction_uid"), [("OTHER", TRANSACTION), ("PACS", "2.25.1")])
def test_what_nobody_asked_for_is_refused_where_a_user_looks(house: House, caller: str, transaction_uid: str) -> None:
    assert tell(house, result(transaction_uid=transaction_uid), caller=caller) == 0x0115
    assert verdict(house).answered_at is None
    (refusal,) = house.rows(RefusalRow)
    assert (refusal.reason, refusal.calling_ae_title) == (Reason.PROMISE_UNKNOWN, caller)


def test_other_events_and_empty_ones_are_told_so(house: House) -> None:
    nameless = result()
    del nameless.TransactionUID
    assert tell(house, nameless) == 0x0120
    assert tell(house, result(), event_type=3) == 0x0113
