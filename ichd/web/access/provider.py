"""An identity provider (OpenID Connect Core 1.0): who it says has logged in, and how we know that it was it.

Authorization code with PKCE (RFC 7636), state and nonce; the provider's keys are fetched again when it signs with one
that we do not know, and no oftener than once in a while.
"""

import hashlib
import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from ichd.domain.errors import IchdError
from ichd.domain.role import Role

#: Asymmetric ones alone: with a shared secret, whoever knows it could say who we are.
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
_PATIENCE_S = 10.0
#: Clocks of two machines may differ by so much.
_LEEWAY_S = 60
_KEYS_EVERY_S = 30.0
_CONFIGURATION_EVERY_S = 3600.0


class NotVouched(IchdError):
    """What the provider says can't be trusted, or means nobody here."""


class ProviderAway(IchdError):
    """The provider does not answer, or not with what it should."""


@dataclass(frozen=True, kw_only=True)
class ProviderConfig:
    """What the settings say of it."""

    issuer: str
    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    #: Claim that names the account in the trail.
    name_claim: str = "preferred_username"
    #: Claim with a list of groups or roles; dots lead into objects.
    role_claim: str = "roles"
    #: Which of them is which role here; who has none of them does not get in.
    roles: Mapping[str, Role] = field(default_factory=dict)
    scopes: str = "openid profile"
    #: What the button says.
    label: str = "single sign-on"
    trust: ssl.SSLContext | None = field(default=None, repr=False)

    @property
    def fingerprint(self) -> str:
        """Of what decides who gets in: with other settings, sessions are over."""
        roles = sorted((name, str(role)) for name, role in self.roles.items())
        said = json.dumps([self.issuer, self.client_id, self.name_claim, self.role_claim, roles])
        return hashlib.sha256(said.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Vouched:
    """Who the provider says it is."""

    name: str
    role: Role


class Provider:
    """Safe for any number of threads."""

    def __init__(self, config: ProviderConfig, *, clock: Callable[[], float] = time.time) -> None:
        self.config = config
        self._clock = clock
        self._lock = threading.Lock()
        self._configuration: tuple[dict[str, Any], float] = ({}, 0.0)
        self._keys: KeySet | None = None
        self._keys_until = 0.0

    def address(self, *, back: str, state: str, nonce: str, verifier: str) -> str:
        """Where to send a browser that shall log in, and come `back`.

        Raises:
            ProviderAway: the provider does not answer.
        """
        endpoint = self._configured("authorization_endpoint")
        with self._client(back) as client:
            url, _ = client.create_authorization_url(endpoint, state=state, nonce=nonce, code_verifier=verifier)
        return str(url)

    def vouched(self, code: str, *, back: str, nonce: str, verifier: str) -> Vouched:
        """Who brought the code.

        Raises:
            NotVouched: the code, or what the provider says for it, can't be trusted, or means nobody here.
            ProviderAway: the provider does not answer.
        """
        endpoint = self._configured("token_endpoint")
        try:
            with self._client(back) as client:
                answer = client.fetch_token(
                    endpoint, grant_type="authorization_code", code=code, code_verifier=verifier
                )
        except OAuthError as error:
            raise NotVouched(f"the provider refuses the code: {error.error}") from None
        except (httpx.HTTPError, ValueError) as error:
            raise _away(error) from None
        return self._believed(str(answer.get("id_token") or ""), nonce)

    def _believed(self, id_token: str, nonce: str) -> Vouched:
        """What a signed token says, once all of it fits (OpenID Connect Core 3.1.3.7)."""
        try:
            token = self._decoded(id_token)
            claims = token.claims
            jwt.JWTClaimsRegistry(
                now=int(self._clock()),
                leeway=_LEEWAY_S,
                iss={"essential": True, "value": self.config.issuer},
                aud={"essential": True, "value": self.config.client_id},
                exp={"essential": True},
                iat={"essential": True},
                sub={"essential": True},
                nonce={"essential": True, "value": nonce},
            ).validate(claims)
        except (JoseError, ValueError) as error:
            raise NotVouched(f"the provider's token: {type(error).__name__}") from None
        if isinstance(claims["aud"], list) and len(claims["aud"]) > 1 and claims.get("azp") != self.config.client_id:
            raise NotVouched("the provider's token is for several, and not for us first")
        return self._known(claims)

    def _known(self, claims: Mapping[str, Any]) -> Vouched:
        name = claims.get(self.config.name_claim) or claims["sub"]
        given: Any = claims
        for part in self.config.role_claim.split("."):
            given = given.get(part) if isinstance(given, Mapping) else None
        named = [given] if isinstance(given, str) else given if isinstance(given, list) else []
        roles = [self.config.roles[each] for each in named if isinstance(each, str) and each in self.config.roles]
        if not roles or not isinstance(name, str):
            raise NotVouched("the account has no role here; web.oidc.roles says which are known")
        return Vouched(name=name[:64], role=max(roles, key=list(Role).index))

    def _decoded(self, id_token: str) -> jwt.Token:
        try:
            return jwt.decode(id_token, self._key_set(), algorithms=_ALGORITHMS)
        except (JoseError, ValueError):
            # Signed with a key that came after ours were fetched, say.
            return jwt.decode(id_token, self._key_set(anew=True), algorithms=_ALGORITHMS)

    def _key_set(self, *, anew: bool = False) -> KeySet:
        with self._lock:
            if self._keys is None or (anew and self._clock() >= self._keys_until):
                self._keys = KeySet.import_key_set(self._get(self._configured("jwks_uri")))  # type: ignore[arg-type]
                self._keys_until = self._clock() + _KEYS_EVERY_S
            return self._keys

    def _configured(self, name: str) -> str:
        """What the provider says of itself (OpenID Connect Discovery 1.0)."""
        configuration, until = self._configuration
        if self._clock() >= until:
            configuration = self._get(f"{self.config.issuer.rstrip('/')}/.well-known/openid-configuration")
            if configuration.get("issuer") != self.config.issuer:
                raise ProviderAway("the identity provider calls itself by another name")
            self._configuration = (configuration, self._clock() + _CONFIGURATION_EVERY_S)
        found = configuration.get(name)
        if not isinstance(found, str):
            raise ProviderAway(f"the identity provider has no {name}")
        return found

    def _get(self, url: str) -> dict[str, Any]:
        try:
            answer = httpx.get(url, timeout=_PATIENCE_S, verify=self.config.trust or True)
            answer.raise_for_status()
            found = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise _away(error) from None
        if not isinstance(found, dict):
            raise ProviderAway("the identity provider answers with something else")
        return found

    def _client(self, back: str) -> OAuth2Client:
        return OAuth2Client(
            client_id=self.config.client_id,
            client_secret=self.config.client_secret,
            token_endpoint_auth_method="client_secret_basic" if self.config.client_secret else "none",
            scope=self.config.scopes,
            redirect_uri=back,
            code_challenge_method="S256",
            timeout=_PATIENCE_S,
            verify=self.config.trust or True,
        )


def _away(error: Exception) -> ProviderAway:
    return ProviderAway(f"the identity provider: {type(error).__name__}")
