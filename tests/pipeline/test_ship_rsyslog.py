"""The audit trail arrives at rsyslog, over TLS."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

from ichd.domain.audit import AuditEvent, AuditOutcome
from ichd.domain.errors import Transient
from ichd.pipeline.ship import AuditShipper
from ichd.publish.audit_message import AuditSource
from ichd.publish.syslog import Collector, greet
from ichd.store.audit import Audit
from tests.intake.certificates import Authority
from tests.peers.rsyslog import Rsyslog, running_rsyslog
from tests.pipeline.test_ship import Clock
from tests.store.house import NOON, House


def wait_until_it_answers(collector: Collector) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            greet(collector)
        except Transient:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def audit(house: House) -> Audit:
    """A trail of 250 entries."""
    audit = Audit(house.engine)
    for number in range(250):
        audit.record(
            at=NOON,
            event=AuditEvent.INSTANCES_STORED,
            outcome=AuditOutcome.SUCCESS,
            actor=f"CT-{number}-ü",
            address="192.0.2.1",
            subject={"study_instance_uid": f"1.2.{number}", "instances": 1, "sop_class_uids": ["1.2.840"]},
        )
    return audit


@contextmanager
def collector_that_knows_us(folder: Path, authority: Authority) -> Iterator[tuple[Rsyslog, Collector]]:
    ours = authority.issue("ichd")
    with running_rsyslog(folder / "rsyslog", authority) as rsyslog:
        collector = Collector(
            host="127.0.0.1", port=rsyslog.port, ca=authority.ca, certificate=ours.certificate, key=ours.key
        )
        wait_until_it_answers(collector)
        yield rsyslog, collector


def shipper(audit: Audit, collector: Collector) -> AuditShipper:
    return AuditShipper(audit, collector, AuditSource(host="reader", ae_title="ICHD"), Clock())


def test_rsyslog_takes_the_trail(audit: Audit, tmp_path: Path, authority: Authority) -> None:
    with collector_that_knows_us(tmp_path, authority) as (rsyslog, collector):
        shipper(audit, collector).ship()
        lines = rsyslog.wait_for(250)
    assert len(lines) == 250
    for number, line in enumerate(lines):
        priority, moment, host, program, message_id, message = line.split(" ", 5)
        assert (priority, moment) == ("85", "2026-03-01T12:00:00.123456Z")
        assert (host, program, message_id) == ("reader", "ichd", "DICOM+RFC3881")
        sender = etree.fromstring(json.loads(f'"{message}"').lstrip(" \ufeff").encode()).find("ActiveParticipant")
        assert sender.get("UserID") == f"CT-{number}-ü"


def test_rsyslog_takes_nothing_of_whom_it_does_not_know(audit: Audit, tmp_path: Path, authority: Authority) -> None:
    with collector_that_knows_us(tmp_path, authority) as (rsyslog, collector):
        with pytest.raises(Transient):
            shipper(audit, replace(collector, certificate=None, key=None)).ship()
        assert not rsyslog.taken.exists()
    assert audit.pending("syslog", limit=1).after_id == 0
