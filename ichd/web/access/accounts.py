"""Who may use the web door: accounts with a password or a bearer token, of which only hashes are kept.

A crowd of guessers costs no more than a line of comparisons, and has to wait once ten were wrong.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum

from ichd.domain.errors import UserError
from ichd.web.access.secret import fits_password, fits_token, hash_password, is_of_password, is_of_token

_MOST_CREDENTIAL_CHARACTERS = 1024

#: A viewer asks a hundred times in a row: one scrypt is enough for all of them. Counted from the last time.
_REMEMBERED_S = 300.0
_MOST_REMEMBERED = 256
#: Passwords that are compared or wait to be, one after the other: whoever comes last waits about a second.
_MOST_IN_LINE = 8
_MOST_IN_LINE_PER_ADDRESS = 4
#: Requests that wait for the outcome of the same comparison; each holds a thread.
_MOST_FOLLOWERS = 24
#: Wrong passwords of one address within the period after which it has to wait for the rest of it.
_MOST_FAILURES = 10
_FAILURE_PERIOD_S = 60.0
_MOST_ADDRESSES = 4096


class Verdict(Enum):
    """What becomes of a request."""

    KNOWN = "known"
    #: No credentials came with it.
    ASKED = "asked"
    #: They are wrong.
    WRONG = "wrong"
    #: Too many passwords were wrong; none is compared for a while.
    LATER = "later"
    #: Too many passwords wait to be compared.
    BUSY = "busy"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A verdict, and on whom."""

    verdict: Verdict
    #: Name of the account, also of one whose password was wrong; empty for names that are no account's: people type
    #: passwords into the wrong field.
    account: str = ""


@dataclass
class _Comparison:
    """A password that is being compared."""

    outcome: Future[Judgement] = field(default_factory=Future)
    followers: int = 0


class Accounts:
    """The accounts of the settings. Safe for any number of threads."""

    def __init__(self, secret_by_name: Mapping[str, str], *, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises UserError where a secret is no hash of ours."""
        for name, secret in secret_by_name.items():
            if not is_of_password(secret) and not is_of_token(secret):
                raise UserError(f"web.account {name}: secret is no hash; make one with `ichd secret`")
        self._secrets = dict(secret_by_name)
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._remembered: OrderedDict[bytes, tuple[str, float]] = OrderedDict()
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()
        #: One at a time: a crowd of guessers must not take 32 MiB each, and is a crowd no longer once ten were wrong.
        self._comparing = threading.Lock()
        #: What is compared or waits to be, by credentials and address.
        self._line: dict[tuple[bytes, str], _Comparison] = {}
        #: Compared where there is no such account, so that an answer takes as long as for one that exists.
        self._nobody = hash_password(secrets.token_urlsafe(32))

    @property
    def takes_tokens(self) -> bool:
        """Whether any account has a bearer token."""
        return any(is_of_token(secret) for secret in self._secrets.values())

    @property
    def takes_passwords(self) -> bool:
        """Whether any account has a password."""
        return any(is_of_password(secret) for secret in self._secrets.values())

    def fingerprint(self, account: str) -> str | None:
        """Of its secret, so that sessions end when it changes; None where there is no such account."""
        secret = self._secrets.get(account)
        return hashlib.sha256(f"{account}\0{secret}".encode()).hexdigest() if secret is not None else None

    def judge(self, authorization: str | None, address: str) -> Judgement:
        """The verdict on a request with this header Authorization; takes a tenth of a second for a new password."""
        if not authorization:
            return Judgement(verdict=Verdict.ASKED)
        scheme, _, credential = authorization.partition(" ")
        credential = credential.strip()
        if len(credential) > _MOST_CREDENTIAL_CHARACTERS:
            return Judgement(verdict=Verdict.WRONG)
        if scheme.lower() == "bearer":
            return self._of_token(credential)
        if scheme.lower() == "basic":
            return self._of_basic(credential, address)
        return Judgement(verdict=Verdict.WRONG)

    def _of_token(self, token: str) -> Judgement:
        """At once, whoever else is wrong at the same address: a proxy or a department may share one."""
        # All of them, whichever fits: time tells nothing.
        fitting = [name for name, secret in self._secrets.items() if fits_token(token, secret)]
        return Judgement(verdict=Verdict.KNOWN, account=fitting[0]) if fitting else Judgement(verdict=Verdict.WRONG)

    def _of_basic(self, credential: str, address: str) -> Judgement:
        """RFC 7617; a token may stand in place of the password, for clients that know nothing else."""
        try:
            decoded = base64.b64decode(credential, validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            return Judgement(verdict=Verdict.WRONG)
        name, _, password = decoded.partition(":")
        secret = self._secrets.get(name)
        if secret is not None and is_of_token(secret):
            fits = fits_token(password, secret)
            return Judgement(verdict=Verdict.KNOWN if fits else Verdict.WRONG, account=name)
        return self._of_password(name, password, address)

    def log_in(self, name: str, password: str, address: str) -> Judgement:
        """The verdict on what a person typed; a token is a machine's, and opens no session."""
        if len(name) + len(password) > _MOST_CREDENTIAL_CHARACTERS:
            return Judgement(verdict=Verdict.WRONG)
        return self._of_password(name, password, address)

    def _of_password(self, name: str, password: str, address: str) -> Judgement:
        # With the address: one who guesses elsewhere must not learn from what is remembered which password is right.
        key = hmac.digest(self._key, f"{address}\0{name}:{password}".encode(), "sha256")
        with self._lock:
            found = self._without_comparing(key, address)
            if isinstance(found, Judgement):
                return found
            if found is None:
                mine = self._line[key, address] = _Comparison()
            else:
                found.followers += 1
        if found is not None:
            return found.outcome.result()
        try:
            judgement = self._compare(key, name, password, address)
        except BaseException as error:
            # Out of memory, say: those who follow must not wait for ever.
            mine.outcome.set_exception(error)
            raise
        else:
            mine.outcome.set_result(judgement)
        finally:
            with self._lock:
                del self._line[key, address]
        return judgement

    def _without_comparing(self, key: bytes, address: str) -> "Judgement | _Comparison | None":
        """The verdict, or the comparison that will bring it, where there is one already."""
        if (account := self._recall(key)) is not None:
            return Judgement(verdict=Verdict.KNOWN, account=account)
        if self._is_blocked(address):
            return Judgement(verdict=Verdict.LATER)
        # A viewer's first requests come together: the others wait for what the first one finds.
        if (comparison := self._line.get((key, address))) is not None:
            is_full = comparison.followers >= _MOST_FOLLOWERS
            return Judgement(verdict=Verdict.BUSY) if is_full else comparison
        here = sum(each == address for _, each in self._line)
        if len(self._line) >= _MOST_IN_LINE or here >= _MOST_IN_LINE_PER_ADDRESS:
            return Judgement(verdict=Verdict.BUSY)
        return None

    def _compare(self, key: bytes, name: str, password: str, address: str) -> Judgement:
        with self._comparing:
            with self._lock:
                if self._is_blocked(address):
                    return Judgement(verdict=Verdict.LATER)
            secret = self._secrets.get(name)
            fits = fits_password(password, secret or self._nobody) and secret is not None
            with self._lock:
                if fits:
                    self._remember(key, name)
                else:
                    self._count_failure(address)
        account = name if secret is not None else ""
        return Judgement(verdict=Verdict.KNOWN if fits else Verdict.WRONG, account=account)

    def _recall(self, key: bytes) -> str | None:
        account, until = self._remembered.pop(key, ("", 0.0))
        if self._clock() >= until:
            return None
        self._remember(key, account)
        return account

    def _remember(self, key: bytes, account: str) -> None:
        self._remembered[key] = (account, self._clock() + _REMEMBERED_S)
        while len(self._remembered) > _MOST_REMEMBERED:
            self._remembered.popitem(last=False)

    def _is_blocked(self, address: str) -> bool:
        failures, until = self._failures.get(address, (0, 0.0))
        return failures >= _MOST_FAILURES and self._clock() < until

    def _count_failure(self, address: str) -> None:
        failures, until = self._failures.pop(address, (0, 0.0))
        now = self._clock()
        self._failures[address] = (failures + 1, until) if now < until else (1, now + _FAILURE_PERIOD_S)
        while len(self._failures) > _MOST_ADDRESSES:
            self._failures.popitem(last=False)
