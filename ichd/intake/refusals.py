"""What is turned away goes where a user looks: the log, `ichd status`, the audit trail."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import structlog

from ichd.domain.errors import Refused, Transient
from ichd.intake.allowance import Allowance, with_left_out
from ichd.intake.claim import Claim, Sender
from ichd.intake.values import is_uid
from ichd.store.arrivals import Arrivals

_log = structlog.get_logger(__name__)


class Refusals:
    """Shared by all doors and their threads. The database is told while it works; the log always is."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._images = Allowance()
        self._rejections = Allowance()
        self._words = Allowance()

    def image(
        self,
        error: Refused | Transient,
        sender: Sender,
        claim: Claim,
        *,
        study_instance_uid: str | None,
        now: datetime,
    ) -> None:
        """Write down an image that was turned away; to who brings many, so many a minute, and how many there were.

        One of a study that is being received always has its row: it is evidence that the study misses an image.
        The UIDs of the claim are the sender's words: one that is no UID is not repeated. That of the study is the
        header's, None where it could not be read.
        """
        sop_class = claim.sop_class_uid if is_uid(claim.sop_class_uid) else None
        _warn("instance_refused", error, sender, sop_class=sop_class)
        with _while_it_works():
            left_out = self._images.take(error.reason, sender.address, now)
            if left_out is None:
                if study_instance_uid is None or not self._arrivals.is_under_reception(study_instance_uid):
                    return
                left_out = self._images.take_anyway(error.reason, sender.address, now)
            self._arrivals.refuse(
                error.reason,
                detail=with_left_out(error.detail, left_out),
                calling_ae_title=sender.calling_ae_title,
                address=sender.address,
                sop_class_uid=sop_class,
                sop_instance_uid=claim.sop_instance_uid if is_uid(claim.sop_instance_uid) else None,
                study_instance_uid=study_instance_uid,
                now=now,
            )

    def request(self, error: Refused, sender: Sender, *, sop_class_uid: str, now: datetime) -> None:
        """Write down that a service was denied; to who asks for it again and again, once a minute for each title."""
        _warn("request_refused", error, sender)
        left_out = self._rejections.take(error.reason, sender.address, now, title=sender.calling_ae_title)
        if left_out is None:
            return
        with _while_it_works():
            self._arrivals.refuse(
                error.reason,
                detail=with_left_out(error.detail, left_out),
                calling_ae_title=sender.calling_ae_title,
                address=sender.address,
                sop_class_uid=sop_class_uid,
                sop_instance_uid=None,
                now=now,
            )

    def word(
        self, error: Refused, sender: Sender, *, sop_class_uid: str | None, sop_instance_uid: str | None, now: datetime
    ) -> None:
        """Write down a reader's word that can't be kept; to who sends many, so many a minute.

        Without its study: a row with one is evidence that the study misses an image.
        """
        _warn("word_refused", error, sender, sop_class=sop_class_uid)
        left_out = self._words.take(error.reason, sender.address, now)
        if left_out is None:
            return
        with _while_it_works():
            self._arrivals.refuse(
                error.reason,
                detail=with_left_out(error.detail, left_out),
                calling_ae_title=sender.calling_ae_title,
                address=sender.address,
                sop_class_uid=sop_class_uid,
                sop_instance_uid=sop_instance_uid,
                now=now,
            )

    def association(self, error: Refused | Transient, sender: Sender, *, now: datetime) -> None:
        """Write down a rejected association; one that knocks again and again gets a row a minute for each title."""
        _warn("association_rejected", error, sender)
        left_out = self._rejections.take(error.reason, sender.address, now, title=sender.calling_ae_title)
        if left_out is None:
            return
        with _while_it_works():
            self._arrivals.refuse_association(
                error.reason,
                detail=with_left_out(error.detail, left_out),
                calling_ae_title=sender.calling_ae_title,
                address=sender.address,
                now=now,
            )


def _warn(event: str, error: Refused | Transient, sender: Sender, **more: str | None) -> None:
    _log.warning(
        event,
        reason=str(error.reason),
        detail=error.detail,
        calling_ae_title=sender.calling_ae_title,
        address=sender.address,
        **more,
    )


@contextmanager
def _while_it_works() -> Iterator[None]:
    """Where the database does not, the sender hears of the refusal all the same, and the log has it."""
    try:
        yield
    except Transient as trouble:
        _log.error("refusal_not_recorded", reason=str(trouble.reason), detail=trouble.detail)
