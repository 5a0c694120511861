"""Images by WADO-RS (PS3.18 10.4): parts of a multipart answer, each streamed through the counter."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from email.message import Message
from itertools import chain

import httpx

from ichd.domain.errors import Permanent, Refused, Transient
from ichd.domain.reason import Reason
from ichd.intake.ask.errand import Tally, Wanted
from ichd.intake.ask.sources import WebSource
from ichd.intake.ask.visiting import Delivery, delivery
from ichd.intake.ask.web import answer_to, web_client
from ichd.intake.claim import Claim, Sender
from ichd.intake.counter import Counter
from ichd.intake.part10 import FileHead
from ichd.intake.stow.multipart import NotMultipart, Part, read_parts

#: As it is stored there: nothing is transcoded, and so nothing is lost.
ACCEPT_ANY = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_CHUNK_BYTES = 1 << 16


class WebRetriever:
    """WADO-RS; one visit for each study."""

    otherwise = Reason.NOT_HANDED_OVER

    def __init__(self, source: WebSource, counter: Counter, *, place: str, clock: Callable[[], datetime]) -> None:
        self._source = source
        self._counter = counter
        self._place = place
        self._clock = clock

    def retrieve(self, study_uid: str, wanted: Sequence[Wanted], tally: Tally) -> None:
        """Get whole series in one answer each, single images one by one.

        Raises:
            SettingsError, Transient, Permanent: as `Retriever.retrieve`.
        """
        address = httpx.URL(self._source.url).host
        sender = Sender(calling_ae_title=self._source.name, address=address)
        with (
            delivery(self._counter, sender, wanted, tally, place=self._place, clock=self._clock) as handed_over,
            web_client(self._source) as client,
        ):
            for each in wanted:
                for path, images in _resources(study_uid, each):
                    self._get(client, path, images, handed_over)

    def _get(self, client: httpx.Client, path: str, images: int, handed_over: Delivery) -> None:
        try:
            with answer_to(self._source, client, path, accept=ACCEPT_ANY) as answer:
                for part in read_parts(answer.iter_bytes(_CHUNK_BYTES), boundary_of(self._source, answer)):
                    _take(part, handed_over)
        except NotMultipart as error:
            raise Transient(Reason.SOURCE_LOST, f"{self._source} broke off in the middle of an answer") from error
        except Permanent as error:
            if error.reason is not Reason.SOURCE_REFUSED:
                raise
            # Gone since it was listed, or unreadable there: no hindrance for the others.
            handed_over.tally.failed(Reason.NOT_HANDED_OVER, images)


def boundary_of(source: WebSource, answer: httpx.Response) -> str:
    """The boundary of a multipart answer.

    Raises:
        Permanent: it is none.
    """
    content_type = Message()
    content_type["Content-Type"] = answer.headers.get("Content-Type", "")
    boundary = content_type.get_param("boundary")
    if content_type.get_content_type() != "multipart/related" or not isinstance(boundary, str):
        raise Permanent(Reason.SOURCE_CONFUSED, f"{source}: an answer to WADO-RS is not multipart/related")
    return boundary


def _resources(study_uid: str, wanted: Wanted) -> Iterator[tuple[str, int]]:
    """Paths that together hold all that is wanted of a series, each with its number of images."""
    series = f"studies/{study_uid}/series/{wanted.series_uid}"
    if wanted.whole:
        yield series, len(wanted.images)
        return
    for uid in wanted.images:
        yield f"{series}/instances/{uid}", 1


def _take(part: Part, handed_over: Delivery) -> None:
    fragments = iter(part)
    try:
        claim, begin = _claim(fragments)
        handed_over.take(claim, chain([begin], fragments))
    except (Refused, Transient) as error:
        handed_over.tally.failed(error.reason)


def _claim(fragments: Iterator[memoryview]) -> tuple[Claim, memoryview]:
    """What the file meta information says, and the first bytes of the data set.

    Raises:
        Refused: it is no DICOM file.
    """
    head = FileHead()
    for fragment in fragments:
        begin = head.feed(fragment)
        if begin is not None:
            break
    else:
        begin = head.finish()
    claim = Claim(
        sop_class_uid=head.sop_class_uid,
        sop_instance_uid=head.sop_instance_uid,
        transfer_syntax_uid=head.transfer_syntax_uid,
    )
    return claim, begin
