"""The audit trail: what is written stays, in the order in which it is handed on."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from ichd.domain.audit import AuditEvent, AuditOutcome
from ichd.domain.errors import Transient
from ichd.store.audit import Audit, record_audit
from ichd.store.transaction import writing
from tests.store.house import NOON


@pytest.fixture
def audit(engine: Engine) -> Audit:
    return Audit(engine)


def note(audit: Audit, actor: str = "CT1", **changes: Any) -> None:
    written: dict[str, Any] = {
        "at": NOON,
        "event": AuditEvent.LOG_IN,
        "outcome": AuditOutcome.SUCCESS,
        "actor": actor,
        "address": "192.0.2.1",
        "subject": {},
    }
    audit.record(**written | changes)


@contextmanager
def unfinished(engine: Engine, actor: str) -> Iterator[None]:
    """An entry whose transaction does not end before the block does."""
    with writing(engine) as session:
        record_audit(session, at=NOON, event=AuditEvent.LOG_IN, outcome=AuditOutcome.SUCCESS, actor=actor, subject={})
        session.flush()
        yield


def test_what_is_written_is_read(audit: Audit) -> None:
    subject = {"study_instance_uid": "1.2.3", "instances": 40, "sop_class_uids": ["1.2", "1.3"]}
    note(audit, event=AuditEvent.INSTANCES_STORED, outcome=AuditOutcome.MINOR_FAILURE, subject=subject)
    (entry,) = audit.read(limit=10)
    assert (entry.at, entry.event, entry.outcome) == (NOON, AuditEvent.INSTANCES_STORED, AuditOutcome.MINOR_FAILURE)
    assert (entry.actor, entry.address, entry.subject) == ("CT1", "192.0.2.1", subject)


def test_words_of_a_peer_that_no_database_takes_are_written_without_them(audit: Audit) -> None:
    note(audit, actor="CT\0\udcff", subject={"detail": "a\0b", "names": ["\0"]})
    (entry,) = audit.read(limit=10)
    assert (entry.actor, entry.subject) == ("CT?", {"detail": "ab", "names": [""]})


def test_reading_may_ask_for_a_part(audit: Audit) -> None:
    for minute, actor in enumerate("abcd"):
        event = AuditEvent.LOG_IN if actor in "ac" else AuditEvent.RESULTS_SENT
        note(audit, actor, event=event, at=NOON + timedelta(minutes=minute))

    def actors(**asked: Any) -> str:
        return "".join(entry.actor for entry in audit.read(**{"limit": 10} | asked))

    assert actors() == "abcd"
    assert actors(limit=2) == "ab"
    assert actors(limit=3, newest_first=True) == "dcb"
    assert actors(event=AuditEvent.LOG_IN) == "ac"
    assert actors(since=NOON + timedelta(minutes=1)) == "bcd"
    assert actors(after_id=audit.read(limit=2)[-1].id) == "cd"


def test_nobody_changes_or_removes_what_is_written(engine: Engine, audit: Audit) -> None:
    note(audit)
    statements = ["UPDATE audit SET actor = 'nobody'", "DELETE FROM audit", "DELETE FROM audit WHERE id < 0"]
    if engine.dialect.name == "postgresql":
        statements += ["TRUNCATE audit", "UPDATE audit SET actor = 'nobody' WHERE id < 0"]
    else:
        # Its triggers fire a row at a time.
        statements.remove("DELETE FROM audit WHERE id < 0")
        statements.append("INSERT OR REPLACE INTO audit SELECT * FROM audit")
    for statement in statements:
        with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
            connection.execute(text(statement))
    assert [entry.actor for entry in audit.read(limit=10)] == ["CT1"]


def test_an_entry_goes_with_the_transaction_that_it_tells_of(engine: Engine, audit: Audit) -> None:
    with suppress(ZeroDivisionError), unfinished(engine, "CT1"):
        raise ZeroDivisionError
    assert audit.read(limit=10) == []


def test_a_cursor_moves_over_what_was_handed_on(audit: Audit) -> None:
    for actor in "abc":
        note(audit, actor)
    first = audit.pending("one", limit=2)
    assert [entry.actor for entry in first.entries] == ["a", "b"]
    assert audit.move("one", seen=first.after_id, to=first.entries[-1].id)
    assert [entry.actor for entry in audit.pending("one", limit=2).entries] == ["c"]
    assert [entry.actor for entry in audit.pending("another", limit=9).entries] == ["a", "b", "c"]


def test_a_cursor_that_somebody_else_moved_stays_there(audit: Audit) -> None:
    for actor in "abc":
        note(audit, actor)
    slow, quick = audit.pending("one", limit=1), audit.pending("one", limit=3)
    assert audit.move("one", seen=quick.after_id, to=quick.entries[-1].id)
    assert not audit.move("one", seen=slow.after_id, to=slow.entries[-1].id)
    assert audit.pending("one", limit=9).entries == ()


@pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)
def test_an_entry_that_appears_late_is_not_passed_over(engine: Engine, audit: Audit) -> None:
    with unfinished(engine, "early"):
        note(audit, "late")
        assert [entry.actor for entry in audit.read(limit=9)] == ["late"]
        with pytest.raises(Transient):
            audit.pending("one", limit=9)
    assert [entry.actor for entry in audit.pending("one", limit=9).entries] == ["early", "late"]
