"""Who may associate with a real listener, for what, and where it listens."""

import socket
from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from ichd.domain.errors import Refused, UserError
from ichd.domain.reason import Reason
from ichd.intake.claim import Sender
from ichd.intake.counter import Counter
from ichd.intake.dimse.listener import Listener, ListenerConfig
from ichd.intake.peers import AllowedPeer
from ichd.intake.refusals import Refusals
from ichd.store.tables import AuditRow, RefusalRow
from tests.intake.conftest import House, OpenHouse, now
from tests.intake.images import EXPLICIT, encode, image
from tests.intake.pdus import associate_rq, rejection_from
from tests.intake.senders import SUCCESS
from tests.intake.test_scp import MR_IMAGE_STORAGE, uid, until


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
@pytest.mark.parametrize(("host", "reached_at"), [("::", "127.0.0.1"), ("::", "::1"), ("::1", "::1")])
def test_it_listens_on_both_families(open_house: OpenHouse, host: str, reached_at: str) -> None:
    house = open_house(host=host, allowed_peers=(AllowedPeer(address=reached_at),))
    with socket.create_connection((reached_at, house.port), timeout=10) as connection:
        connection.sendall(associate_rq())
        assert connection.recv(4096)[0] == 2


def test_the_address_in_use_is_an_error_that_names_the_mend(house: House) -> None:
    config = ListenerConfig(port=house.port)
    second = Listener(config, Counter(house.arrivals, house.spool), house.arrivals, now)
    with pytest.raises(UserError, match=r"dicom\.port"):
        second.start()
    with house.sender() as sender:
        assert sender.store(encode(image(1)), uid(1)).status == SUCCESS


def test_other_sop_classes_are_refused_by_their_presentation_context(house: House) -> None:
    with house.sender(sop_classes=("1.2.840.10008.5.1.4.1.1.2", MR_IMAGE_STORAGE)) as sender:
        accepted = [context.abstract_syntax for context in sender.association.accepted_contexts]
    assert accepted == ["1.2.840.10008.5.1.4.1.1.2"]


def test_of_several_transfer_syntaxes_an_uncompressed_one_is_chosen(house: House) -> None:
    offered = ["1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2", EXPLICIT]
    with house.sender(transfer_syntax_uid=offered) as sender:
        assert sender.association.accepted_contexts[0].transfer_syntax == [EXPLICIT]


@pytest.mark.parametrize(
    ("allowed", "answer"),
    [
        ((AllowedPeer(ae_title="SCANNER", address="127.0.0.0/8"),), None),
        ((AllowedPeer(address="127.0.0.1"),), None),
        ((AllowedPeer(ae_title="OTHER"),), (1, 1, 3)),
        ((AllowedPeer(ae_title="SCANNER", address="10.1.0.0/16"), AllowedPeer(ae_title="OTHER")), (1, 1, 1)),
    ],
)
def test_only_allowed_peers_associate(
    open_house: OpenHouse, allowed: tuple[AllowedPeer, ...], answer: tuple[int, int, int] | None
) -> None:
    house = open_house(allowed_peers=allowed)
    assert rejection_from(house.port) == answer
    if answer is None:
        return
    until(lambda: house.count(RefusalRow) == 1)
    (refusal,) = house.arrivals.refusals()
    assert (refusal.reason, refusal.calling_ae_title) == (Reason.ASSOCIATION_NOT_ALLOWED, "SCANNER")
    assert (refusal.address, refusal.sop_instance_uid) == ("127.0.0.1", None)
    with capture_logs() as logs:
        assert rejection_from(house.port) == answer
        until(lambda: any(entry["event"] == "association_rejected" for entry in logs))
    assert house.count(RefusalRow) == 1, "who knocks once a second does not fill the table"


def test_each_guess_of_a_title_is_in_the_table_and_in_the_trail(open_house: OpenHouse) -> None:
    """Up to a number a minute; of the rest the next row says how many there were."""
    house = open_house(allowed_peers=(AllowedPeer(ae_title="OTHER"),))
    sender = Sender(calling_ae_title="", address="192.0.2.1")
    refusals, error = Refusals(house.arrivals), Refused(Reason.ASSOCIATION_NOT_ALLOWED, "unknown")
    begin = now()
    for number in range(25):
        for _ in range(2):
            refusals.association(error, replace(sender, calling_ae_title=f"GUESS{number}"), now=begin)
    assert [row.actor for row in house.rows(AuditRow)] == [f"GUESS{number}" for number in range(20)]
    refusals.association(error, replace(sender, calling_ae_title="LATE"), now=begin + timedelta(minutes=1))
    assert house.arrivals.refusals()[0].detail == "unknown (and 11 more like this)"


def test_associations_beyond_the_limit_are_told_to_come_back(open_house: OpenHouse) -> None:
    house = open_house(max_associations=2)
    with house.sender() as first, house.sender():
        assert rejection_from(house.port) == (2, 3, 2)
        until(lambda: house.count(RefusalRow) == 1)
        assert house.arrivals.refusals()[0].reason is Reason.TOO_MANY_ASSOCIATIONS
        first.association.release()
        until(lambda: house.sender().association.is_established)
