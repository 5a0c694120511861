"""`ichd audit`: for people, and for programs."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from ichd.domain.audit import AuditEvent, AuditOutcome
from ichd.store.audit import Audit
from ichd.store.engine import migrate, open_database
from tests.cli.test_main import ichd


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder whose database has one entry of a kind, an hour apart, the last one now."""
    url = f"sqlite:///{tmp_path}/var/ichd.db"
    migrate(url)
    engine = open_database(url)
    role = {"role": "listen", "version": "1.0", "host": "here"}
    kinds: list[tuple[AuditEvent, str, str, dict[str, Any]]] = [
        (AuditEvent.APPLICATION_STARTED, "daemon", "", role),
        (AuditEvent.SETTINGS_CHANGED, "daemon", "", {"changed": ["dicom.port", "web.host"]}),
        (
            AuditEvent.ASSOCIATION_REFUSED,
            "CT9",
            "192.0.2.9",
            {"reason": "association_not_allowed", "detail": "a\n\x1b[31mb"},
        ),
        (AuditEvent.INSTANCES_STORED, "CT1", "192.0.2.1", {"study_instance_uid": "1.2.3", "instances": 40}),
        (AuditEvent.RESULTS_SENT, "ichd", "", {"study_instance_uid": "1.2.3", "destination": "pacs"}),
        (AuditEvent.LOG_IN, "jane", "192.0.2.5", {}),
        (AuditEvent.APPLICATION_STOPPED, "daemon", "", role),
    ]
    now = datetime.now(UTC)
    for age, (event, actor, address, subject) in enumerate(reversed(kinds)):
        failed = event is AuditEvent.ASSOCIATION_REFUSED
        Audit(engine).record(
            at=now - timedelta(hours=age),
            event=event,
            outcome=AuditOutcome.MINOR_FAILURE if failed else AuditOutcome.SUCCESS,
            actor=actor,
            address=address,
            subject=subject,
        )
    engine.dispose()
    return tmp_path


def test_people_see_a_line_an_entry(home: Path) -> None:
    done = ichd("audit", cwd=home)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 8
    for words in (
        ("application started", "daemon", "listen on here, version 1.0"),
        ("settings changed", "daemon", "dicom.port, web.host"),
        ("instances stored", "CT1 at 192.0.2.1", "40 new in study 1.2.3"),
        ("results sent", "success", "to pacs, study 1.2.3"),
        ("log in", "jane at 192.0.2.5"),
        ("association refused", "minor failure", "association_not_allowed (a\ufffd\ufffd[31mb)"),
    ):
        assert any(all(word in line for word in words) for line in lines), words


@pytest.mark.parametrize(
    ("options", "events"),
    [
        (("--event", "log_in"), ["log_in"]),
        (("--since", "90m"), ["log_in", "application_stopped"]),
        (("--limit", "1"), ["application_started"]),
    ],
)
def test_a_part_as_json(home: Path, options: tuple[str, ...], events: list[str]) -> None:
    done = ichd("audit", "--json", *options, cwd=home)
    assert done.returncode == 0, done.stderr
    assert sorted(entry["event"] for entry in json.loads(done.stdout)) == sorted(events)


def test_each_line_is_an_audit_message(home: Path) -> None:
    done = ichd("audit", "--xml", cwd=home)
    assert done.returncode == 0, done.stderr
    messages = [etree.fromstring(line.encode()) for line in done.stdout.splitlines()]
    assert [message.tag for message in messages] == ["AuditMessage"] * 7


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--since", "yesterday"), "write 30m, 2h or 1d"),
        (("--since", "999999d"), "too long"),
        (("--json", "--xml"), "leave one out"),
        (("--event", "nonsense"), "log_in"),
    ],
)
def test_a_mistake_is_one_sentence(home: Path, options: tuple[str, ...], sentence: str) -> None:
    done = ichd("audit", *options, cwd=home)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_of_a_kind_is_said(tmp_path: Path) -> None:
    migrate(f"sqlite:///{tmp_path}/var/ichd.db")
    done = ichd("audit", cwd=tmp_path)
    assert done.stdout == "the audit trail has nothing of that kind\n"
