"""Settings as the audit trail knows them: fingerprints, and the names of those that changed."""

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from ichd.domain.audit import AuditEvent, AuditOutcome
from ichd.store.audit import record_audit
from ichd.store.tables import AuditCursorRow, AuditRow
from ichd.store.transaction import insert_if_new, writing

#: Fingerprint of each setting by its name, made with a salt.
Fingerprints = Callable[[str], Mapping[str, str]]


def record_settings(
    engine: Engine, fingerprints: Fingerprints, *, host: str, user: str, version: str, now: datetime
) -> list[str]:
    """Compare the settings of a machine with those that it had last, and write down which are others.

    A machine that the trail does not know yet is compared with the last one that it does: containers change their
    names. Returns the names; the first settings of all are written down without any.

    Raises:
        Transient: the database does not answer.
    """
    with writing(engine) as session:
        # The roles of one machine start together, and only one of them is to tell of a change.
        cursor = _locked(session, f"settings of {host}")
        before = _last(session, cursor)
        salt = before.subject["salt"] if before else secrets.token_hex(16)
        after = dict(fingerprints(salt))
        known = before.subject["fingerprints"] if before else after
        changed = sorted(name for name in known.keys() | after.keys() if known.get(name) != after.get(name))
        if before and not changed:
            cursor.audit_id = before.id
            return []
        row = record_audit(
            session,
            at=now,
            event=AuditEvent.SETTINGS_CHANGED,
            outcome=AuditOutcome.SUCCESS,
            actor=user,
            subject={"host": host, "version": version, "changed": changed, "salt": salt, "fingerprints": after},
        )
        session.flush()
        cursor.audit_id = row.id
    return changed


def _locked(session: Session, name: str) -> AuditCursorRow:
    insert_if_new(session, AuditCursorRow, {"name": name, "audit_id": 0})
    return session.scalars(select(AuditCursorRow).where(AuditCursorRow.name == name).with_for_update()).one()


def _last(session: Session, cursor: AuditCursorRow) -> AuditRow | None:
    if cursor.audit_id:
        return session.get_one(AuditRow, cursor.audit_id)
    newest = select(AuditRow).where(AuditRow.event == AuditEvent.SETTINGS_CHANGED).order_by(AuditRow.id.desc()).limit(1)
    return session.scalars(newest).one_or_none()
