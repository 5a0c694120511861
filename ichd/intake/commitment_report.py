"""Storage commitment as a provider (PS3.4 annex J): the answer.

A reporter looks at what is stored now, and says only that. An image is committed where its row is there, which was
written after its file was synced to the disk, and the file still has the bytes that were received: it is read for this.

A sender may ask before it has sent everything (the annex wants no order). So where an image is not there the answer
waits for a minute: a failure makes a modality send the study again, and one that comes a minute late costs nobody
anything. An image whose file is damaged will not heal by waiting, and one of another SOP class will not change it.
"""

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from ichd.domain.errors import CodedError, IchdError, LeaseLost, SettingsError, Transient
from ichd.domain.job import RetryPolicy, retry_delay
from ichd.domain.reason import Reason
from ichd.intake.ask.sources import DimseSource
from ichd.intake.commitment import PUSH_MODEL
from ichd.intake.event_report import FailureReason, Verdict, report
from ichd.store.arrivals import Arrivals
from ichd.store.commitments import Commitment, Commitments, Holding, Reference
from ichd.store.spool import Spool
from ichd.telemetry import Survived

_log = structlog.get_logger(__name__)

#: 2.5 hours of growing pauses, and then an attempt an hour.
_A_DAY = RetryPolicy(first_s=10.0, ceiling_s=3600.0, max_attempts=30)
#: Trouble that every other request of the same AE would meet as well.
_AWAY = frozenset({Reason.SOURCE_UNREACHABLE, Reason.SOURCE_REJECTED, Reason.SOURCE_UNKNOWN})


@dataclass(frozen=True, kw_only=True)
class ReportingPolicy:
    """The rhythm of the answers."""

    #: An image that is not there may still come, for so long after it was asked for.
    grace_s: float = 60.0
    #: How often is looked for it.
    look_again_s: float = 5.0
    #: A request whose reporter died is taken up by another one after so long.
    lease_s: float = 60.0
    #: Another process may have filed a request.
    poll_s: float = 5.0
    retry: RetryPolicy = _A_DAY


class CommitmentReporter:
    """Answers requests from a thread of its own, from `start` to `stop`; several processes may each have one."""

    def __init__(
        self,
        commitments: Commitments,
        arrivals: Arrivals,
        spool: Spool,
        sources: Mapping[str, DimseSource],
        clock: Callable[[], datetime],
        *,
        policy: ReportingPolicy | None = None,
    ) -> None:
        self._commitments = commitments
        self._arrivals = arrivals
        self._spool = spool
        #: By the AE title that asks.
        self._sources = sources
        self._clock = clock
        self._policy = policy or ReportingPolicy()
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ichd-commitment", daemon=True)

    def start(self) -> None:
        """Begin to answer; what an earlier reporter left is answered too."""
        self._thread.start()

    def wake(self) -> None:
        """A request was filed."""
        self._news.set()

    def stop(self, *, grace_s: float = 5.0) -> None:
        """Stop after the report that is under way, and give back what is being looked at."""
        self._stopping.set()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join(grace_s)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._news.clear()
            pause_s = self._policy.poll_s
            # A defect met by one request must not silence the answers to all.
            with Survived("commitment_reporter_failed"):
                try:
                    worked = self._answer_next()
                    pause_s = 0.0 if worked else self._until_due_s()
                except Transient as error:
                    _log.warning("commitments_postponed", reason=str(error.reason), detail=error.detail)
            if pause_s:
                self._news.wait(pause_s)

    def _until_due_s(self) -> float:
        due = self._commitments.next_due()
        if due is None:
            return self._policy.poll_s
        return min(max((due - self._clock()).total_seconds(), 0.0), self._policy.poll_s)

    def _answer_next(self) -> bool:
        """Take up one request that is due; False where there is none."""
        now = self._clock()
        due = self._commitments.next_due()
        # Only looking costs no lock; a claim does, and SQLite has one for all.
        if due is None or due > now:
            return False
        commitment = self._commitments.claim(lease_s=self._policy.lease_s, now=now)
        if commitment is None:
            return False
        try:
            self._answer(commitment)
        except LeaseLost:
            _log.warning("commitment_taken_over", commitment=commitment.id)
        return True

    def _answer(self, commitment: Commitment) -> None:
        hold = _Hold(self._commitments, commitment, self._clock)
        try:
            with Survived("commitment_reporter_failed", but_for=(IchdError,)) as step:
                self._attempt(hold)
        except LeaseLost:
            raise
        except CodedError as error:
            # A refusal too: it ends when somebody corrects a setting over there.
            self._try_later(hold.commitment, error)
        except SettingsError as error:
            self._try_later(hold.commitment, Transient(Reason.SOURCE_UNREACHABLE, str(error)))
        else:
            if step.defect is not None:
                # It counts as an attempt, or its request would be tried for ever.
                self._try_later(hold.commitment, Transient(Reason.INTERNAL_ERROR, step.defect))

    def _attempt(self, hold: "_Hold") -> None:
        commitment = hold.commitment
        asked_s = (self._clock() - commitment.requested_at).total_seconds()
        holdings = self._commitments.holdings([r.sop_instance_uid for r in commitment.references])
        absent = any(r.sop_instance_uid not in holdings for r in commitment.references)
        if absent and asked_s < self._policy.grace_s:
            wait_s = min(self._policy.look_again_s, self._policy.grace_s - asked_s)
            self._commitments.wait(commitment, until=self._clock() + timedelta(seconds=wait_s))
            return
        verdict = self._judge(hold, holdings)
        if verdict is None:
            self._commitments.wait(hold.commitment, until=self._clock())
            return
        self._report(hold, verdict)

    def _judge(self, hold: "_Hold", holdings: Mapping[str, Holding]) -> Verdict | None:
        """What is true of the images by now; None where the reporter is told to stop."""
        committed: list[Reference] = []
        failed: list[tuple[Reference, FailureReason]] = []
        for reference in hold.commitment.references:
            if self._stopping.is_set():
                return None
            hold.keep(self._policy.lease_s)
            failure = self._failure_of(reference, holdings.get(reference.sop_instance_uid))
            if failure is None:
                committed.append(reference)
            else:
                failed.append((reference, failure))
        return Verdict(transaction_uid=hold.commitment.transaction_uid, committed=committed, failed=failed)

    def _failure_of(self, reference: Reference, holding: Holding | None) -> FailureReason | None:
        if holding is None:
            return FailureReason.NO_SUCH_OBJECT_INSTANCE
        if holding.sop_class_uid != reference.sop_class_uid:
            return FailureReason.CLASS_INSTANCE_CONFLICT
        started = time.monotonic()
        intact = all(self._spool.is_intact(file) for file in holding.files)
        # Half of the time is left to the disk for images that arrive.
        self._stopping.wait(time.monotonic() - started)
        return None if intact else FailureReason.PROCESSING_FAILURE

    def _report(self, hold: "_Hold", verdict: Verdict) -> None:
        commitment = hold.commitment
        source = self._sources.get(commitment.calling_ae_title)
        if source is None:
            raise Transient(Reason.SOURCE_UNKNOWN, "storage commitment")
        # Longer than it can keep us waiting, so that nobody else reports meanwhile.
        hold.extend(self._policy.lease_s + 4 * source.timeout_s)
        report(source, verdict)
        self._commitments.reported(hold.commitment, now=self._clock())
        _log.info(
            "commitment_reported",
            commitment=commitment.id,
            committed=len(verdict.committed),
            failed=len(verdict.failed),
            ae_title=commitment.calling_ae_title,
        )

    def _try_later(self, commitment: Commitment, error: CodedError) -> None:
        now = self._clock()
        attempt = commitment.attempts + 1
        delay = retry_delay(self._policy.retry, attempt, random.random())  # noqa: S311 - jitter
        outcome = {"reason": str(error.reason), "detail": error.detail, "attempt": attempt}
        if delay is None:
            self._commitments.give_up(commitment, reason=error.reason, detail=error.detail, now=now)
            _log.error("commitment_given_up", commitment=commitment.id, **outcome)
            self._show(commitment, error, now)
            return
        self._commitments.postpone(
            commitment,
            until=now + delay,
            reason=error.reason,
            detail=error.detail,
            whole_peer=error.reason in _AWAY,
            now=now,
        )
        _log.warning("commitment_report_postponed", commitment=commitment.id, **outcome)

    def _show(self, commitment: Commitment, error: CodedError, now: datetime) -> None:
        """Where a user looks: among what was turned away, since that AE will not delete its images."""
        self._arrivals.refuse(
            error.reason,
            detail=f"storage commitment given up: {error.detail}",
            calling_ae_title=commitment.calling_ae_title,
            address=commitment.address,
            sop_class_uid=PUSH_MODEL,
            sop_instance_uid=None,
            now=now,
        )


class _Hold:
    """A claim that is kept alive while its images are read."""

    def __init__(self, commitments: Commitments, commitment: Commitment, clock: Callable[[], datetime]) -> None:
        self._commitments = commitments
        self._clock = clock
        self.commitment = commitment

    def keep(self, lease_s: float) -> None:
        """Extend it once half of it is over."""
        if self._clock() > self.commitment.lease_until - timedelta(seconds=lease_s / 2):
            self.extend(lease_s)

    def extend(self, lease_s: float) -> None:
        """Extend it from now."""
        self.commitment = self._commitments.extend(self.commitment, lease_s=lease_s, now=self._clock())
