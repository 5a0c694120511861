"""Proof that a destination holds what it acknowledged: it lists it (read-back), or vouches for it (commitment)."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import uuid4

from ichd.domain.delivery import Outgoing, Proof
from ichd.domain.errors import Permanent, Transient
from ichd.domain.reason import Reason
from ichd.pipeline.clock import Clock
from ichd.publish.sender import Commits, ReadsBack
from ichd.store.promises import Promises

#: A report of commitment may come on the association of the request; else it comes to our listener.
_PATIENCE_S = 1.0
#: An archive may take responsibility only after its own archive has; then its answer may have been lost, and costs a
#: second question.
ASK_AGAIN_AFTER = timedelta(hours=1)
#: Looks before what is missing is sent again: filing takes some archives a while.
_LOOKS = 2

Again = Callable[[], None]


class Confirm(StrEnum):
    """What proof the settings ask for."""

    NO = "no"
    READ_BACK = "read_back"
    COMMITMENT = "commitment"


def read_back(
    sender: ReadsBack, study_uid: str, objects: Sequence[Outgoing], *, attempt: int, send_again: Again
) -> Proof:
    """Ask for each object; `send_again` where some stay missing, which changes nothing for the others.

    Raises:
        Transient: NOT_CONFIRMED, not all are listed yet; or the destination can't be asked now.
        Permanent: it can't be asked at all.
    """
    missing = sender.missing(study_uid, objects)
    if not missing:
        return Proof.READ_BACK
    if attempt > _LOOKS:
        send_again()
    raise Transient(Reason.NOT_CONFIRMED, f"{len(missing)} of {len(objects)} objects are not listed")


def seek_commitment(
    sender: Commits,
    ae_title: str,
    job_id: int,
    objects: Sequence[Outgoing],
    *,
    promises: Promises,
    clock: Clock,
    send_again: Again,
) -> Proof:
    """Ask once, and wait for the answer that comes to our listener; what is refused is sent and asked for again.

    Only who is called `ae_title` may answer.

    Raises:
        Transient: NOT_CONFIRMED, no answer yet; NOT_COMMITTED, the destination does not take responsibility.
        Permanent: it offers no storage commitment.
    """
    promise = promises.verdict(job_id)
    if promise is None or _is_stale(promise.asked_at, promise.answered_at, clock()):
        _ask(sender, ae_title, job_id, objects, promises, clock)
        promise = promises.verdict(job_id)
    if promise is None or promise.answered_at is None:
        raise Transient(Reason.NOT_CONFIRMED, "storage commitment was asked for and is not answered yet")
    # What it does not name it does not vouch for, whether it calls that a failure or not.
    refused = [each for each in objects if each.sop_instance_uid not in (promise.committed or ())]
    if not refused:
        return Proof.COMMITTED
    send_again()
    _ask(sender, ae_title, job_id, objects, promises, clock)
    raise Transient(Reason.NOT_COMMITTED, f"{len(refused)} of {len(objects)} objects, sent again")


def _is_stale(asked_at: datetime, answered_at: datetime | None, now: datetime) -> bool:
    return answered_at is None and now - asked_at >= ASK_AGAIN_AFTER


def _ask(
    sender: Commits, ae_title: str, job_id: int, objects: Sequence[Outgoing], promises: Promises, clock: Clock
) -> None:
    # A new transaction each time (PS3.4 J.3.2.1.1.2); a UUID is one of those (PS3.5 B.2).
    transaction_uid = f"2.25.{uuid4().int}"
    promises.ask(job_id, transaction_uid, ae_title, clock())
    try:
        report = sender.request_commitment(transaction_uid, objects, patience_s=_PATIENCE_S)
    except (Transient, Permanent):
        promises.withdraw(transaction_uid)
        raise
    if report is not None:
        promises.answer(transaction_uid, ae_title, report.committed, clock())
