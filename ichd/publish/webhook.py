"""A result as JSON to a webhook, signed.

A receiver knows by the signature that we wrote the body, by the timestamp that nobody sends an old one again, and by
the delivery's id that it has had it before: it is the same for every attempt.
"""

import hmac
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx

from ichd.domain.delivery import Outgoing, Parcel, Receipt
from ichd.domain.errors import SettingsError, Transient
from ichd.domain.reason import Reason
from ichd.publish.connection import connect
from ichd.publish.web import WebPeer, broken, failed
from ichd.tls import ClientTls, client_context

DELIVERY = "X-Ichd-Delivery"
TIMESTAMP = "X-Ichd-Timestamp"
SIGNATURE = "X-Ichd-Signature"
#: Of the signature, so that another one can stand beside it.
_VERSION = "v1"
_CONNECT_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """The way to one webhook."""

    peer: WebPeer
    #: Both sides know it.
    secret: str = field(repr=False)

    @property
    def name(self) -> str:
        """How receipts and messages call it."""
        return self.peer.name

    @property
    def is_loopback(self) -> bool:
        """Whether what is sent there stays on this machine."""
        return self.peer.is_loopback

    def deliver(self, parcel: Parcel, *, now: datetime) -> Receipt:
        """Post each body of the parcel; `now` is its timestamp.

        Raises:
            Transient, Permanent: as `ichd.publish.web` has them.
        """
        bodies = parcel.fetch(parcel.wanted)
        status = ""
        for each in bodies:
            with _client(self.peer) as client, _ended_after(self.peer.timeout_s, client):
                status = str(self._post(client, each, now))
        return Receipt(
            destination=self.name,
            sent_at=now,
            sop_instance_uids=tuple(each.sop_instance_uid for each in bodies),
            sop_class_uid="",
            status=status,
            address=self.peer.host,
        )

    def check(self) -> str:
        """Connect; to post something would be a delivery.

        Raises:
            Transient: nobody there, or no agreement on TLS.
        """
        peer = self.peer
        tls = (peer.tls or ClientTls()) if peer.scheme == "https" else None
        connect(str(peer), peer.host, peer.port, tls=tls, connect_s=_CONNECT_S, timeout_s=peer.timeout_s).close()
        return "takes connections"

    def _post(self, client: httpx.Client, each: Outgoing, now: datetime) -> int:
        body = each.path.read_bytes()
        timestamp = str(int(now.timestamp()))
        headers = {
            "Content-Type": "application/json",
            DELIVERY: each.sop_instance_uid,
            TIMESTAMP: timestamp,
            SIGNATURE: sign(body, timestamp, self.secret),
        }
        try:
            # What the body of the answer says is of no interest, and may be long.
            with client.stream("POST", self.peer.url, content=body, headers=headers) as response:
                if not response.is_success:
                    raise failed(self.peer, response.status_code)
                return response.status_code
        except httpx.HTTPError as error:
            raise broken(self.peer, error) from error


def sign(body: bytes, timestamp: str, secret: str) -> str:
    """What X-Ichd-Signature says of a body that is posted at `timestamp`, in seconds since 1970."""
    signed = timestamp.encode() + b"." + body
    return f"{_VERSION}={hmac.digest(secret.encode(), signed, 'sha256').hex()}"


def verify(
    body: bytes, *, timestamp: str, signature: str, secret: str, now: datetime, tolerance_s: float = 300.0
) -> bool:
    """Whether we wrote this body, and not long ago: what a receiver does with the headers, before it reads the body."""
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 20):
        return False
    if abs(now.astimezone(UTC).timestamp() - int(timestamp)) > tolerance_s:
        return False
    expected = sign(body, timestamp, secret).encode()
    return any(hmac.compare_digest(each.strip().encode(), expected) for each in signature.split(","))


@contextmanager
def _ended_after(limit_s: float, client: httpx.Client) -> Iterator[None]:
    """Hang up when an attempt takes longer as a whole: a server that drips its headers is in time with each byte."""
    limit = threading.Timer(2 * limit_s, client.close)
    limit.daemon = True
    limit.start()
    try:
        yield
    finally:
        limit.cancel()


def _client(peer: WebPeer) -> httpx.Client:
    headers = {"Authorization": f"Bearer {peer.token}"} if peer.token else {}
    try:
        context = client_context(peer.tls or ClientTls())
    except SettingsError as error:
        raise Transient(Reason.PEER_DENIED, f"{peer}: {error}") from error
    return httpx.Client(
        headers=headers,
        auth=None if peer.account is None else (peer.account, peer.password or ""),
        verify=context,
        timeout=httpx.Timeout(peer.timeout_s, connect=min(_CONNECT_S, peer.timeout_s)),
        # Neither a proxy of the environment nor one more hop gets to see a result.
        trust_env=False,
        follow_redirects=False,
    )
