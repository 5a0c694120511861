"""What the roles tell the audit trail of themselves."""

import threading
from pathlib import Path

import pytest

from ichd.app.audit import collector_of
from ichd.app.clock import utc_now
from ichd.app.doctor import examine
from ichd.app.listener import run_listener
from ichd.app.trail import RoleTrail, fingerprints, user_name
from ichd.domain.audit import AuditEvent
from ichd.settings import Settings, load_settings
from ichd.store.audit import Audit
from ichd.store.engine import migrate, open_database
from tests.intake.certificates import Authority
from tests.peers.ports import free_port
from tests.publish.collectors import running_collector
from tests.publish.test_syslog import server_context

SECRETS = """
[[source]]
name = "archive"
kind = "dicomweb"
url = "https://pacs/dicom-web"
token = "{word}"
[[destination]]
name = "pacs"
address = "pacs:104"
ae_title = "{title}"
"""


def settings(folder: Path, text: str) -> Settings:
    (folder / "ichd.toml").write_text(text)
    return load_settings(folder / "ichd.toml")


def test_each_setting_has_a_fingerprint_of_its_own(tmp_path: Path) -> None:
    before = fingerprints(settings(tmp_path, SECRETS.format(word="a", title="PACS")), "salt")
    after = fingerprints(settings(tmp_path, SECRETS.format(word="b", title="PACS2")), "salt")
    assert before.keys() == after.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"source[archive].token", "destination[pacs].ae_title"}
    assert {"dicom.port", "study.min_slices", "web.account"} < before.keys()


def test_the_same_secret_elsewhere_or_with_another_salt_has_another_fingerprint(tmp_path: Path) -> None:
    source = settings(tmp_path, SECRETS.format(word="same", title="PACS"))
    here, there = fingerprints(source, "one"), fingerprints(source, "two")
    assert here["source[archive].token"] != there["source[archive].token"]
    assert here["database.url"] != there["database.url"]
    assert here["dicom.port"] == there["dicom.port"]


def started_and_stopped(config: Settings) -> None:
    engine = open_database(config.database.url)
    trail = RoleTrail(engine, config, "worker", clock=utc_now)
    trail.started()
    trail.stopped()
    engine.dispose()


def test_a_start_tells_of_settings_that_changed_and_never_of_their_values(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ichd.db'}"
    migrate(url)
    database = f'[database]\nurl = "{url}"\n'
    started_and_stopped(settings(tmp_path, database + SECRETS.format(word="hush-1", title="PACS")))
    started_and_stopped(settings(tmp_path, database + SECRETS.format(word="hush-2", title="PACS")))
    entries = Audit(open_database(url)).read(limit=50)
    assert [(entry.event, entry.subject.get("changed")) for entry in entries] == [
        (AuditEvent.APPLICATION_STARTED, None),
        (AuditEvent.SETTINGS_CHANGED, []),
        (AuditEvent.APPLICATION_STOPPED, None),
        (AuditEvent.APPLICATION_STARTED, None),
        (AuditEvent.SETTINGS_CHANGED, ["source[archive].token"]),
        (AuditEvent.APPLICATION_STOPPED, None),
    ]
    assert {entry.actor for entry in entries} == {user_name()}
    for file in tmp_path.glob("ichd.db*"):
        assert b"hush" not in file.read_bytes()


def test_a_database_that_is_away_is_no_reason_not_to_work(tmp_path: Path) -> None:
    (tmp_path / "ichd.db").write_bytes(b"not a database" * 1000)
    started_and_stopped(settings(tmp_path, f'[database]\nurl = "sqlite:///{tmp_path / "ichd.db"}"\n'))


def test_the_listener_tells_when_it_starts_and_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    migrate("sqlite:///var/ichd.db")
    stop = threading.Event()
    stop.set()
    run_listener(settings(tmp_path, f"[dicom]\nport = {free_port()}\n"), stop)
    entries = Audit(open_database("sqlite:///var/ichd.db")).read(limit=50)
    assert [entry.event for entry in entries] == [
        AuditEvent.APPLICATION_STARTED,
        AuditEvent.SETTINGS_CHANGED,
        AuditEvent.APPLICATION_STOPPED,
    ]


def test_no_collector_is_asked_of_nobody(tmp_path: Path) -> None:
    assert collector_of(settings(tmp_path, "")) is None


def test_doctor_asks_the_collector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    authority = Authority(tmp_path)
    with running_collector(context=server_context(authority)) as taken:
        text = f'[audit]\nsyslog = "127.0.0.1:{taken.port}"\nca = "{authority.ca}"\n[model]\nbundle = "absent"\n'
        *_, check = examine(settings(tmp_path, text))
        assert (check.name, check.ok) == ("audit trail", True)
    *_, check = examine(settings(tmp_path, text))
    assert not check.ok
    assert "audit.syslog" in check.detail
