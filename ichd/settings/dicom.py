"""Who may send to us and how, and whom we may ask."""

from ipaddress import ip_network
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from ichd.settings.base import Address, AETitle, Name, Port, Seconds, Section, existing_port


class TlsSettings(Section):
    """TLS 1.2 or newer, with the cipher suites of BCP 195 (PS3.15 B.12). Files are read again when they change."""

    certificate: Path = Field(description="Our certificate, with its chain: a PEM file.")
    key: Path = Field(description="Its private key, not encrypted: a PEM file.")
    client_ca: Path | None = Field(
        default=None, description="Certificates of the authorities of peers: a PEM file. Peers must then show one."
    )


class TlsClientSettings(Section):
    """How we show ourselves to a server, and whom we trust."""

    ca: Path | None = Field(default=None, description="Authorities that we trust: a PEM file; the system's otherwise.")
    certificate: Path | None = Field(default=None, description="Our certificate, where the server wants one: PEM.")
    key: Path | None = Field(default=None, description="Its private key: PEM.")
    check_hostname: bool = Field(default=True, description="Its certificate must be made out to its host name.")


class AllowedPeer(Section):
    """Who may send. A peer matches when both of what is given match."""

    ae_title: AETitle | None = Field(default=None, description="Calling AE title; any when left out.")
    address: str | None = Field(default=None, description="IP address or CIDR network; any when left out.")

    @field_validator("address")
    @classmethod
    def _can_be_matched(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                ip_network(value, strict=False)
            except ValueError:
                raise ValueError("is no IP address and no network; write 10.1.2.3 or 10.1.0.0/16") from None
        return value


class DicomSettings(Section):
    """The listener."""

    ae_title: AETitle = Field(default="ICHD", description="Our AE title, as listener and as sender.")
    host: str = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0 for every interface.")
    port: Port = Field(default=11112, description="Port to listen on; 0 for a free one.")
    allowed_peers: tuple[AllowedPeer, ...] = Field(default=(), description="Who may send; anybody when empty.")
    require_called_ae_title: bool = Field(
        default=False, description="Reject associations that call us by another AE title than ours."
    )
    tls: TlsSettings | None = Field(default=None, description="Take TLS connections only; plain ones when left out.")
    max_connections: int = Field(default=256, ge=2, description="Connections held at the same time, associated or not.")
    max_connections_per_address: int = Field(default=128, ge=1, description="The same from one address.")
    max_associations: int = Field(default=32, ge=1, description="Associations served at the same time.")
    max_associations_per_address: int = Field(default=16, ge=1, description="The same from one address.")
    association_timeout_s: Seconds = Field(
        default=10.0, description="A connection that has not asked for an association by then is dropped."
    )
    max_pdu: int = Field(
        default=131072, ge=4096, le=1 << 20, description="Longest PDU that peers are asked to send, bytes."
    )
    max_instance_mb: int = Field(
        default=256, ge=1, description="Largest data set that we take, MiB; 500 uncompressed frames of 512x512."
    )
    max_association_mb: int = Field(default=65536, ge=1, description="Most that one association may send, MiB.")
    network_timeout_s: Seconds = Field(default=30.0, description="Silence after which a connection is dropped.")

    @property
    def local_host(self) -> str:
        """Where this machine reaches the listener: one on every interface answers on loopback too."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound


class SourceSettings(Section):
    """An archive that we may ask: for images (`ichd pull`), and how many a study has. Storage commitment is answered
    to the source that has the AE title of who asked."""

    name: Name = Field(description="Name in commands and lists; unique.")
    kind: Literal["dimse", "dicomweb"] = Field(default="dimse", description="dimse: C-FIND; dicomweb: QIDO-RS.")
    address: Address | None = Field(default=None, description="HOST:PORT of a DIMSE source.")
    ae_title: AETitle | None = Field(default=None, description="AE title of a DIMSE source.")
    url: str | None = Field(
        default=None, pattern=r"^https?://", description="Root of a DICOMweb source: https://pacs/dicom-web."
    )
    retrieve: Literal["get", "move"] = Field(default="get", description="How a DIMSE source is asked for images.")
    counts: bool = Field(default=False, description="Ask how many images a study has, so that it is complete sooner.")
    tls: TlsClientSettings | None = Field(default=None, description="TLS to this source.")
    token: str | None = Field(default=None, description="Bearer token of a DICOMweb source.")
    token_file: Path | None = Field(default=None, description="File that holds it, in place of `token`.")
    account: str | None = Field(default=None, description="Account of a DICOMweb source that wants a password.")
    password: str | None = Field(default=None, description="Its password.")
    password_file: Path | None = Field(default=None, description="File that holds it, in place of `password`.")
    timeout_s: Seconds = Field(default=30.0, description="Longest wait for any answer.")

    @field_validator("address")
    @classmethod
    def _port_exists(cls, value: str | None) -> str | None:
        return None if value is None else existing_port(value)

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        if self.kind == "dimse" and (self.address is None or self.ae_title is None):
            raise ValueError("is a DIMSE source and needs address and ae_title")
        if self.kind == "dicomweb" and self.url is None:
            raise ValueError("is a DICOMweb source and needs url")
        for secret, file in ((self.token, self.token_file), (self.password, self.password_file)):
            if secret is not None and file is not None:
                raise ValueError("names a secret and a file for it; give one of them")
        return self
