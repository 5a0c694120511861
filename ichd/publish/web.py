"""What HTTP destinations have in common: where they are, and what goes wrong on the way."""

import ssl
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ichd.domain.errors import Permanent, Transient
from ichd.domain.reason import Reason
from ichd.publish.connection import handshake_trouble, stays_here, words
from ichd.tls import ClientTls

#: 408 Request Timeout, 425 Too Early, 429 Too Many Requests.
_LATER = frozenset({408, 425, 429})
_NOT_LET_IN = frozenset({401, 403, 407})


@dataclass(frozen=True, kw_only=True)
class WebPeer:
    """An HTTP server that takes what we send."""

    #: How receipts and messages call it.
    name: str
    #: Of a DICOMweb service its root, e.g. https://pacs/dicom-web; of a webhook where to post.
    url: str
    tls: ClientTls | None = None
    #: A bearer token, or an account with its password.
    token: str | None = field(default=None, repr=False)
    account: str | None = None
    password: str | None = field(default=None, repr=False)
    #: For every wait on the server: connecting, writing, reading; and for the whole of its answer once that has begun.
    timeout_s: float = 30.0

    def __str__(self) -> str:
        # What else stands in a URL may be a secret.
        return f"{self.name} ({self.scheme}://{self.host}:{self.port})"

    @property
    def scheme(self) -> str:
        """http or https."""
        return urlsplit(self.url).scheme

    @property
    def host(self) -> str:
        """Name or address."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The usual one where the URL has none."""
        return urlsplit(self.url).port or (443 if self.scheme == "https" else 80)

    @property
    def is_loopback(self) -> bool:
        """Whether what is sent there stays on this machine."""
        return stays_here(self.host, self.port)


def failed(peer: WebPeer, status: int) -> Transient | Permanent:
    """The error for an HTTP status that is no success; without the server's words, which may name the patient."""
    said = f"{peer} answered {status}"
    if status in _NOT_LET_IN:
        return Transient(Reason.PEER_DENIED, said)
    if status in _LATER or status >= 500:
        return Transient(Reason.PEER_BUSY, said)
    if 300 <= status < 400:
        # With our token to wherever a server points? Whoever wrote the settings must say so.
        return Permanent(Reason.PEER_REFUSED, f"{said}, a redirection; set url to where it leads")
    return Permanent(Reason.PEER_REFUSED, said)


def broken(peer: WebPeer, error: BaseException) -> Transient:
    """The error for an exchange that did not come to its end.

    What HTTP libraries say may quote the URL, so that only what the system says below them is repeated.
    """
    below = _causes(error)
    for each in below:
        if isinstance(each, ssl.SSLError) and not isinstance(each, ssl.SSLEOFError):
            return handshake_trouble(str(peer), each)
    for each in below:
        if isinstance(each, TimeoutError):
            return Transient(Reason.PEER_UNREACHABLE, f"{peer} did not answer within {peer.timeout_s:g} s")
        if isinstance(each, OSError) and each.errno is not None and each.strerror and not _is_late(each):
            return Transient(Reason.PEER_UNREACHABLE, f"{peer}: {words(each)}")
    # In TLS 1.3 a server that wants a certificate may hang up while we write, and then we do not hear why.
    unshown = peer.scheme == "https" and (peer.tls is None or peer.tls.certificate is None)
    hint = "; it may want a certificate: see tls.certificate" if unshown else ""
    return Transient(Reason.ASSOCIATION_LOST, f"{peer} broke off, or speaks no HTTP{hint}")


def _is_late(error: OSError) -> bool:
    """Whether the connection had been there."""
    return isinstance(error, BrokenPipeError | ConnectionResetError | ConnectionAbortedError | ssl.SSLError)


def _causes(error: BaseException) -> list[BaseException]:
    """What an error came from, the nearest to the system first."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    return chain[::-1]
