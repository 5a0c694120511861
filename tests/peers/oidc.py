"""A small identity provider on loopback: discovery, keys that change, codes with PKCE, tokens that lie on demand."""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote_plus, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

CLIENT, SECRET = "ichd", "a secret of a test"


@dataclass
class IdentityProvider:
    """Whoever comes to it is logged in as `person` at once."""

    url: str = ""
    person: dict[str, Any] = field(
        default_factory=lambda: {"sub": "4711", "preferred_username": "jane", "roles": ["radiology", "other"]}
    )
    #: Claims of the next tokens, instead of the true ones; None leaves a claim out.
    lies: dict[str, Any] = field(default_factory=dict)
    key: RSAKey | ECKey = field(default_factory=lambda: _key("first"))
    #: What signs, where it is not the published key.
    forger: RSAKey | ECKey | None = None
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def rotate(self) -> None:
        """Sign with a new key from now on, of another kind."""
        self.key = ECKey.generate_key("P-256", {"kid": secrets.token_hex(4), "alg": "ES256", "use": "sig"})

    def token(self, nonce: str) -> str:
        now = int(time.time())
        claims = (
            {"iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": nonce} | self.person | self.lies
        )
        signing = self.forger or self.key
        algorithm = "ES256" if isinstance(signing, ECKey) else "RS256"
        header = {"alg": algorithm, "kid": self.key.kid}
        return jwt.encode(header, {k: v for k, v in claims.items() if v is not None}, signing, algorithms=[algorithm])


def _key(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid, "alg": "RS256", "use": "sig"})


@contextmanager
def running_provider() -> Iterator[IdentityProvider]:
    """One that answers until the end of the context."""
    provider = IdentityProvider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            provider.asked.append(parts.path)
            if parts.path == "/.well-known/openid-configuration":
                paths = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "jwks"}
                self._answer(
                    {"issuer": provider.url} | {name: f"{provider.url}/{path}" for name, path in paths.items()}
                )
            elif parts.path == "/jwks":
                self._answer(dict(KeySet([provider.key]).as_dict(private=False)))
            else:
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                code = secrets.token_urlsafe(8)
                provider.codes[code] = query
                self.send_response(302)
                back = urlencode({"code": code, "state": query["state"]})
                self.send_header("Location", f"{query['redirect_uri']}?{back}")
                self.end_headers()

        def do_POST(self) -> None:
            provider.asked.append("/token")
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            asked = provider.codes.pop(form.get("code", ""), None)
            basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
            if asked is None or self.headers["Authorization"] not in {f"Basic {basic}", self._quoted()}:
                self._answer({"error": "invalid_grant"}, 400)
                return
            challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).decode()
            right = asked["code_challenge_method"] == "S256" and asked["code_challenge"] == challenge.rstrip("=")
            if not right or form["redirect_uri"] != asked["redirect_uri"]:
                self._answer({"error": "invalid_grant"}, 400)
                return
            token = provider.token(asked["nonce"])
            self._answer({"access_token": "x", "token_type": "Bearer", "expires_in": 300, "id_token": token})

        def _quoted(self) -> str:
            """RFC 6749 2.3.1 would have both parts quoted as in a form."""
            return "Basic " + base64.b64encode(f"{CLIENT}:{quote_plus(SECRET)}".encode()).decode()

        def _answer(self, content: dict[str, Any], status: int = 200) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
