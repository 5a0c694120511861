"""What the roles tell the audit trail of themselves: starts, stops, and settings that changed meanwhile."""

import hashlib
import json
import os
import pwd
import socket
from collections.abc import Iterator, Mapping
from typing import Any

import structlog
from sqlalchemy import Engine

from ichd import __version__
from ichd.app.clock import Clock
from ichd.domain.audit import AuditEvent, AuditOutcome
from ichd.domain.errors import Transient
from ichd.settings import Settings
from ichd.store.audit import Audit
from ichd.store.settings_seen import record_settings

_log = structlog.get_logger(__name__)

#: Last words of settings that are secret or may hold one; `web.account.secret` is itself a hash that nobody can undo.
_SECRET = frozenset({"token", "password", "url", "access_key", "secret_key"})


class RoleTrail:
    """Start and stop of one role. A database that is away at that moment is no reason not to work."""

    def __init__(self, engine: Engine, settings: Settings, role: str, *, clock: Clock) -> None:
        """`clock` is the one that times in the database go by: entries of several machines stand in one order."""
        self._engine = engine
        self._settings = settings
        self._role = role
        self._clock = clock

    def started(self) -> None:
        """The role is ready; the settings that it runs under are compared with those of the last start."""
        self._record(AuditEvent.APPLICATION_STARTED)
        try:
            changed = record_settings(
                self._engine,
                lambda salt: fingerprints(self._settings, salt),
                host=socket.gethostname(),
                user=user_name(),
                version=__version__,
                now=self._clock(),
            )
        except Transient as error:
            # The next start compares with the same settings as this one would have, so it tells of the change.
            _log.warning("settings_not_recorded", role=self._role, reason=error.reason, detail=error.detail)
        else:
            if changed:
                _log.info("settings_changed", names=changed)

    def stopped(self) -> None:
        """The role ends as it was asked to."""
        self._record(AuditEvent.APPLICATION_STOPPED)

    def _record(self, event: AuditEvent) -> None:
        try:
            Audit(self._engine).record(
                at=self._clock(),
                event=event,
                outcome=AuditOutcome.SUCCESS,
                actor=user_name(),
                subject={"role": self._role, "version": __version__, "host": socket.gethostname()},
            )
        except Transient as error:
            _log.warning("role_not_recorded", recording=event, role=self._role, reason=error.reason)


def user_name() -> str:
    """Who runs this process, by the system's word; the environment is anybody's."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def fingerprints(settings: Settings, salt: str) -> Mapping[str, str]:
    """A fingerprint of each setting, by its name as in `destination[pacs].address`.

    They lie in the database for long. One of a secret costs whoever wants to guess it 30 ms a guess.
    """
    return {
        name: _costly(name, value, salt) if value and name.rpartition(".")[2] in _SECRET else _quick(value)
        for name, value in named_values(settings.model_dump(mode="json"))
    }


def named_values(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Settings as JSON has them, one by one, each with its name as in `destination[pacs].address`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from named_values(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, list) and value and all(isinstance(entry, dict) and "name" in entry for entry in value):
        for entry in value:
            yield from named_values(entry, f"{name}[{entry['name']}]")
    else:
        yield name, value


def _quick(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _costly(name: str, value: Any, salt: str) -> str:
    secret = json.dumps(value).encode()
    return hashlib.scrypt(secret, salt=f"{salt} {name}".encode(), n=1 << 14, r=8, p=1, dklen=32).hex()
