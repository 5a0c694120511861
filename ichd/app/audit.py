"""What the roles tell the audit trail of themselves, and who takes it."""

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
from ichd.app.checks import require_database
from ichd.app.clock import utc_now
from ichd.domain.audit import AuditEvent, AuditOutcome
from ichd.domain.errors import IchdError, Transient
from ichd.domain.finding import ModelIdentity
from ichd.publish.audit_message import AuditSource
from ichd.publish.syslog import Collector
from ichd.settings import Settings
from ichd.settings.base import host_of, port_of
from ichd.store.audit import Audit
from ichd.store.engine import check_schema, open_database
from ichd.store.settings_seen import record_settings

_log = structlog.get_logger(__name__)

#: Last words of settings that are secret or may hold one; `web.account.secret` is itself a hash that nobody can undo.
_SECRET = frozenset({"token", "password", "url"})


class RoleTrail:
    """Start and stop of one role. A database that is away at that moment is no reason not to work."""

    def __init__(self, engine: Engine, settings: Settings, role: str) -> None:
        self._engine = engine
        self._settings = settings
        self._role = role

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
                now=utc_now(),
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
                at=utc_now(),
                event=event,
                outcome=AuditOutcome.SUCCESS,
                actor=user_name(),
                subject={"role": self._role, "version": __version__, "host": socket.gethostname()},
            )
        except Transient as error:
            _log.warning("role_not_recorded", recording=event, role=self._role, reason=error.reason)


def record_model_change(
    settings: Settings, *, did: str, model: ModelIdentity, before: ModelIdentity, gate: str
) -> str | None:
    """Tell the trail that another model is in force, and why it could not be told; the change holds all the same."""
    try:
        require_database(settings.database.url)
        engine = open_database(settings.database.url)
        try:
            check_schema(engine)
            Audit(engine).record(
                at=utc_now(),
                event=AuditEvent.MODEL_CHANGED,
                outcome=AuditOutcome.SUCCESS,
                actor=user_name(),
                subject={
                    "did": did,
                    "model": f"{model.name} {model.version}",
                    "weights_sha256": model.weights_sha256,
                    "bundle_sha256": model.bundle_sha256,
                    "before": f"{before.name} {before.version}",
                    "gate": gate,
                },
            )
        finally:
            engine.dispose()
    except IchdError as error:
        return str(error)
    return None


def user_name() -> str:
    """Who runs this process, by the system's word; the environment is anybody's."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def collector_of(settings: Settings) -> Collector | None:
    """Who takes the trail."""
    audit = settings.audit
    if audit.syslog is None:
        return None
    return Collector(
        host=host_of(audit.syslog),
        port=port_of(audit.syslog),
        transport=audit.transport,
        ca=audit.ca,
        certificate=audit.certificate,
        key=audit.key,
    )


def audit_source(settings: Settings) -> AuditSource:
    """Who we are in audit messages."""
    return AuditSource(host=socket.gethostname(), ae_title=settings.dicom.ae_title)


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
