"""An HTTP session for dicomweb-client: our certificates, our account, no redirections, and an end to every answer.

requests underneath knows certificates as files that it opens anew, adds authorities of its own, follows redirections,
asks the environment for proxies and passwords, and reads an answer for as long as it drips.
"""

import time
from collections.abc import Iterator
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from ichd.domain.errors import SettingsError, Transient
from ichd.domain.reason import Reason
from ichd.publish.web import WebPeer
from ichd.tls import ClientTls, client_context

#: An account of some objects, or a list of some matches.
_MOST_BYTES = 8 << 20
_AT_ONCE = 1 << 16


class WebSession(requests.Session):
    """Remembers how the server answered."""

    def __init__(self, peer: WebPeer) -> None:
        """Connect to nobody yet.

        Raises:
            Transient: PEER_DENIED, our certificates can't be used; they may be renewed at this moment.
        """
        super().__init__()
        self.last_status = 0
        self.trust_env = False
        # Ends at the first one: credentials go nowhere but where the settings say.
        self.max_redirects = 0
        self.headers.update({"Accept": "application/dicom+json", "Accept-Encoding": "identity"})
        if peer.token is not None:
            self.headers["Authorization"] = f"Bearer {peer.token}"
        elif peer.account is not None:
            # As bytes: requests would take Latin-1, servers take UTF-8 (RFC 7617).
            self.auth = (peer.account.encode(), (peer.password or "").encode())  # type: ignore[assignment]
        adapter = _Adapter(peer)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send one request."""
        response = super().send(request, **kwargs)
        self.last_status = response.status_code
        return response


class _Adapter(HTTPAdapter):
    def __init__(self, peer: WebPeer) -> None:
        self._peer = peer
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Connections by our own rules of TLS."""
        tls = self._peer.tls or ClientTls()
        try:
            context = client_context(tls)
        except SettingsError as error:
            raise Transient(Reason.PEER_DENIED, f"{self._peer}: {error}") from error
        name = None if tls.check_hostname else False
        super().init_poolmanager(*args, ssl_context=context, assert_hostname=name, **kwargs)

    def cert_verify(self, *_: Any, **__: Any) -> None:
        """Nothing: the context knows whom to trust, and requests would add authorities of its own to it."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Send one request; its answer comes in a bounded time and length."""
        # dicomweb-client leaves the port out of it.
        request.headers.pop("Host", None)
        response = super().send(request, *args, **kwargs)
        # dicomweb-client knows a media type only where nothing follows it.
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        response.headers["Content-Type"] = media_type
        response.raw = _Bounded(self._peer, response.raw)
        return response


class _Bounded:
    """The body of an answer."""

    def __init__(self, peer: WebPeer, raw: Any) -> None:
        self._peer = peer
        self._raw = raw
        self._deadline = time.monotonic() + peer.timeout_s

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        """What has come, as it comes: a read of a full block would wait for as long as it drips.

        Raises:
            Transient: it goes on for too long.
        """
        size = 0
        while chunk := self._raw.read1(_AT_ONCE, decode_content=True):
            size += len(chunk)
            if size > _MOST_BYTES:
                raise Transient(Reason.PEER_CONFUSED, f"{self._peer} sent more than {_MOST_BYTES} bytes")
            if time.monotonic() > self._deadline:
                raise Transient(
                    Reason.PEER_UNREACHABLE, f"{self._peer} did not end its answer within {self._peer.timeout_s:g} s"
                )
            yield bytes(chunk)

    def close(self) -> None:
        """End the connection."""
        self._raw.close()

    def release_conn(self) -> None:
        """Give the connection back."""
        self._raw.release_conn()
