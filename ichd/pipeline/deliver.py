"""The second step: a finding becomes a report, the report goes to one destination, the receipt is kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pydicom
import structlog
from pydicom import Dataset
from pydicom.errors import InvalidDicomError

from ichd.domain.errors import Permanent
from ichd.domain.finding import Finding
from ichd.domain.reason import Reason
from ichd.domain.record import finding_of, skipped_of
from ichd.pipeline.clock import Clock
from ichd.publish.dimse import DimsePeer, deliver
from ichd.report.document import ReportContext
from ichd.report.identity import Edition
from ichd.report.sr import build_report
from ichd.store.queue import Job
from ichd.store.studies import Predecessor, Studies

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class DeliveryPolicy:
    """Where reports may go."""

    destinations: Mapping[str, DimsePeer]
    #: Let the results of a demonstration model leave this machine.
    allow_demo: bool


def publish(job: Job, *, studies: Studies, policy: DeliveryPolicy, clock: Clock) -> None:
    """One `publish` job from claim to receipt.

    Raises:
        LeaseLost: the job was given away; the peer may hold the report, under the UID that a resend has too.
        Transient, Permanent: with the coded reason of what went wrong.
    """
    work = studies.begin_delivery(job)
    finding = finding_of(work.record)
    peer = _peer(job, finding, policy)
    report = build_report(
        finding,
        [read_source(finding, work.files)],
        ReportContext(
            revision=job.revision,
            created_at=work.created_at,
            # Of the software that made the finding, so that a resend after an upgrade says the same.
            software_version=work.record["software_version"],
            predecessor=_predecessor(job.study_uid, work.predecessor),
            skipped=skipped_of(work.record),
        ),
    )
    receipt = deliver(peer, [report], now=clock())
    studies.delivered(job, receipt, now=clock())
    log.info("report_delivered", study=job.study_uid, revision=job.revision, destination=peer.name)


def read_source(finding: Finding, files: Mapping[str, Path]) -> Dataset:
    """Header of a slice that was read, for patient and study; the first whose file still is one.

    Raises:
        Permanent: FILE_DAMAGED, none of them is.
    """
    for each in finding.prediction.slices:
        path = files.get(each.sop_instance_uid)
        if path is None:
            continue
        try:
            return pydicom.dcmread(path, stop_before_pixels=True)
        except (OSError, InvalidDicomError):
            log.warning("stored_file_unreadable", file=path.name)
    raise Permanent(Reason.FILE_DAMAGED, f"none of {len(finding.prediction.slices)} files")


def _predecessor(study_uid: str, earlier: Predecessor | None) -> Edition | None:
    if earlier is None:
        return None
    return Edition(study_instance_uid=study_uid, bundle_sha256=earlier.bundle_sha256, revision=earlier.revision)


def _peer(job: Job, finding: Finding, policy: DeliveryPolicy) -> DimsePeer:
    peer = policy.destinations.get(job.destination or "")
    if peer is None:
        raise Permanent(Reason.DESTINATION_UNKNOWN, f"destination {job.destination}")
    if finding.prediction.model.demonstration and not peer.is_loopback and not policy.allow_demo:
        raise Permanent(Reason.DEMO_MODEL_BLOCKED, f"model {finding.prediction.model.name}, destination {peer.name}")
    return peer
