"""The images of one request at the counter, one after the other, in the thread of the request."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from ichd.domain.errors import Refused, Transient
from ichd.domain.reason import Reason
from ichd.intake.claim import Claim
from ichd.intake.feedback.key_objects import KEY_OBJECT_SELECTION, LONGEST_KEY_OBJECT, KeptWord
from ichd.intake.part10 import FileHead
from ichd.intake.stow.multipart import NotMultipart, Part
from ichd.intake.visit import Visit
from ichd.store.arrivals import ArrivalKind

#: So many parts that are no DICOM file, each with its line in the log, and the request is not read any further.
MAX_STRANGE_PARTS = 100


@dataclass(frozen=True, kw_only=True)
class Stored:
    """An image that was taken, now or before."""

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    #: Other bytes are kept under its SOP Instance UID already, and those are read.
    conflicting: bool
    #: Not so of a key object: what it said is kept, and not the object.
    retrievable: bool = True


@dataclass(frozen=True, kw_only=True)
class Failed:
    """An image, or a part that is none, that was not taken."""

    #: What the part called itself; its UIDs may be empty, or no UIDs.
    claim: Claim
    #: Not the error itself: that knows the frames that it came through, and they hold the image.
    reason: Reason
    #: It may be stored another time as it is.
    transient: bool


_NAMELESS = Claim(sop_class_uid="", sop_instance_uid="", transfer_syntax_uid="")


#: Takes a key object for a reader's word.
TakeWord = Callable[[bytes, Claim], KeptWord]


def store_parts(
    parts: Iterator[Part],
    visit: Visit,
    *,
    study_uid: str | None,
    clock: Callable[[], datetime],
    take_word: TakeWord | None = None,
) -> Iterator[Stored | Failed]:
    """What becomes of each part, as soon as it is known; with `study_uid`, images of other studies fail.

    Raises:
        NotMultipart: the message breaks off, or is none. The part underway is not stored.
    """
    strange = 0
    for part in parts:
        outcome = _store(iter(part), visit, study_uid, clock, take_word)
        yield outcome
        strange += isinstance(outcome, Failed) and outcome.claim is _NAMELESS
        if strange >= MAX_STRANGE_PARTS:
            raise NotMultipart(f"{strange} parts are no DICOM files.")


def _store(
    content: Iterator[memoryview],
    visit: Visit,
    study_uid: str | None,
    clock: Callable[[], datetime],
    take_word: TakeWord | None,
) -> Stored | Failed:
    head = FileHead()
    try:
        beginning = _read_head(head, content)
    except Refused as error:
        visit.turn_away(error, _NAMELESS, study_instance_uid=None, now=clock())
        return Failed(claim=_NAMELESS, reason=error.reason, transient=False)
    claim = Claim(
        sop_class_uid=head.sop_class_uid,
        sop_instance_uid=head.sop_instance_uid,
        transfer_syntax_uid=head.transfer_syntax_uid,
        study_instance_uid=study_uid,
    )
    if take_word is not None and claim.sop_class_uid == KEY_OBJECT_SELECTION:
        return _hear(chain((beginning,), content), visit, claim, take_word)
    with visit.receive(claim) as reception:
        reception.write(beginning)
        for fragment in content:
            reception.write(fragment)
        try:
            admission = reception.admit(now=clock())
        except (Refused, Transient) as error:
            return Failed(claim=claim, reason=error.reason, transient=isinstance(error, Transient))
    return Stored(
        study_instance_uid=admission.facts.study_instance_uid,
        series_instance_uid=admission.facts.series_instance_uid,
        sop_class_uid=admission.facts.sop_class_uid,
        sop_instance_uid=admission.facts.sop_instance_uid,
        conflicting=admission.kind is ArrivalKind.CONFLICT,
    )


def _hear(content: Iterator[memoryview], visit: Visit, claim: Claim, take_word: TakeWord) -> Stored | Failed:
    """A reader's word in a key object; of one that is too large, no more is held than shows it."""
    dataset = bytearray()
    try:
        for fragment in content:
            visit.count(len(fragment))
            dataset += fragment[: LONGEST_KEY_OBJECT + 1 - len(dataset)]
        kept = take_word(bytes(dataset), claim)
    except (Refused, Transient) as error:
        return Failed(claim=claim, reason=error.reason, transient=isinstance(error, Transient))
    return Stored(
        study_instance_uid=kept.study_instance_uid,
        series_instance_uid=kept.series_instance_uid,
        sop_class_uid=claim.sop_class_uid,
        sop_instance_uid=claim.sop_instance_uid,
        conflicting=False,
        retrievable=False,
    )


def _read_head(head: FileHead, content: Iterator[memoryview]) -> memoryview:
    """Read up to the data set; the first bytes of it."""
    for fragment in content:
        beginning = head.feed(fragment)
        if beginning is not None:
            return beginning
    return head.finish()
