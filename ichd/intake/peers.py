"""Who may open an association: calling AE title and network address."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from ichd.domain.errors import Refused, SettingsError, Transient
from ichd.domain.reason import Reason


@dataclass(frozen=True)
class _Rejection:
    result: int
    source: int
    diagnostic: int


class Rejection(Enum):
    """A-ASSOCIATE-RJ by result, source and diagnostic (PS3.8 table 9-21)."""

    APPLICATION_CONTEXT_NOT_SUPPORTED = _Rejection(1, 1, 2)
    CALLING_AE_TITLE_NOT_RECOGNIZED = _Rejection(1, 1, 3)
    CALLED_AE_TITLE_NOT_RECOGNIZED = _Rejection(1, 1, 7)
    #: The standard has no word for an address; permanent, by the user, no reason given.
    ADDRESS_NOT_ALLOWED = _Rejection(1, 1, 1)
    PROTOCOL_VERSION_NOT_SUPPORTED = _Rejection(1, 2, 2)
    LOCAL_LIMIT_EXCEEDED = _Rejection(2, 3, 2)

    def as_error(self) -> Refused | Transient:
        """The same in coded words, for people."""
        if self is Rejection.LOCAL_LIMIT_EXCEEDED:
            return Transient(Reason.TOO_MANY_ASSOCIATIONS, self.name.lower())
        return Refused(_REASONS.get(self, Reason.ASSOCIATION_NOT_ALLOWED), self.name.lower())


_REASONS: Mapping[Rejection, Reason] = {
    Rejection.APPLICATION_CONTEXT_NOT_SUPPORTED: Reason.ASSOCIATION_UNSUPPORTED,
    Rejection.PROTOCOL_VERSION_NOT_SUPPORTED: Reason.ASSOCIATION_UNSUPPORTED,
    Rejection.CALLED_AE_TITLE_NOT_RECOGNIZED: Reason.CALLED_AE_TITLE_UNKNOWN,
}


@dataclass(frozen=True, kw_only=True)
class AllowedPeer:
    """A peer that may send; what is None is not asked for."""

    ae_title: str | None = None
    #: An IP address or a network in CIDR form.
    address: str | None = None

    def __post_init__(self) -> None:
        """Refuse an address that can't be matched, before anybody is let in or locked out by it.

        Raises:
            SettingsError: it is neither an address nor a network.
        """
        try:
            self._network()
        except ValueError as error:
            raise SettingsError(
                f"dicom.allowed_peers: {self.address!r} is no IP address and no network; write 10.1.2.3 or 10.1.0.0/16"
            ) from error

    def has_address(self, address: str) -> bool:
        """Whether the connection comes from where this peer lives."""
        found = ip_address(address)
        if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
            # A socket that listens on both families shows IPv4 peers this way.
            found = found.ipv4_mapped
        network = self._network()
        return network is None or found in network

    def _network(self) -> IPv4Network | IPv6Network | None:
        return None if self.address is None else ip_network(self.address, strict=False)

    def has_ae_title(self, calling_ae_title: str) -> bool:
        """Whether it claims this peer's name; spaces around an AE title mean nothing (PS3.5 6.2)."""
        return self.ae_title is None or self.ae_title.strip() == calling_ae_title.strip()


def rejection_of(calling_ae_title: str, address: str, allowed: Sequence[AllowedPeer]) -> Rejection | None:
    """Why this peer may not associate, or None where it may; everybody may where nobody is listed."""
    if not allowed:
        return None
    named = [peer for peer in allowed if peer.has_ae_title(calling_ae_title)]
    if not named:
        return Rejection.CALLING_AE_TITLE_NOT_RECOGNIZED
    return None if any(peer.has_address(address) for peer in named) else Rejection.ADDRESS_NOT_ALLOWED
