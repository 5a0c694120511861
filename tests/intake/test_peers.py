"""Who may associate, as a table."""

import pytest

from ichd.domain.errors import SettingsError
from ichd.intake.peers import AllowedPeer, Rejection, rejection_of

CT1 = AllowedPeer(ae_title="CT1", address="10.1.0.0/16")
CT1_SPARE = AllowedPeer(ae_title="CT1 ", address="192.168.7.7")
ANYBODY_INSIDE = AllowedPeer(address="fd00::/8")
PACS_ANYWHERE = AllowedPeer(ae_title="PACS")

UNNAMED = Rejection.CALLING_AE_TITLE_NOT_RECOGNIZED
ELSEWHERE = Rejection.ADDRESS_NOT_ALLOWED


@pytest.mark.parametrize(
    ("title", "address", "allowed", "rejection"),
    [
        ("ANY", "203.0.113.9", (), None),
        ("CT1", "10.1.255.3", (CT1,), None),
        (" CT1", "10.1.255.3", (CT1,), None),
        ("CT1", "::ffff:10.1.255.3", (CT1,), None),
        ("CT1", "192.168.7.7", (CT1, CT1_SPARE), None),
        ("CT1", "10.2.0.1", (CT1, CT1_SPARE), ELSEWHERE),
        ("CT2", "10.1.0.1", (CT1, CT1_SPARE), UNNAMED),
        ("ct1", "10.1.0.1", (CT1,), UNNAMED),
        ("ANY", "fd12::1", (CT1, ANYBODY_INSIDE), None),
        ("ANY", "fe80::1%eth0", (CT1, ANYBODY_INSIDE), ELSEWHERE),
        ("PACS", "203.0.113.9", (CT1, PACS_ANYWHERE), None),
    ],
)
def test_peers(title: str, address: str, allowed: tuple[AllowedPeer, ...], rejection: Rejection | None) -> None:
    assert rejection_of(title, address, allowed) is rejection


@pytest.mark.parametrize("address", ["10.1.0.0/99", "pacs.hospital", ""])
def test_an_address_that_is_none_is_an_error_of_the_settings(address: str) -> None:
    with pytest.raises(SettingsError, match="allowed_peers"):
        AllowedPeer(address=address)
