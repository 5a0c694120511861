"""QIDO-RS: what the server lists of what it was sent."""

import json

import pytest

from ichd.domain.errors import CodedError, Permanent, Transient
from ichd.domain.reason import Reason
from ichd.publish.sender import Commits, ReadsBack
from tests.peers.web import Reply, in_turn, running_web_server
from tests.publish.parcels import KO, SC, SR, USUAL, Outbox
from tests.publish.stow_account import JSON, sender, uid_of
from tests.report.findings import STUDY_UID


def listed(*uids: str) -> bytes:
    return json.dumps([{"00080018": {"vr": "UI", "Value": [uid]}} for uid in uids]).encode()


def test_what_is_not_listed_is_missing(outbox: Outbox) -> None:
    """This one ignores the key, and lists the report whatever it is asked."""
    sent = [outbox.object(kind) for kind in USUAL]
    with running_web_server(lambda _: Reply(body=listed(uid_of(SR)), headers=JSON)) as server:
        assert sender(server.url).missing(STUDY_UID, sent) == (uid_of(KO), uid_of(SC))
    assert server.requests[0].path == f"/studies/{STUDY_UID}/instances?SOPInstanceUID={uid_of(SR)}"


@pytest.mark.parametrize("reply", [Reply(status=204), Reply(status=404), Reply(body=b"[]", headers=JSON)])
def test_a_server_that_knows_nothing_of_the_study(outbox: Outbox, reply: Reply) -> None:
    with running_web_server(lambda _: reply) as server:
        assert sender(server.url).missing(STUDY_UID, [outbox.object(SR)]) == (uid_of(SR),)


@pytest.mark.parametrize(
    ("reply", "error", "reason"),
    [
        (Reply(status=401), Transient, Reason.PEER_DENIED),
        (Reply(status=503), Transient, Reason.PEER_BUSY),
        (Reply(status=400), Permanent, Reason.PEER_REFUSED),
        (Reply(body=b"<html>", headers=JSON), Transient, Reason.PEER_CONFUSED),
        (Reply(body=b"[5]", headers=JSON), Transient, Reason.PEER_CONFUSED),
        (Reply(body=b'[{"00080018": 5}]', headers=JSON), Transient, Reason.PEER_CONFUSED),
    ],
)
def test_a_search_that_fails(outbox: Outbox, reply: Reply, error: type[CodedError], reason: Reason) -> None:
    with running_web_server(lambda _: reply) as server, pytest.raises(error) as caught:
        sender(server.url).missing(STUDY_UID, [outbox.object(SR)])
    assert caught.value.reason is reason


def test_check_is_a_search_for_one_study() -> None:
    with running_web_server(in_turn([Reply(body=b"[]", headers=JSON), Reply(status=404)])) as server:
        assert sender(server.url).check() == "answers QIDO-RS"
        with pytest.raises(Permanent):
            sender(server.url).check()
    assert server.requests[0].path == "/studies?limit=1"


def test_a_server_reads_back_and_does_not_commit() -> None:
    assert isinstance(sender("http://127.0.0.1:1"), ReadsBack)
    assert not isinstance(sender("http://127.0.0.1:1"), Commits)
