"""TLS of a client: 1.2 or newer, as BCP 195 wants it (PS3.15 B.12); and when a certificate ends."""

import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from ichd.domain.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class ClientTls:
    """How we show ourselves to a server, and whom we trust; all files are PEM."""

    #: Authorities; the system's where it is None.
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    check_hostname: bool = True


def client_context(tls: ClientTls) -> ssl.SSLContext:
    """How to greet a server.

    Raises:
        SettingsError: a file can't be read, is no PEM, or key and certificate do not belong together.
    """
    context = _trusting(tls.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = tls.check_hostname
    if tls.certificate is not None:
        try:
            # An empty password makes an encrypted key an error, where OpenSSL would ask the terminal for one.
            context.load_cert_chain(tls.certificate, tls.key, password="")
        except OSError as error:
            raise SettingsError(
                f"tls.certificate {tls.certificate} and tls.key {tls.key or tls.certificate}: {_words(error)}; "
                "name PEM files that belong together, the key not encrypted"
            ) from error
    return context


def _trusting(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca)
    except OSError as error:
        raise SettingsError(f"tls.ca {ca}: {_words(error)}; name a PEM file of certificates") from error


def _words(error: OSError) -> str:
    """`ssl.SSLError` is an OSError whose text names a line of OpenSSL's sources."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not readable as PEM").lower().replace("_", " ")
    return error.strerror or type(error).__name__


def certificate_end(path: Path) -> datetime | None:
    """When the first certificate of a PEM file ends; None where there is no such file on this machine.

    Raises:
        SettingsError: it can't be read, or holds no certificate.
    """
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())[0].not_valid_after_utc
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"{path} can't be read ({error.strerror})") from error
    except ValueError as error:
        raise SettingsError(f"{path} holds no certificate in PEM form") from error
