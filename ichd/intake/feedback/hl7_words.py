"""From the text of an HL7 v2 message to what a reader says of a finding.

Only the fields that are asked for are looked at; no segment about the patient is. The site says by which code (OBX-3.1)
it sends the word, and by which values (OBX-5) a reader agrees or does not.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from ichd.domain.errors import Refused
from ichd.domain.reason import Reason
from ichd.domain.review import Agreement
from ichd.intake.values import is_uid

#: DICOM Study, whose value is a Study Instance UID (DCM; IHE RAD-128).
_DICOM_STUDY = "113014"
#: OBX-11: deleted, no result to be had, posted as wrong.
_WITHDRAWN = frozenset("DXW")
_DELIMITERS = re.compile(r"MSH(?P<field>[!-/:-@\[-`{-~])(?P<encoding>[!-/:-@\[-`{-~]{3,5})(?P=field)")
_LINE_ENDS = re.compile(r"\r\n|\r|\n")
_LONGEST_ACCESSION_NUMBER = 64
#: Of the text that is repeated in an acknowledgment or becomes somebody's name.
_LONGEST_ECHO = 180


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """How a site says it."""

    observation: str
    agreed: Collection[str]
    disagreed: Collection[str]

    def agreement(self, values: Collection[str]) -> Agreement | None:
        """What some values mean; None where they say neither, or both."""
        said = {value.strip().casefold() for value in values}
        agreed = bool(said.intersection(word.strip().casefold() for word in self.agreed))
        disagreed = bool(said.intersection(word.strip().casefold() for word in self.disagreed))
        if agreed == disagreed:
            return None
        return Agreement.AGREED if agreed else Agreement.DISAGREED


@dataclass(frozen=True, kw_only=True)
class Word:
    """A word on one study."""

    #: None where it can't be told.
    agreement: Agreement | None
    study_uid: str | None
    #: By which the study may be known: accession number, filler and placer order number, the likeliest first.
    numbers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Name and fields, encoded as they came."""

    fields: tuple[str, ...]

    @property
    def name(self) -> str:
        """E.g. OBX."""
        return self.fields[0]

    def field(self, number: int) -> str:
        """A field by its number; empty where the segment ends before it."""
        return self.fields[number] if number < len(self.fields) else ""


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message, its delimiters, and its segments."""

    #: Between fields; then component, repetition, escape, subcomponent.
    field_separator: str
    encoding_characters: str
    header: Segment
    segments: tuple[Segment, ...]
    _escapes: Mapping[str, str] = field(repr=False)

    @property
    def kind(self) -> tuple[str, str]:
        """Message code and trigger event, e.g. ORU, R01."""
        parts = [*self.components(self.header.field(9)), ""]
        return parts[0].strip(), parts[1].strip()

    @property
    def control_id(self) -> str:
        """MSH-10, encoded as it came."""
        return self.header.field(10)[:_LONGEST_ECHO]

    @property
    def sender(self) -> str:
        """The first component of the sending application."""
        return self.components(self.header.field(3))[0][:_LONGEST_ECHO]

    def components(self, encoded: str) -> list[str]:
        """The components of a field's first repetition; at least one."""
        return self._components(encoded.split(self.encoding_characters[1])[0])

    def repetitions(self, encoded: str) -> list[str]:
        """The first component of each repetition."""
        return [self._components(each)[0] for each in encoded.split(self.encoding_characters[1])]

    def _components(self, repetition: str) -> list[str]:
        return [self._plain(each) for each in repetition.split(self.encoding_characters[0])]

    def _plain(self, encoded: str) -> str:
        """Text without its escapes; of those that codes and numbers have no use for, nothing."""
        escape = re.escape(self.encoding_characters[2])
        sequence = f"{escape}([^{escape}]{{0,32}}){escape}"
        return re.sub(sequence, lambda found: self._escapes.get(found.group(1), ""), encoded)


def read_message(content: bytes) -> Message:
    """A message by its delimiters.

    Raises:
        Refused: NO_REVIEW, it is none.
    """
    text = _decoded(content)
    lines = [line for line in _LINE_ENDS.split(text) if line.strip()]
    delimiters = _DELIMITERS.match(lines[0]) if lines else None
    if delimiters is None:
        raise Refused(Reason.NO_REVIEW, "the bytes are no HL7 v2 message")
    separator, encoding = delimiters["field"], delimiters["encoding"]
    if len({separator, *encoding}) != 1 + len(encoding):
        raise Refused(Reason.NO_REVIEW, "the delimiters of the message are not different ones")
    header, *rest = [Segment(fields=tuple(line.split(separator))) for line in lines]
    # Messages of before version 2.2 may name no delimiter of subcomponents.
    component, repetition, escape, subcomponent = encoding[0], encoding[1], encoding[2], encoding[3:4] or "&"
    return Message(
        field_separator=separator,
        encoding_characters=encoding,
        # MSH-1 is the separator itself.
        header=Segment(fields=(header.fields[0], separator, *header.fields[1:])),
        segments=tuple(rest),
        _escapes={"F": separator, "S": component, "R": repetition, "E": escape, "T": subcomponent},
    )


def words_of(message: Message, vocabulary: Vocabulary) -> list[Word]:
    """What readers say in a result; nothing where the site's observation is not in it.

    Each order (OBR) with its observations speaks of one study.
    """
    named = [uid for segment in message.segments if (uid := _study_uid(message, segment)) is not None]
    words = []
    for order in _orders(message.segments):
        said = [s for s in order if s.name == "OBX" and _code(message, s) == vocabulary.observation]
        if not said:
            continue
        standing = [s for s in said if s.field(11).strip() not in _WITHDRAWN]
        values = [value for s in standing for value in message.repetitions(s.field(5))]
        own = [uid for segment in order if (uid := _study_uid(message, segment)) is not None]
        words.append(
            Word(
                agreement=vocabulary.agreement(values),
                study_uid=next(iter(own or named), None),
                numbers=_numbers(message, order[0]) if order[0].name == "OBR" else (),
            )
        )
    return words


def _orders(segments: tuple[Segment, ...]) -> Iterator[list[Segment]]:
    """Segments from one OBR to the next; the first may have none."""
    order: list[Segment] = []
    for segment in segments:
        if segment.name == "OBR" and order:
            yield order
            order = []
        order.append(segment)
    if order:
        yield order


def _code(message: Message, observation: Segment) -> str:
    return message.components(observation.field(3))[0].strip()


def _study_uid(message: Message, segment: Segment) -> str | None:
    """The Study Instance UID that a segment names, as an observation or in IHE's own segment."""
    if segment.name == "ZDS":
        named = message.components(segment.field(1))
    elif segment.name == "OBX" and _code(message, segment) == _DICOM_STUDY:
        # As a text, or in the second component where the value is a designator (HD).
        named = message.components(segment.field(5))
    else:
        return None
    return next((each.strip() for each in named if is_uid(each.strip()) and "." in each), None)


def _numbers(message: Message, order: Segment) -> tuple[str, ...]:
    found = (message.components(order.field(number))[0].strip() for number in (18, 3, 2))
    return tuple(dict.fromkeys(each for each in found if 0 < len(each) <= _LONGEST_ACCESSION_NUMBER))


def _decoded(content: bytes) -> str:
    """UTF-8, else every byte a character: what is compared is ASCII at most sites, and the same in most encodings."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")
