"""The audit trail on its way to a collector that comes and goes."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ichd.domain.audit import AuditEvent, AuditOutcome
from ichd.domain.errors import Transient
from ichd.pipeline.ship import AuditShipper
from ichd.publish.audit_message import AuditSource
from ichd.publish.syslog import Collector
from ichd.store.audit import Audit
from tests.intake.certificates import Authority
from tests.peers.ports import free_port
from tests.publish.collectors import Taken, running_collector
from tests.publish.test_syslog import server_context
from tests.store.house import NOON, House


class Clock:
    """Time passes when the test says so."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def audit(house: House) -> Audit:
    return Audit(house.engine)


def note(audit: Audit, *names: int) -> None:
    for name in names:
        audit.record(at=NOON, event=AuditEvent.LOG_IN, outcome=AuditOutcome.SUCCESS, actor=f"user-{name}", subject={})


def shipper(audit: Audit, port: int, clock: Clock | None = None, ca: Path | None = None) -> AuditShipper:
    collector = Collector(host="127.0.0.1", port=port, transport="tls" if ca else "tcp", ca=ca, timeout_s=2.0)
    return AuditShipper(audit, collector, AuditSource(host="here", ae_title="ICHD"), clock or Clock())


def names(taken: Taken) -> list[int]:
    return [int(name) for message in taken.messages for name in re.findall(rb'UserID="user-(\d+)"', message)]


def test_each_entry_goes_once_while_all_is_well(audit: Audit) -> None:
    with running_collector() as taken:
        ours = shipper(audit, taken.port)
        note(audit, *range(250))
        ours.ship()
        assert names(taken) == list(range(250))
        ours.ship()
        note(audit, 250)
        ours.ship()
    assert names(taken) == list(range(251))
    assert taken.connections == 4


def test_a_restarted_worker_goes_on_where_the_last_one_was(audit: Audit) -> None:
    with running_collector() as taken:
        note(audit, 1)
        shipper(audit, taken.port).ship()
        note(audit, 2)
        shipper(audit, taken.port).ship()
    assert names(taken) == [1, 2]


def test_a_collector_that_was_away_gets_everything_when_it_is_back(audit: Audit, tmp_path: Path) -> None:
    authority, clock, port = Authority(tmp_path), Clock(), free_port()
    ours = shipper(audit, port, clock, ca=authority.ca)
    note(audit, 1, 2)
    with pytest.raises(Transient):
        ours.ship()
    note(audit, 3)
    clock.now += timedelta(seconds=60)
    with running_collector(context=server_context(authority), port=port) as taken:
        ours.ship()
        assert names(taken) == [1, 2, 3]
    note(audit, 4)
    with pytest.raises(Transient):
        ours.ship()
    clock.now += timedelta(seconds=60)
    with running_collector(context=server_context(authority), port=port) as taken:
        ours.ship()
    assert names(taken) == [4]


def test_what_was_on_its_way_when_the_collector_broke_off_is_sent_again(audit: Audit) -> None:
    clock = Clock()
    with running_collector() as taken:
        ours = shipper(audit, taken.port, clock)
        note(audit, *range(5))
        taken.break_after = 3
        with pytest.raises(Transient):
            ours.ship()
        assert names(taken) == [0, 1, 2]
        taken.break_after = None
        clock.now += timedelta(seconds=60)
        ours.ship()
    assert names(taken) == [0, 1, 2, 0, 1, 2, 3, 4]


def test_a_collector_that_stays_away_is_asked_ever_more_rarely(audit: Audit) -> None:
    clock, port = Clock(), free_port()
    ours = shipper(audit, port, clock)
    note(audit, 1)
    tried_at = []
    trouble: Transient | None = None
    for second in range(400):
        clock.now = NOON + timedelta(seconds=second)
        with pytest.raises(Transient) as caught:
            ours.ship()
        if caught.value is not trouble:
            tried_at.append(second)
            trouble = caught.value
    assert tried_at == [0, 2, 6, 14, 30, 62, 122, 182, 242, 302, 362]


def test_an_entry_that_can_not_be_told_does_not_hold_back_the_next(audit: Audit) -> None:
    note(audit, 1)
    audit.record(at=NOON, event=AuditEvent.INSTANCES_STORED, outcome=AuditOutcome.SUCCESS, actor="CT1", subject={})
    note(audit, 2)
    with running_collector() as taken, capture_logs() as logs:
        shipper(audit, taken.port).ship()
    assert names(taken) == [1, 2]
    assert len(taken.messages) == 3
    assert b'EventOutcomeIndicator="8"' in taken.messages[1]
    assert [(entry["event"], entry["error"]) for entry in logs] == [("audit_entry_not_rendered", "KeyError")]


@contextmanager
def collector_with_two_workers(audit: Audit) -> Iterator[tuple[Taken, AuditShipper, AuditShipper]]:
    with running_collector() as taken:
        yield taken, shipper(audit, taken.port), shipper(audit, taken.port)


def test_two_workers_lose_nothing_between_them(audit: Audit) -> None:
    with collector_with_two_workers(audit) as (taken, one, two):
        for name in range(6):
            note(audit, name)
            (one if name % 2 else two).ship()
    assert names(taken) == list(range(6))
