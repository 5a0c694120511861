"""One association or one request at the counter, and each data set that it brings."""

import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self

import structlog

from ichd.domain.arrival import Door
from ichd.domain.errors import Refused, Transient
from ichd.domain.reason import Reason
from ichd.domain.study import InstanceFacts
from ichd.intake.claim import Admission, Claim, Sender, require_acceptable, require_plausible
from ichd.intake.endings import Ending, Endings, Fruitless
from ichd.intake.header import parse_header, study_uid_of
from ichd.intake.part10 import file_meta
from ichd.intake.refusals import Refusals
from ichd.intake.shelf import Shelf
from ichd.store.arrivals import ArrivalKind, Arrivals
from ichd.store.deposits import Deposit
from ichd.store.spool import Draft, Fragment

_log = structlog.get_logger(__name__)

#: Of one visit; nobody brings more studies at once, and the UIDs are the sender's words.
_MOST_MISSED = 1000
#: A deflated image may be as many times the size of the largest that is taken; deflate itself expands a thousandfold.
_MOST_INFLATION = 16


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What all visits share."""

    arrivals: Arrivals
    shelf: Shelf
    refusals: Refusals
    endings: Endings
    #: Largest data set that is taken, bytes.
    max_instance_bytes: int
    #: Most that one visit may bring, bytes.
    max_visit_bytes: int


class Visit:
    """From the first word to the last of one sender. It belongs to one thread; `end` may be called from another."""

    def __init__(self, desk: Desk, sender: Sender, *, door: Door, place: str, opened_at: datetime) -> None:
        self._desk = desk
        self._sender = sender
        self._door = door
        self._place = place
        self._opened_at = opened_at
        self._received_bytes = 0
        self._deposits: dict[str, Deposit] = {}
        #: Studies of which an image was lost here: turned away, or broken off in the middle.
        self._missed: set[str] = set()
        self._ended = False
        self._ending = threading.Lock()
        #: Images that were acknowledged, repeated ones included.
        self.stored = 0
        #: Images that were turned away.
        self.refused = 0
        #: None until the first image is kept.
        self.association_id: int | None = None

    def receive(self, claim: Claim) -> "Reception":
        """Begin a data set. What is wrong with its claim is said by `Reception.admit`, once the bytes have come."""
        return Reception(self, self._desk, claim)

    def end(self, *, released: bool, now: datetime) -> bool:
        """Account for the end of the visit, late where the database is away; whether it is news, as it is once."""
        with self._ending:
            if self._ended:
                return False
            self._ended = True
        _log.info(
            "visit_ended",
            door=str(self._door),
            released=released,
            stored=self.stored,
            refused=self.refused,
            calling_ae_title=self._sender.calling_ae_title,
            address=self._sender.address,
        )
        ending = self._ending_of(released=released, now=now)
        if ending is not None:
            self._desk.endings.record(ending)
        return True

    def _ending_of(self, *, released: bool, now: datetime) -> Ending | Fruitless | None:
        """What there is to write down; nothing where no image was kept and none lost."""
        missed = tuple(sorted(self._missed))
        if self.association_id is not None:
            return Ending(
                association_id=self.association_id,
                released=released,
                refused=self.refused,
                deposits=tuple(self._deposits.values()),
                missed=missed,
                ended_at=now,
            )
        if not missed:
            return None
        return Fruitless(
            door=self._door,
            sender=self._sender,
            listener=self._place,
            opened_at=self._opened_at,
            released=released,
            refused=self.refused,
            missed=missed,
            ended_at=now,
        )

    def miss(self, study_instance_uid: str | None) -> None:
        """An image of this study was lost, by its header where that had come."""
        if study_instance_uid is not None and len(self._missed) < _MOST_MISSED:
            self._missed.add(study_instance_uid)

    def count(self, size: int) -> None:
        """Add what came to the account of the visit.

        Raises:
            Transient: it has brought more than one visit may; the rest is taken in the next one.
        """
        self._received_bytes += size
        if self._received_bytes > self._desk.max_visit_bytes:
            raise Transient(Reason.ASSOCIATION_TOO_LARGE, f"more than {self._desk.max_visit_bytes} bytes")

    @property
    def has_had_its_fill(self) -> bool:
        """What came beyond the limit would have been the largest image: nothing reasonable is under way any more."""
        return self._received_bytes > self._desk.max_visit_bytes + self._desk.max_instance_bytes

    def keep(self, draft: Draft, facts: InstanceFacts, *, now: datetime) -> Admission:
        """Store an image that was found acceptable.

        Raises:
            Transient: the spool or the database fails.
        """
        if self.association_id is None:
            self.association_id = self._desk.arrivals.open_association(
                door=self._door,
                calling_ae_title=self._sender.calling_ae_title,
                address=self._sender.address,
                listener=self._place,
                now=self._opened_at,
            )
        kind = self._desk.shelf.keep(draft, facts, association_id=self.association_id, now=now)
        self.stored += 1
        if kind is ArrivalKind.NEW:
            study_uid = facts.study_instance_uid
            before = self._deposits.get(study_uid, Deposit(study_instance_uid=study_uid))
            self._deposits[study_uid] = before.plus(facts.sop_class_uid)
        return Admission(kind=kind, facts=facts)

    def turn_away(
        self, error: Refused | Transient, claim: Claim, *, study_instance_uid: str | None, now: datetime
    ) -> None:
        """Account for an image that is not stored."""
        self.refused += 1
        self.miss(study_instance_uid)
        self._desk.refusals.image(error, self._sender, claim, study_instance_uid=study_instance_uid, now=now)


class Reception:
    """One data set on its way in; whatever its size, no more of it is held than one buffer of the spool.

    Leaving the block without `admit` abandons it: the sender broke off.
    """

    def __init__(self, visit: Visit, desk: Desk, claim: Claim) -> None:
        self._visit = visit
        self._desk = desk
        self._claim = claim
        self._draft: Draft | None = None
        self._meta_bytes = 0
        self._trouble: Refused | Transient | None = None
        #: It was stored or turned away.
        self._settled = False
        #: As the header says, where that had come.
        self._study_uid: str | None = None
        #: Bytes of the data set so far, dropped ones included.
        self.size = 0
        try:
            require_plausible(claim)
            self._begin()
        except (Refused, Transient) as error:
            self._give_up(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if not self._settled:
            self._drop()
            self._visit.miss(self._study_uid)

    def write(self, fragment: Fragment) -> None:
        """Take the next bytes. Trouble is remembered for `admit`; from then on bytes are counted and dropped."""
        size = memoryview(fragment).nbytes
        self.size += size
        try:
            self._visit.count(size)
            if self._draft is None:
                return
            if self.size > self._desk.max_instance_bytes:
                self._drop()
                return
            self._draft.write(fragment)
        except Transient as error:
            self._give_up(error)

    def admit(self, *, now: datetime) -> Admission:
        """Check what came and store it; when this returns, it survives a loss of power.

        Raises:
            Refused: the image is not acceptable, whenever it is sent.
            Transient: the disk is nearly full, the visit brought too much, or the spool or the database fails; it may
                be sent again. Either is in the log, and in the database while that works.
        """
        try:
            draft = self._whole()
            with draft.view(self._meta_bytes) as dataset:
                facts = parse_header(
                    dataset,
                    self._claim.transfer_syntax_uid,
                    max_inflated_bytes=_MOST_INFLATION * self._desk.max_instance_bytes,
                )
            self._study_uid = facts.study_instance_uid
            require_acceptable(facts, self._claim)
            admission = self._visit.keep(draft, facts, now=now)
        except (Refused, Transient) as error:
            _forget_the_way(error)
            self._drop()
            self._settled = True
            self._visit.turn_away(error, self._claim, study_instance_uid=self._study_uid, now=now)
            raise
        self._draft, self._settled = None, True
        return admission

    def _begin(self) -> None:
        self._draft = self._desk.shelf.draft()
        meta = file_meta(
            sop_class_uid=self._claim.sop_class_uid,
            sop_instance_uid=self._claim.sop_instance_uid,
            transfer_syntax_uid=self._claim.transfer_syntax_uid,
        )
        self._meta_bytes = len(meta)
        self._draft.write(meta)

    def _whole(self) -> Draft:
        """The draft, if nothing stood against it so far."""
        if self._trouble is not None:
            # A new one: an error that is raised knows its frames, and they know us.
            raise _again(self._trouble)
        if self._draft is None:
            raise Refused(Reason.TOO_LARGE, f"{self.size} bytes, at most {self._desk.max_instance_bytes}")
        return self._draft

    def _give_up(self, error: Refused | Transient) -> None:
        self._trouble = self._trouble or _again(error)
        self._drop()

    def _drop(self) -> None:
        """Discard what came, but remember the study that it was to belong to."""
        if self._draft is not None and self._study_uid is None:
            with suppress(Transient), self._draft.view(self._meta_bytes) as dataset:
                self._study_uid = study_uid_of(dataset, self._claim.transfer_syntax_uid)
        self._discard()

    def _discard(self) -> None:
        if self._draft is not None:
            self._draft.discard()
            self._draft = None


def _again(error: Refused | Transient) -> Refused | Transient:
    """The same words, by one who was never there."""
    return type(error)(error.reason, error.detail)


def _forget_the_way(error: Refused | Transient) -> None:
    """Let go of the frames that an error came through: they look into the draft, and hold what its sender sent."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
