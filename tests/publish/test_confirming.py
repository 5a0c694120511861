"""Storage commitment asked for, and what a peer lists of what we sent."""

from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset

from ichd.domain.delivery import Outgoing
from ichd.domain.errors import CodedError, Permanent, Transient
from ichd.domain.reason import Reason
from ichd.publish.commitment import CommitmentReport
from ichd.publish.cstore import CStore
from ichd.publish.peer import DimsePeer
from ichd.publish.sender import Commits, ReadsBack
from tests.peers.commitment_scp import AE_TITLE, running_keeper
from tests.peers.commitment_scu import running_commitment_scu
from tests.peers.orthanc import MISSING, Orthanc, running_orthanc
from tests.peers.storescp import Receiver
from tests.publish.parcels import USUAL, Outbox
from tests.report.findings import CREATED_AT, STUDY_UID

TRANSACTION = "2.25.900900"


@pytest.fixture
def sent(outbox: Outbox) -> list[Outgoing]:
    return [outbox.object(kind) for kind in USUAL]


def sender(port: int, ae_title: str = AE_TITLE, **options: Any) -> CStore:
    return CStore(peer=DimsePeer(name="pacs", host="127.0.0.1", port=port, ae_title=ae_title, **options))


def uids(objects: list[Outgoing]) -> tuple[str, ...]:
    return tuple(each.sop_instance_uid for each in objects)


def all_committed(asked: Dataset) -> tuple[int, Dataset]:
    information = Dataset()
    information.TransactionUID = asked.TransactionUID
    information.ReferencedSOPSequence = asked.ReferencedSOPSequence
    return 1, information


def last_failed(asked: Dataset) -> tuple[int, Dataset]:
    _, information = all_committed(asked)
    *information.ReferencedSOPSequence, failed = asked.ReferencedSOPSequence
    information.ReferencedSOPSequence = list(asked.ReferencedSOPSequence)[:-1]
    failed.FailureReason = 0x0112
    information.FailedSOPSequence = [failed]
    return 2, information


def test_what_is_asked_for_is_named(sent: list[Outgoing]) -> None:
    with running_keeper() as keeper:
        assert sender(keeper.port).request_commitment(TRANSACTION, sent, patience_s=0.1) is None
    (asked,) = keeper.requests
    assert asked.TransactionUID == TRANSACTION
    assert [(i.ReferencedSOPClassUID, i.ReferencedSOPInstanceUID) for i in asked.ReferencedSOPSequence] == [
        (each.sop_class_uid, each.sop_instance_uid) for each in sent
    ]


def test_a_report_on_the_same_association_is_answered_and_returned(sent: list[Outgoing]) -> None:
    with running_keeper(report=all_committed) as keeper:
        report = sender(keeper.port).request_commitment(TRANSACTION, sent, patience_s=10)
        assert keeper.answered.wait(10)
    assert report == CommitmentReport(transaction_uid=TRANSACTION, committed=uids(sent), failed=())
    assert keeper.answers == [0x0000]


def test_what_failed_is_told_apart(sent: list[Outgoing]) -> None:
    with running_keeper(report=last_failed) as keeper:
        report = sender(keeper.port).request_commitment(TRANSACTION, sent, patience_s=10)
    assert report is not None
    assert report.committed == uids(sent[:-1])
    assert report.failed == ((sent[-1].sop_instance_uid, 0x0112),)


def test_a_report_about_something_else_is_answered_and_left(sent: list[Outgoing]) -> None:
    def another(asked: Dataset) -> tuple[int, Dataset]:
        event_type, information = all_committed(asked)
        information.TransactionUID = "2.25.1"
        return event_type, information

    with running_keeper(report=another) as keeper:
        assert sender(keeper.port).request_commitment(TRANSACTION, sent, patience_s=1) is None
        assert keeper.answered.wait(10)
    assert keeper.answers == [0x0000]


def test_an_event_that_the_standard_does_not_know_is_refused(sent: list[Outgoing]) -> None:
    with running_keeper(report=lambda asked: (3, all_committed(asked)[1])) as keeper:
        assert sender(keeper.port).request_commitment(TRANSACTION, sent, patience_s=1) is None
        assert keeper.answered.wait(10)
    assert keeper.answers == [0x0113]


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (0x0213, Transient, Reason.PEER_BUSY),
        (0x0110, Permanent, Reason.NOT_COMMITTED),
        (0x0124, Permanent, Reason.NOT_COMMITTED),
    ],
)
def test_a_request_that_is_not_taken(
    sent: list[Outgoing], status: int, error: type[CodedError], reason: Reason
) -> None:
    with running_keeper(status=status) as keeper, pytest.raises(error) as caught:
        sender(keeper.port).request_commitment(TRANSACTION, sent, patience_s=1)
    assert caught.value.reason is reason
    assert f"0x{status:04X}" in caught.value.detail


def test_a_peer_without_storage_commitment(receiver: Receiver, sent: list[Outgoing]) -> None:
    with pytest.raises(Permanent) as caught:
        sender(receiver.port).request_commitment(TRANSACTION, sent, patience_s=1)
    assert caught.value.reason is Reason.NOT_COMMITTED


def test_what_is_not_listed_is_missing(sent: list[Outgoing]) -> None:
    """This one ignores the keys: it lists the first object whatever it is asked."""
    with running_keeper(listed=lambda query: [sent[0].sop_instance_uid]) as keeper:
        assert sender(keeper.port).missing(STUDY_UID, sent) == uids(sent[1:])
    assert {query.QueryRetrieveLevel for query in keeper.queries} == {"IMAGE"}
    assert {query.StudyInstanceUID for query in keeper.queries} == {STUDY_UID}
    assert all(query.SeriesInstanceUID for query in keeper.queries)


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [(0xA700, Transient, Reason.PEER_BUSY), (0xC001, Permanent, Reason.PEER_REFUSED)],
)
def test_a_query_that_fails(sent: list[Outgoing], status: int, error: type[CodedError], reason: Reason) -> None:
    with running_keeper(find_status=status) as keeper, pytest.raises(error) as caught:
        sender(keeper.port).missing(STUDY_UID, sent)
    assert caught.value.reason is reason


def test_a_peer_that_lists_without_end(sent: list[Outgoing]) -> None:
    with running_keeper(listed=lambda query: ["2.25.1"] * 200) as keeper, pytest.raises(Permanent) as caught:
        sender(keeper.port).missing(STUDY_UID, sent)
    assert caught.value.reason is Reason.PEER_REFUSED


def test_a_peer_without_query(receiver: Receiver, sent: list[Outgoing]) -> None:
    with pytest.raises(Permanent) as caught:
        sender(receiver.port).missing(STUDY_UID, sent)
    assert caught.value.reason is Reason.PEER_REFUSED


def test_a_dicom_node_has_both_abilities() -> None:
    assert isinstance(sender(104), ReadsBack)
    assert isinstance(sender(104), Commits)


@pytest.fixture
def archive(tmp_path: Path) -> Any:
    """Orthanc that knows us, and to whom it may report."""
    if MISSING:
        pytest.skip(MISSING)
    with running_commitment_scu(ae_title="ICHD") as scu:
        us = {"AET": "ICHD", "Host": "127.0.0.1", "Port": scu.port, "AllowStorageCommitment": True, "AllowFind": True}
        with running_orthanc(tmp_path, DicomModalities={"ichd": us}) as orthanc:
            yield orthanc, scu


def test_orthanc_lists_what_it_got_and_commits_to_it(archive: Any, outbox: Outbox, sent: list[Outgoing]) -> None:
    orthanc, scu = archive
    assert isinstance(orthanc, Orthanc)
    way = sender(orthanc.dicom_port, orthanc.ae_title)
    assert way.missing(STUDY_UID, sent) == uids(sent)
    way.deliver(outbox.parcel(USUAL[0]), now=CREATED_AT)
    assert way.missing(STUDY_UID, sent) == uids(sent[1:])
    way.deliver(outbox.parcel(), now=CREATED_AT)
    assert way.missing(STUDY_UID, sent) == ()

    assert way.request_commitment(TRANSACTION, sent, patience_s=0.2) is None, "it reports on an association of its own"
    (report,) = scu.wait_for(1)
    assert report.transaction_uid == TRANSACTION
    assert sorted(uid for _, uid in report.committed) == sorted(uids(sent))
    assert report.failed == []
