"""A TCP connection to a destination, in TLS where it is asked for; every wait on it has an end."""

import ipaddress
import socket
import ssl
import time
from collections.abc import Iterable
from contextlib import suppress

from ichd.domain.errors import SettingsError, Transient
from ichd.domain.reason import Reason
from ichd.tls import ClientTls, client_context

_AT_ONCE = 1 << 16
_LAST_WORDS_S = 1.0
#: Alerts (RFC 8446 6.2) by which a server says that it wants another certificate, or any.
_NOT_LET_IN = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED", "HANDSHAKE_FAILURE")


def connect(
    who: str, host: str, port: int, *, tls: ClientTls | None, connect_s: float, timeout_s: float
) -> "Connection":
    """A connection, with its TLS handshake done.

    `who` is how errors call the destination. `timeout_s` is the longest wait for it to read what we write.

    Raises:
        Transient: nobody there, or no agreement on TLS; both get mended there or in our settings.
    """
    try:
        plain = socket.create_connection((host, port), timeout=connect_s)
    except OSError as error:
        raise Transient(Reason.PEER_UNREACHABLE, f"{who}: {words(error)}") from error
    # Without this, Nagle's algorithm and a delayed ACK cost 40 ms an object.
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls is None:
        return Connection(who, plain, timeout_s=timeout_s)
    try:
        plain.settimeout(timeout_s)
        # Closes `plain` where it fails.
        return Connection(who, client_context(tls).wrap_socket(plain, server_hostname=host), timeout_s=timeout_s)
    except SettingsError as error:
        plain.close()
        raise Transient(Reason.PEER_DENIED, f"{who}: {error}") from error
    except OSError as error:
        plain.close()
        raise handshake_trouble(who, error) from error


class Connection:
    """An open connection, to be used by one thread."""

    def __init__(self, who: str, connected: socket.socket, *, timeout_s: float) -> None:
        self._who = who
        self._socket = connected
        self._timeout_s = timeout_s
        self._received = bytearray()

    def send(self, pieces: Iterable[bytes]) -> None:
        """Write the pieces one after another.

        Raises:
            Transient: the connection broke, or the destination does not read a piece in time.
        """
        try:
            self._socket.settimeout(self._timeout_s)
            for piece in pieces:
                self._socket.sendall(piece)
        except OSError as error:
            raise self._trouble(self._alert() or error) from error

    def receive(self, size: int, *, deadline: float) -> bytes:
        """Exactly so many bytes, by `deadline` (monotonic).

        Raises:
            Transient: the connection broke, or they did not come in time.
        """
        while len(self._received) < size:
            self._receive_some(deadline)
        content = bytes(self._received[:size])
        del self._received[:size]
        return content

    def receive_until(self, end: bytes, *, at_most: int, deadline: float) -> bytes:
        """Up to and with `end`, by `deadline` (monotonic).

        Raises:
            Transient: as `receive`; or it did not come within so many bytes.
        """
        looked_at = 0
        while (found := self._received.find(end, looked_at)) < 0:
            looked_at = max(len(self._received) - len(end) + 1, 0)
            if len(self._received) > at_most:
                raise Transient(Reason.PEER_CONFUSED, f"{self._who} sent {at_most} bytes and no end of them")
            self._receive_some(deadline)
        return self.receive(found + len(end), deadline=deadline)

    def say_last(self, content: bytes) -> None:
        """Write something that the destination may or may not hear."""
        with suppress(OSError):
            self._socket.settimeout(_LAST_WORDS_S)
            self._socket.sendall(content)

    def close(self) -> None:
        """End the connection, without waiting for anything."""
        self._socket.close()

    def _receive_some(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise self._trouble(TimeoutError())
        try:
            self._socket.settimeout(left)
            received = self._socket.recv(_AT_ONCE)
        except OSError as error:
            raise self._trouble(error) from error
        if not received:
            raise Transient(Reason.ASSOCIATION_LOST, f"{self._who} hung up")
        self._received += received

    def _alert(self) -> OSError | None:
        """What a TLS server said before it hung up; it is not heard by who only writes."""
        if isinstance(self._socket, ssl.SSLSocket):
            try:
                self._socket.settimeout(_LAST_WORDS_S)
                self._socket.recv(1)
            except ssl.SSLError as error:
                return error if _denies(error) else None
            except OSError:
                return None
        return None

    def _trouble(self, error: OSError) -> Transient:
        if isinstance(error, TimeoutError):
            return Transient(Reason.PEER_UNREACHABLE, f"{self._who} did not answer within {self._timeout_s:g} s")
        # In TLS 1.3 a server looks at our certificate after its handshake is over for us.
        if isinstance(error, ssl.SSLError) and _denies(error):
            return handshake_trouble(self._who, error)
        return Transient(Reason.ASSOCIATION_LOST, f"{self._who}: {words(error)}")


def handshake_trouble(who: str, error: OSError) -> Transient:
    """What a failed TLS handshake means."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Transient(Reason.PEER_DENIED, f"{who}: we do not trust its certificate: {words(error)}; see tls.ca")
    if isinstance(error, ssl.SSLError) and _denies(error):
        said = f"it does not take our certificate: {words(error)}; see tls.certificate"
        return Transient(Reason.PEER_DENIED, f"{who}: {said}")
    if isinstance(error, TimeoutError):
        return Transient(Reason.PEER_UNREACHABLE, f"{who}: no TLS handshake in time; does it speak TLS on this port?")
    return Transient(
        Reason.PEER_UNREACHABLE, f"{who}: no agreement on TLS: {words(error)}; does it speak TLS 1.2 on this port?"
    )


def words(error: OSError) -> str:
    """What went wrong, without the line of OpenSSL's sources that an `ssl.SSLError` names."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        return (error.reason or "the connection ended").lower().replace("_", " ")
    if isinstance(error, TimeoutError):
        return "no connection in time"
    return error.strerror or type(error).__name__


def stays_here(host: str, port: int) -> bool:
    """Whether what is sent there stays on this machine: every address of the host is a loopback one."""
    found: list[str] = []
    with suppress(OSError, UnicodeError):
        # A zone index ("fe80::1%eth0") is no part of the address.
        found = [
            str(entry[4][0]).partition("%")[0] for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        ]
    return bool(found) and all(ipaddress.ip_address(address).is_loopback for address in found)


def _denies(error: ssl.SSLError) -> bool:
    reason = (error.reason or "").upper()
    return "ALERT" in reason and any(word in reason for word in _NOT_LET_IN)
