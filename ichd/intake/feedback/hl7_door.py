"""What is done with an HL7 message, and how it is acknowledged (HL7 v2.5.1 2.9.2: original mode).

AA  kept, or a result without the site's observation: a site may route all its results here
AE  it is about nothing of ours, or says neither yes nor no: to send it again is no use
AR  no message, another kind of message, or our database is away: the last of these may be sent again
"""

import re
import uuid
from dataclasses import dataclass
from datetime import datetime

import structlog

from ichd.domain.errors import Refused, Transient
from ichd.domain.reason import Reason
from ichd.domain.review import Review, ReviewSource
from ichd.intake.claim import Sender
from ichd.intake.feedback.hl7_words import Message, Vocabulary, Word, read_message, words_of
from ichd.intake.refusals import Refusals
from ichd.store.arrivals import Arrivals
from ichd.store.reviews import Reviews

_log = structlog.get_logger(__name__)

_APPLICATION = "ICHD"
_RESULT = ("ORU", "R01")
_VERSION = re.compile(r"2(\.[0-9]{1,2}){1,2}")
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, kw_only=True)
class _Verdict:
    """MSA-1, and what ERR says where it is no yes (table 0357)."""

    code: str
    error: str = ""
    reason: Reason | None = None


_YES = _Verdict(code="AA")
_ERRORS = {Reason.REVIEW_UNKNOWN: "204^Unknown key identifier", Reason.NO_REVIEW: "103^Table value not found"}


class Hl7Door:
    """Keeps readers' words; for any number of threads."""

    def __init__(self, vocabulary: Vocabulary, reviews: Reviews, arrivals: Arrivals) -> None:
        self._vocabulary = vocabulary
        self._reviews = reviews
        self._refusals = Refusals(arrivals)

    def answer(self, content: bytes, address: str, now: datetime) -> bytes:
        """The acknowledgment of a message, once what it says is committed."""
        try:
            message = read_message(content)
        except Refused as error:
            self._refuse(error, Sender(calling_ae_title="", address=address), now)
            return _acknowledgment(
                None, _Verdict(code="AR", error="100^Segment sequence error", reason=error.reason), now
            )
        sender = Sender(calling_ae_title=message.sender, address=address)
        return _acknowledgment(message, self._verdict(message, sender, now), now)

    def _verdict(self, message: Message, sender: Sender, now: datetime) -> _Verdict:
        if message.kind != _RESULT:
            self._refuse(Refused(Reason.NO_REVIEW, "the message is no ORU^R01"), sender, now)
            return _Verdict(code="AR", error="200^Unsupported message type", reason=Reason.NO_REVIEW)
        try:
            for number, word in enumerate(words_of(message, self._vocabulary), 1):
                self._keep(word, f"{sender.calling_ae_title}/{message.control_id}/{number}", sender, now)
        except Refused as error:
            self._refuse(error, sender, now)
            return _Verdict(code="AE", error=_ERRORS[error.reason], reason=error.reason)
        except Transient as error:
            _log.error("word_not_kept", reason=str(error.reason), detail=error.detail, address=sender.address)
            return _Verdict(code="AR", error="207^Application internal error", reason=error.reason)
        return _YES

    def _keep(self, word: Word, key: str, sender: Sender, now: datetime) -> None:
        """Keep one word; to say it again with the same control id is no news.

        Raises:
            Refused: REVIEW_UNKNOWN or NO_REVIEW.
            Transient: the database fails.
        """
        if word.agreement is None:
            raise Refused(Reason.NO_REVIEW, f"OBX-5 or OBX-11 of {self._vocabulary.observation}")
        study_uid = word.study_uid or self._by_number(word)
        review = Review(
            agreement=word.agreement,
            source=ReviewSource.HL7,
            received_at=now,
            reviewer=sender.calling_ae_title,
            key=key,
        )
        revision = self._reviews.record(study_uid, review)
        _log.info("review_kept", source="hl7", study=study_uid, revision=revision)

    def _by_number(self, word: Word) -> str:
        for number in word.numbers:
            study_uid = self._reviews.by_accession(number)
            if study_uid is not None:
                return study_uid
        named = "a number that no study, or more than one, has" if word.numbers else "no study"
        raise Refused(Reason.REVIEW_UNKNOWN, f"the message names {named}")

    def _refuse(self, error: Refused, sender: Sender, now: datetime) -> None:
        self._refusals.word(error, sender, sop_class_uid=None, sop_instance_uid=None, now=now)


def _acknowledgment(message: Message | None, verdict: _Verdict, now: datetime) -> bytes:
    """ACK, in the delimiters and the version of the message, so that what is repeated of it needs no translation."""
    separator = message.field_separator if message else "|"
    encoding = message.encoding_characters if message else "^~\\&"
    to_application, to_facility, control_id, processing, version = (
        (_printable(message.header.field(n)) for n in (3, 4, 10, 11, 12)) if message else ("", "", "", "P", "2.5.1")
    )
    own = str.maketrans({"^": encoding[0]})
    trigger = f"^{message.kind[1]}" if message and message.kind[1].isalnum() else ""
    header = [
        f"MSH{separator}{encoding}",
        _APPLICATION,
        "",
        to_application,
        to_facility,
        now.strftime("%Y%m%d%H%M%S%z"),
        "",
        f"ACK{trigger}".translate(own),
        uuid.uuid4().hex[:20],
        processing or "P",
        version if _VERSION.fullmatch(version) else "2.5.1",
    ]
    segments = [header, ["MSA", verdict.code, control_id]]
    if verdict.reason is not None:
        # ERR-3, ERR-4, ERR-8: the code for programs, and ours for people.
        error = f"{verdict.error}^HL70357".translate(own)
        segments.append(["ERR", "", "", error, "E", "", "", "", str(verdict.reason)])
    return "".join(f"{separator.join(fields)}\r" for fields in segments).encode("utf-8")


def _printable(echo: str) -> str:
    return _CONTROL_CHARACTERS.sub("", echo)[:180]
