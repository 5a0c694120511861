"""The section [web]: who may come in by which door."""

from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from ichd.domain.role import Role
from ichd.settings.base import LOOPBACK, Name, Port, Section


class AccountSettings(Section):
    """Who may use the web door, beyond loopback."""

    name: Name = Field(description="Name, as in basic authentication and in the audit trail; unique.")
    secret: str = Field(description="Hash of a password or of a bearer token, as `ichd secret` prints it.")
    role: Role = Field(
        default=Role.VIEWER,
        description="viewer: looks, and gives a reader's word; operator: also acts; admin: also sees who does what.",
    )
    stores: bool = Field(default=True, description="Whether it may store images by STOW-RS.")


class OidcSettings(Section):
    """An identity provider that vouches for people (OpenID Connect), beside the accounts."""

    issuer: str = Field(description="Its URL, under which it publishes `/.well-known/openid-configuration`.")
    client_id: str = Field(min_length=1, description="Our name there; we come back to `https://HOST/login/callback`.")
    client_secret: str | None = Field(default=None, description="Our secret there; PKCE alone when left out.")
    client_secret_file: Path | None = Field(default=None, description="A file that holds it, instead.")
    ca: Path | None = Field(default=None, description="Authorities that we trust: a PEM file; the system's otherwise.")
    scopes: str = Field(default="openid profile", description="What we ask it for.")
    name_claim: str = Field(default="preferred_username", description="Claim that names a person in the audit trail.")
    role_claim: str = Field(default="roles", description="Claim that lists groups or roles; dots lead into objects.")
    roles: dict[str, Role] = Field(description="Which of them is which role here; who has none does not get in.")
    label: str = Field(default="single sign-on", description="What the button says: Log in with ...")

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        parts = urlsplit(self.issuer)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
            raise ValueError("issuer must be an https URL; only on loopback it may be http")
        if self.client_secret is not None and self.client_secret_file is not None:
            raise ValueError("client_secret and client_secret_file say the same; give one of them")
        if "openid" not in self.scopes.split():
            raise ValueError('scopes must hold "openid"; without it nobody is vouched for')
        return self


class WebSettings(Section):
    """The status page and DICOMweb. Beyond loopback both ask for an account."""

    host: str = Field(default="127.0.0.1", description="Address to listen on; beyond loopback `account` is required.")
    port: Port = Field(default=8642, description="Port of the page; 0 for a free one.")
    account: tuple[AccountSettings, ...] = Field(default=(), description="Who may log in: a list of tables.")
    oidc: OidcSettings | None = Field(default=None, description="An identity provider: a table; none when left out.")
    certificate: Path | None = Field(default=None, description="Certificate for https, with its chain: a PEM file.")
    key: Path | None = Field(default=None, description="Its private key: a PEM file.")
    behind_tls: bool = Field(default=False, description="A proxy in front of us takes care of TLS; needs `account`.")
    hosts: tuple[str, ...] = Field(default=(), description="Names by which browsers may call us, beside the address.")
    names: Literal["viewer", "operator", "admin", "nobody"] = Field(
        default="operator", description="Least role that sees the names of patients, in files too; or nobody."
    )
    idle_min: float = Field(default=30.0, gt=0, description="A browser's log-in ends after so long without use.")
    session_h: float = Field(default=12.0, gt=0, description="A browser's log-in ends after so long, used or not.")
    max_request_mb: int = Field(default=4096, ge=1, description="Largest STOW-RS request that is taken, MiB.")

    @model_validator(mode="after")
    def _is_guarded(self) -> Self:
        names = [account.name for account in self.account]
        if len(set(names)) < len(names):
            raise ValueError("two accounts have the same name; give each its own")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together; give both or none")
        asks = bool(self.account or self.oidc)
        if self.behind_tls and not asks:
            # Whoever the proxy lets through comes from this machine: loopback no longer says who asks.
            raise ValueError("behind_tls opens it to others and needs an account; make its secret with `ichd secret`")
        if self.host not in LOOPBACK and not asks:
            raise ValueError("listens beyond loopback and needs an account; make its secret with `ichd secret`")
        if self.host not in LOOPBACK and self.certificate is None and not self.behind_tls:
            raise ValueError("listens beyond loopback and needs certificate and key, or behind_tls = true")
        return self
