"""What the audit trail says of reports on their way out."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ichd.domain.audit import AuditEvent, AuditOutcome
from ichd.domain.errors import LeaseLost
from ichd.domain.job import JobKind, RetryPolicy
from ichd.domain.reason import Reason
from ichd.store.audit import Audit
from ichd.store.queue import Job
from tests.store.house import LEASE_S, STUDY, House

FAILED = {"destination": "pacs", "study_instance_uid": STUDY}


def sent(house: House) -> list[tuple[AuditOutcome, Mapping[str, Any]]]:
    entries = Audit(house.engine).read(limit=50, event=AuditEvent.RESULTS_SENT)
    assert {entry.actor for entry in entries} <= {"ichd"}
    return [(entry.outcome, entry.subject) for entry in entries]


def waiting(house: House) -> Job:
    """The delivery of a report that was just made."""
    house.ready()
    house.analyse("pacs")
    assert sent(house) == []
    return house.claim(kinds=(JobKind.PUBLISH,))


def test_a_report_that_was_taken(house: House) -> None:
    job = waiting(house)
    receipt = replace(house.receipt(job), ae_title="PACS", address="192.0.2.7")
    house.deliveries.delivered(job, receipt, now=house.now)
    subject = {
        **FAILED,
        "destination_ae_title": "PACS",
        "destination_address": "192.0.2.7",
        "sop_class_uids": ["1.2.840.10008.5.1.4.1.1.88.34"],
        "sop_instance_uids": ["2.25.1"],
        "status": "0x0000",
    }
    assert sent(house) == [(AuditOutcome.SUCCESS, subject)]


def test_a_report_whose_job_was_lost_is_told_of_by_its_new_holder(house: House) -> None:
    job = waiting(house)
    house.wait(LEASE_S + 1)
    house.studies.reap(now=house.now, retry=RetryPolicy())
    with pytest.raises(LeaseLost):
        house.deliveries.delivered(job, house.receipt(job), now=house.now)
    assert sent(house) == []


def test_a_report_that_is_tried_again_and_then_given_up(house: House) -> None:
    job = waiting(house)
    house.studies.failed(job, Reason.PEER_BUSY, "", retry_at=house.now + timedelta(seconds=2), now=house.now)
    assert sent(house) == []
    house.wait(600)
    job = house.claim(kinds=(JobKind.PUBLISH,))
    house.studies.failed(job, Reason.PEER_REFUSED, "0xA900", retry_at=None, now=house.now)
    assert sent(house) == [(AuditOutcome.SERIOUS_FAILURE, {**FAILED, "reason": "peer_refused"})]


def test_a_report_that_kills_its_workers(house: House) -> None:
    house.deliveries.begin(waiting(house), now=house.now)
    house.wait(LEASE_S + 1)
    house.studies.reap(now=house.now, retry=RetryPolicy(), deaths_allowed={JobKind.PUBLISH: 1})
    assert sent(house) == [(AuditOutcome.SERIOUS_FAILURE, {**FAILED, "reason": "worker_died"})]


def test_a_reading_that_failed_sent_nothing(house: House) -> None:
    house.ready()
    house.studies.failed(house.claim(), Reason.FILE_DAMAGED, "", retry_at=None, now=house.now)
    assert sent(house) == []
