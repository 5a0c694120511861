"""Secrets as `[[web.account]] secret` holds them: hashes of passwords and of bearer tokens, and how they are compared.

Passwords are hashed with scrypt, which costs a guesser 32 MiB and a tenth of a second each. Tokens of our own making
have 256 random bits: nobody guesses them, and one SHA-256 is enough.
"""

import base64
import hashlib
import hmac
import re
import secrets

_SCRYPT = re.compile(r"scrypt\$([0-9]{1,2})\$([0-9]{1,2})\$([0-9]{1,2})\$([A-Za-z0-9_-]{16,})\$([A-Za-z0-9_-]{43})")
_SHA256 = re.compile(r"sha256\$([0-9a-f]{64})")
#: N = 2 to this power, r, p: 32 MiB.
_COST = (15, 8, 1)
_MOST_MEMORY_BYTES = 256 << 20


def hash_password(password: str) -> str:
    """What `[[web.account]] secret` holds for a password."""
    salt = secrets.token_bytes(16)
    power, r, p = _COST
    digest = _scrypt(password, salt, power, r, p)
    return f"scrypt${power}${r}${p}${_encode(salt)}${_encode(digest)}"


def new_token() -> tuple[str, str]:
    """A new bearer token, and what `[[web.account]] secret` holds for it."""
    token = secrets.token_urlsafe(32)
    return token, hash_token(token)


def hash_token(token: str) -> str:
    """What `[[web.account]] secret` holds for a token."""
    return f"sha256${hashlib.sha256(token.encode()).hexdigest()}"


def is_of_password(secret: str) -> bool:
    """Whether a secret is the hash of a password."""
    return _SCRYPT.fullmatch(secret) is not None


def is_of_token(secret: str) -> bool:
    """Whether a secret is the hash of a token."""
    return _SHA256.fullmatch(secret) is not None


def fits_token(token: str, secret: str) -> bool:
    """Whether a token is the one of a secret; takes the same time whatever differs."""
    return hmac.compare_digest(hash_token(token).encode(), secret.encode())


def fits_password(password: str, secret: str) -> bool:
    """Whether a password is the one of a secret; takes the same time whatever differs."""
    found = _SCRYPT.fullmatch(secret)
    if found is None:
        return False
    power, r, p = int(found[1]), int(found[2]), int(found[3])
    return hmac.compare_digest(_encode(_scrypt(password, _decode(found[4]), power, r, p)), found[5])


def _scrypt(password: str, salt: bytes, power: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=1 << power, r=r, p=p, maxmem=_MOST_MEMORY_BYTES, dklen=32)


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
