"""TLS of the door: which certificate is shown, whom we trust, and which versions and suites are spoken."""

import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ichd.domain.errors import UserError

_log = structlog.get_logger(__name__)

#: Of TLS 1.2 (PS3.15 B.12, BCP 195): forward secrecy and authenticated encryption. All suites of TLS 1.3 have both.
_TLS_1_2_SUITES = "ECDHE+AESGCM:ECDHE+CHACHA20"
_LOOK_EVERY_S = 1.0
_COMPLAIN_EVERY = timedelta(hours=1)

_Fingerprint = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, kw_only=True)
class TlsFiles:
    """PEM files."""

    certificate: Path
    key: Path
    #: Authorities of peers, which must then show a certificate.
    client_ca: Path | None = None
    #: Where the settings name them.
    section: str = "dicom.tls"


@dataclass(frozen=True, kw_only=True)
class _Identity:
    context: ssl.SSLContext
    expires_at: datetime


class ServerTls:
    """Follows its files: who renews a certificate need not restart anything. Safe for any number of threads."""

    def __init__(self, files: TlsFiles, clock: Callable[[], datetime]) -> None:
        """Read the files.

        Raises:
            UserError: one of them is missing, unreadable or of the wrong kind, the key belongs to another certificate,
                or the certificate is not valid today.
        """
        self._files = files
        self._clock = clock
        self._lock = threading.Lock()
        self._fingerprint = _fingerprint(files)
        self._identity = _load(files, clock())
        self._looked_at = time.monotonic()
        self._complained_at: datetime | None = None

    def context(self) -> ssl.SSLContext:
        """What the next handshake uses. Files that can't be used leave what there was."""
        with self._lock:
            if time.monotonic() - self._looked_at >= _LOOK_EVERY_S:
                self._looked_at = time.monotonic()
                self._follow()
                self._complain()
            return self._identity.context

    def _follow(self) -> None:
        fingerprint = _fingerprint(self._files)
        if fingerprint == self._fingerprint:
            return
        # Also where they can't be used: said once, and tried again when they change again.
        self._fingerprint = fingerprint
        try:
            self._identity = _load(self._files, self._clock())
        except UserError as error:
            _log.error("certificate_not_renewed", error=str(error))
            return
        self._complained_at = None
        _log.info("certificate_renewed", expires_at=self._identity.expires_at.isoformat())

    def _complain(self) -> None:
        """Peers decide for themselves whether to go on with an expired certificate; most do not."""
        now = self._clock()
        if now <= self._identity.expires_at:
            return
        if self._complained_at is None or now - self._complained_at >= _COMPLAIN_EVERY:
            self._complained_at = now
            _log.error("certificate_expired", expires_at=self._identity.expires_at.isoformat())


def expiry(files: TlsFiles, now: datetime) -> datetime:
    """When the certificate expires.

    Raises:
        UserError: the files can't be used, as `ServerTls` says.
    """
    return _load(files, now).expires_at


def own_certificate(files: TlsFiles) -> bytes:
    """The certificate that peers are shown, as DER.

    Raises:
        UserError: its file can't be read, or holds none.
    """
    return _certificate(files).public_bytes(Encoding.DER)


def _load(files: TlsFiles, now: datetime) -> _Identity:
    certificate = _certificate(files)
    _require_valid(certificate, files, now)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_TLS_1_2_SUITES)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    _take_identity(context, files)
    if files.client_ca is not None:
        _read(files, files.client_ca, "client_ca")
        try:
            context.load_verify_locations(files.client_ca)
        except ssl.SSLError:
            raise UserError(f"{files.section}.client_ca: {files.client_ca} holds no certificates in PEM form") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return _Identity(context=context, expires_at=certificate.not_valid_after_utc)


def _certificate(files: TlsFiles) -> x509.Certificate:
    """The first one of the file is ours; the chain follows."""
    try:
        return x509.load_pem_x509_certificates(_read(files, files.certificate, "certificate"))[0]
    except ValueError:
        words = f"{files.certificate} holds no certificate in PEM form"
        raise UserError(f"{files.section}.certificate: {words}") from None


def _require_valid(certificate: x509.Certificate, files: TlsFiles, now: datetime) -> None:
    named = f"{files.section}.certificate: {files.certificate}"
    if now > certificate.not_valid_after_utc:
        raise UserError(f"{named} expired on {certificate.not_valid_after_utc:%Y-%m-%d}; renew it")
    if now < certificate.not_valid_before_utc:
        raise UserError(
            f"{named} is valid from {certificate.not_valid_before_utc:%Y-%m-%d} on; wait, or correct the clock"
        )


def _take_identity(context: ssl.SSLContext, files: TlsFiles) -> None:
    _read(files, files.key, "key")

    def no_passphrase() -> str:
        raise UserError(f"{files.section}.key: {files.key} is encrypted; store it without a passphrase")

    try:
        context.load_cert_chain(files.certificate, files.key, password=no_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            words = f"{files.key} is not the key of {files.certificate}"
        else:
            words = f"{files.key} holds no private key in PEM form that fits the certificate"
        raise UserError(f"{files.section}.key: {words}") from None


def _read(files: TlsFiles, path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{files.section}.{setting}: {path} can't be read ({error.strerror})") from None


def _fingerprint(files: TlsFiles) -> _Fingerprint:
    return tuple(_state(path) for path in (files.certificate, files.key, files.client_ca) if path is not None)


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
