"""The counter behind the doors: it checks an image, stores it, commits, and only then says yes."""

from dataclasses import dataclass
from datetime import datetime

import structlog

from ichd.domain.errors import Refused, Transient
from ichd.domain.reason import Reason
from ichd.domain.study import CT_IMAGE_STORAGE, ENHANCED_CT_IMAGE_STORAGE, InstanceFacts
from ichd.intake.header import parse_header
from ichd.intake.part10 import file_meta
from ichd.intake.peers import RecentRejections
from ichd.intake.values import is_uid
from ichd.store.arrivals import ArrivalKind, Arrivals
from ichd.store.spool import Spool, StoredFile

_log = structlog.get_logger(__name__)

#: Enhanced CT is taken, so that its study ends with a reason where a user looks, not with a silent sender.
ACCEPTED_SOP_CLASSES = (CT_IMAGE_STORAGE, ENHANCED_CT_IMAGE_STORAGE)


@dataclass(frozen=True, kw_only=True)
class Sender:
    """Who stands at the door; both are claims until TLS proves one."""

    calling_ae_title: str
    address: str


@dataclass(frozen=True, kw_only=True)
class Offer:
    """One image as a door received it: encoded bytes, and what the sender says they are."""

    dataset: memoryview
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str


@dataclass(frozen=True, kw_only=True)
class Admission:
    """The yes, and what it was said to."""

    kind: ArrivalKind
    facts: InstanceFacts


class Counter:
    """Shared by all doors and their threads."""

    def __init__(self, arrivals: Arrivals, spool: Spool, *, min_free_fraction: float = 0.05) -> None:
        self._arrivals = arrivals
        self._spool = spool
        #: Below this free share of the spool's disk nothing is taken; it recovers by itself.
        self._min_free_fraction = min_free_fraction
        self._rejections = RecentRejections()

    def open(self) -> None:
        """Make ready to store, before anybody is let in.

        Raises:
            Transient: the spool can't be written.
        """
        self._spool.prepare()

    def admit(self, offer: Offer, *, association_id: int, now: datetime) -> Admission:
        """Take one image; when this returns, its bytes and its row survive a loss of power.

        Raises:
            Refused: the image is not acceptable, whenever it is sent.
            Transient: the disk is nearly full, or the spool or the database fails; it may be sent again.
        """
        self._require_space()
        facts = parse_header(offer.dataset, offer.transfer_syntax_uid)
        _require_acceptable(facts, offer)
        meta = file_meta(
            sop_class_uid=facts.sop_class_uid,
            sop_instance_uid=facts.sop_instance_uid,
            transfer_syntax_uid=facts.transfer_syntax_uid,
        )
        stored = self._spool.write([meta, offer.dataset])
        # Where this fails the file stays: a database that lost its answer may have committed the row. The sweep of the
        # spool sets aside what has no row.
        kind = self._arrivals.record(facts, stored, association_id=association_id, now=now)
        if kind is ArrivalKind.DUPLICATE:
            kind = self._mend(facts, stored, association_id=association_id, now=now)
        if kind is ArrivalKind.DUPLICATE:
            self._spool.discard(stored.path)
        elif not self._spool.holds(stored):
            # A database that kept us waiting for minutes let the sweep take the file for an orphan.
            self._arrivals.forget(stored)
            raise Transient(Reason.STORE_UNAVAILABLE, "the file was set aside before its row was committed")
        return Admission(kind=kind, facts=facts)

    def _mend(self, facts: InstanceFacts, stored: StoredFile, *, association_id: int, now: datetime) -> ArrivalKind:
        """A repeated image is thrown away only where the first one is still whole; else it takes its place."""
        first = self._arrivals.first_file(facts)
        if first is None or first.sha256 != stored.sha256 or self._spool.is_intact(first):
            return ArrivalKind.DUPLICATE
        kind = self._arrivals.replace(first, facts, stored, association_id=association_id, now=now)
        _log.warning("damaged_file_replaced", study=facts.study_instance_uid, file=first.path)
        return kind

    def turn_away(
        self, error: Refused | Transient, sender: Sender, *, sop_class_uid: str, sop_instance_uid: str, now: datetime
    ) -> None:
        """Write a refusal where a user looks: in the log and, while the database works, in `ichd status`.

        The UIDs are the sender's words: one that is no UID is not repeated.
        """
        sop_class = sop_class_uid if is_uid(sop_class_uid) else None
        _log.warning(
            "instance_refused",
            reason=str(error.reason),
            detail=error.detail,
            sop_class=sop_class,
            calling_ae_title=sender.calling_ae_title,
            address=sender.address,
        )
        instance = sop_instance_uid if is_uid(sop_instance_uid) else None
        self._write_refusal(error, sender, sop_class_uid=sop_class, sop_instance_uid=instance, now=now)

    def turn_away_association(self, error: Refused | Transient, sender: Sender, *, now: datetime) -> None:
        """Write a rejected association where a user looks; one that knocks again and again gets a row a minute."""
        _log.warning(
            "association_rejected",
            reason=str(error.reason),
            detail=error.detail,
            calling_ae_title=sender.calling_ae_title,
            address=sender.address,
        )
        if self._rejections.is_news(error.reason, sender.address, now):
            self._write_refusal(error, sender, sop_class_uid=None, sop_instance_uid=None, now=now)

    def _write_refusal(
        self,
        error: Refused | Transient,
        sender: Sender,
        *,
        sop_class_uid: str | None,
        sop_instance_uid: str | None,
        now: datetime,
    ) -> None:
        try:
            self._arrivals.refuse(
                error.reason,
                detail=error.detail,
                calling_ae_title=sender.calling_ae_title,
                address=sender.address,
                sop_class_uid=sop_class_uid,
                sop_instance_uid=sop_instance_uid,
                now=now,
            )
        except Transient as trouble:
            # The sender hears of the refusal all the same, and the log has it.
            _log.error("refusal_not_recorded", reason=str(trouble.reason), detail=trouble.detail)

    def _require_space(self) -> None:
        free = self._spool.free_fraction()
        if free < self._min_free_fraction:
            raise Transient(Reason.DISK_LOW, f"{free:.1%} of the disk is free, {self._min_free_fraction:.1%} needed")


def _require_acceptable(facts: InstanceFacts, offer: Offer) -> None:
    """The request and the data set must speak of the same CT image (PS3.7 9.1.1.1)."""
    if facts.sop_instance_uid != offer.sop_instance_uid:
        raise Refused(Reason.UID_MISMATCH, "SOP Instance UID")
    if facts.sop_class_uid != offer.sop_class_uid:
        raise Refused(Reason.UID_MISMATCH, "SOP Class UID")
    if facts.sop_class_uid not in ACCEPTED_SOP_CLASSES:
        raise Refused(Reason.WRONG_MODALITY, f"SOP class {facts.sop_class_uid}")
    if facts.modality != "CT":
        raise Refused(Reason.WRONG_MODALITY, f"Modality {facts.modality or 'none'}")
