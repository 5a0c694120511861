"""A Key Object Selection that rejects a report of ours: a reader disagrees with its finding.

In a viewer this is one gesture: mark the report, and choose the title Rejected for Quality Reasons (113001, DCM; CID
7010). The title says nothing else, so it is the only one that is taken. All others are refused with a reason: an answer
of success to a key object that is then dropped would leave its sender believing that it is here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import structlog

from ichd.domain.errors import Refused, Transient
from ichd.domain.reason import Reason
from ichd.domain.review import Agreement, Review, ReviewSource
from ichd.intake.claim import Claim, Sender
from ichd.intake.information import Information, items_of, read_information, text_of, uid_of
from ichd.intake.refusals import Refusals
from ichd.intake.service import Answer, Request
from ichd.intake.status import SUCCESS, failure
from ichd.intake.values import is_uid
from ichd.store.arrivals import Arrivals
from ichd.store.reviews import Reviews

_log = structlog.get_logger(__name__)

KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"
#: One with the references of a whole study of 1,000 images has some 200 kB.
LONGEST_KEY_OBJECT = 512 << 10
#: A reader rejects a report and its pictures; who names more means images.
_MOST_REFERENCES = 1000
_REJECTED_FOR_QUALITY_REASONS = ("113001", "DCM")
#: Of a title that is repeated to people; codes are short.
_LONGEST_CODE = 16


@dataclass(frozen=True, kw_only=True)
class KeptWord:
    """Where a key object was taken for a word."""

    study_instance_uid: str
    series_instance_uid: str


class KeyObjects:
    """Both doors hand key objects to this; for any number of threads."""

    def __init__(self, reviews: Reviews, arrivals: Arrivals) -> None:
        self._reviews = reviews
        self._refusals = Refusals(arrivals)

    def accept(self, request: Request) -> Answer:
        """C-STORE of one; success is answered only once the word is committed."""
        claim = Claim(
            sop_class_uid=request.sop_class_uid,
            sop_instance_uid=request.sop_instance_uid,
            transfer_syntax_uid=request.transfer_syntax_uid,
        )
        try:
            self.take(request.dataset, claim, request.sender, now=request.received_at)
        except (Refused, Transient) as error:
            status, comment = failure(error)
            return Answer(status=status, comment=comment)
        return Answer(status=SUCCESS)

    def take(self, dataset: bytes, claim: Claim, sender: Sender, *, now: datetime) -> KeptWord:
        """Keep the word that an encoded key object is, about each of our findings that it rejects.

        Raises:
            Refused: it can't be read, is none, is no word on a finding, or rejects nothing of ours.
            Transient: the database fails.
        """
        try:
            return self._take(dataset, claim, sender, now)
        except Refused as error:
            self._refusals.word(
                error,
                sender,
                sop_class_uid=KEY_OBJECT_SELECTION,
                sop_instance_uid=claim.sop_instance_uid if is_uid(claim.sop_instance_uid) else None,
                now=now,
            )
            raise
        except Transient as error:
            _log.error("word_not_kept", reason=str(error.reason), detail=error.detail, address=sender.address)
            raise

    def _take(self, dataset: bytes, claim: Claim, sender: Sender, now: datetime) -> KeptWord:
        if len(dataset) > LONGEST_KEY_OBJECT:
            raise Refused(Reason.NO_REVIEW, f"a key object of more than {LONGEST_KEY_OBJECT} bytes")
        key_object = read_information(dataset, claim.transfer_syntax_uid)
        kept = _identified(key_object, claim)
        title = _code_of(key_object)
        if title != _REJECTED_FOR_QUALITY_REASONS:
            raise Refused(Reason.NO_REVIEW, f"the key object's title is {_sayable(title)}")
        meant = self._reviews.by_instances(_referenced(key_object))
        if not meant:
            raise Refused(Reason.REVIEW_UNKNOWN, "the key object rejects no object of ours")
        for each in meant:
            review = Review(
                agreement=Agreement.DISAGREED,
                source=ReviewSource.KEY_OBJECT,
                received_at=now,
                reviewer=sender.calling_ae_title,
                key=claim.sop_instance_uid,
            )
            self._reviews.record(each.study_uid, review, revision=each.revision)
            _log.info("review_kept", source="key_object", study=each.study_uid, revision=each.revision)
        return kept


def _identified(key_object: Information, claim: Claim) -> KeptWord:
    """Which one it is, by its own words, where they are those of the request.

    Raises:
        Refused: BAD_UID or UID_MISMATCH.
    """
    uids = {}
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        uid = uid_of(key_object, keyword)
        if uid is None:
            raise Refused(Reason.BAD_UID, f"{keyword} is missing or is no UID")
        uids[keyword] = uid
    if uids["SOPClassUID"] != claim.sop_class_uid:
        raise Refused(Reason.UID_MISMATCH, "SOP Class UID")
    if uids["SOPInstanceUID"] != claim.sop_instance_uid:
        raise Refused(Reason.UID_MISMATCH, "SOP Instance UID")
    if claim.study_instance_uid not in (None, uids["StudyInstanceUID"]):
        raise Refused(Reason.UID_MISMATCH, "Study Instance UID")
    return KeptWord(study_instance_uid=uids["StudyInstanceUID"], series_instance_uid=uids["SeriesInstanceUID"])


def _code_of(item: Information) -> tuple[str, str] | None:
    """Value and scheme of the concept name of a content item; of the root, the title of the document."""
    names = items_of(item, "ConceptNameCodeSequence")
    return (text_of(names[0], "CodeValue"), text_of(names[0], "CodingSchemeDesignator")) if names else None


def _sayable(title: tuple[str, str] | None) -> str:
    """A code for people. It is the sender's, and what is none may be anything, a name as well."""
    if title is None:
        return "missing"
    value, scheme = title
    is_code = value.isascii() and value.isdigit() and len(value) <= _LONGEST_CODE and scheme == "DCM"
    return f"{value} {scheme}" if is_code else "another"


def _referenced(key_object: Information) -> set[str]:
    """SOP Instance UIDs of the objects that it marks (TID 2010, rows 6 to 8), and of the evidence for them.

    Raises:
        Refused: NO_REVIEW, it marks more than a reader does.
    """
    found = set()
    for item in _references(key_object):
        uid = uid_of(item, "ReferencedSOPInstanceUID")
        if uid is not None:
            found.add(uid)
    if len(found) > _MOST_REFERENCES:
        raise Refused(Reason.NO_REVIEW, f"it marks {len(found)} objects, at most {_MOST_REFERENCES}")
    return found


def _references(key_object: Information) -> Iterator[Information]:
    for item in items_of(key_object, "ContentSequence"):
        yield from items_of(item, "ReferencedSOPSequence")
    for study in items_of(key_object, "CurrentRequestedProcedureEvidenceSequence"):
        for series in items_of(study, "ReferencedSeriesSequence"):
            yield from items_of(series, "ReferencedSOPSequence")
