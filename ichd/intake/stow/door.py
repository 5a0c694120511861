"""The STOW-RS door (PS3.18 10.5): one request is one visit at the counter.

The event loop only carries bytes: each request is parsed, checked and stored in a thread of its own, which the loop
feeds through a bounded pipe. So memory depends on the number of requests, never on their size, and a slow disk slows
the sender down instead of filling a buffer.
"""

import asyncio
from collections import Counter as Tally
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ichd.domain.arrival import Door
from ichd.intake.claim import Sender
from ichd.intake.counter import Counter
from ichd.intake.feedback.key_objects import KeyObjects
from ichd.intake.stow.body import CutShort, Pace, carry, drain
from ichd.intake.stow.media import Form, boundary_of, form_of
from ichd.intake.stow.multipart import NotMultipart, read_parts
from ichd.intake.stow.pipe import BrokenOff, Pipe
from ichd.intake.stow.response import status_of, store_response
from ichd.intake.stow.storing import Failed, Stored, TakeWord, store_parts
from ichd.intake.values import is_uid
from ichd.intake.visit import Visit

_log = structlog.get_logger(__name__)

_RETRY_AFTER = {"Retry-After": "30"}


@dataclass(frozen=True, kw_only=True)
class StowConfig:
    """How the door behaves."""

    #: Names the process in the database, as `ListenerConfig` does for the other door; one process has it at a time.
    place: str
    #: Largest request, bytes.
    max_request_bytes: int
    #: Requests at the same time; one more is told to come back.
    max_requests: int = 8
    #: Of these, for one account, or for one address where nobody logs in.
    max_requests_per_sender: int = 4
    #: So long a sender may take to bring the next 64 KiB, seconds.
    patience_s: float = 60.0
    #: So long it may make us wait in all, seconds, and one second more for every `min_bytes_per_s`.
    grace_s: float = 600.0
    #: A megabit a second: what is slower fits into several smaller requests.
    min_bytes_per_s: int = 128 << 10


@dataclass(frozen=True, kw_only=True)
class _Visited:
    """What the thread of a request found."""

    outcomes: tuple[Stored | Failed, ...]
    #: Why it was not read to its end; None where it was.
    trouble: str | None


class StowDoor:
    """Serves on one event loop; `account_of` says who a request comes from, by its log-in, or is empty."""

    def __init__(
        self,
        config: StowConfig,
        counter: Counter,
        *,
        clock: Callable[[], datetime],
        account_of: Callable[[Request], str],
        key_objects: KeyObjects | None = None,
    ) -> None:
        self._config = config
        self._counter = counter
        self._clock = clock
        self._account_of = account_of
        #: None where readers' words are not taken.
        self._key_objects = key_objects
        self._threads = ThreadPoolExecutor(config.max_requests, thread_name_prefix="ichd-stow")
        self._pace = Pace(patience_s=config.patience_s, grace_s=config.grace_s, min_bytes_per_s=config.min_bytes_per_s)
        #: Requests that are served now, by who sends them.
        self._open: Tally[str] = Tally()

    async def take(self, request: Request, study_uid: str | None) -> Response:
        """Store what a request brings, and answer with what became of each image.

        Raises:
            HTTPException: 400, 406, 413, 415 or 503, before anything of the request was looked at.
        """
        try:
            boundary = boundary_of(request.headers.get("content-type", ""))
            # The query parameter takes precedence (PS3.18 8.7.8).
            form = form_of(request.query_params.get("accept") or request.headers.get("accept", ""))
            self._require_acceptable(request, study_uid)
            sender = Sender(calling_ae_title=self._account_of(request), address=_address(request))
            self._require_place(sender)
        except HTTPException:
            await drain(request)
            raise
        self._open[_who(sender)] += 1
        try:
            return await self._visit(request, sender, boundary, study_uid, form)
        finally:
            self._open -= Tally((_who(sender),))

    def _require_acceptable(self, request: Request, study_uid: str | None) -> None:
        if study_uid is not None and not is_uid(study_uid):
            raise HTTPException(HTTPStatus.BAD_REQUEST, "The study in the address is no DICOM UID.")
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._config.max_request_bytes:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, self._too_large())

    def _require_place(self, sender: Sender) -> None:
        everybodys, their = self._open.total(), self._open[_who(sender)]
        if everybodys >= self._config.max_requests or their >= self._config.max_requests_per_sender:
            _log.warning("request_turned_away", open=everybodys, their=their, address=sender.address)
            sentence = "As many requests as are allowed are being stored; try again later."
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, sentence, _RETRY_AFTER)

    def _too_large(self) -> str:
        return f"A request may have {self._config.max_request_bytes} bytes; send the images in several ones."

    async def _visit(
        self, request: Request, sender: Sender, boundary: str, study_uid: str | None, form: Form
    ) -> Response:
        pipe = Pipe()
        visit = self._counter.welcome(sender, door=Door.STOW, place=self._config.place, now=self._clock())
        loop = asyncio.get_running_loop()
        storing = loop.run_in_executor(
            self._threads, self._store, pipe, boundary, visit, study_uid, self._taker(sender)
        )
        cut: CutShort | None = None
        try:
            await carry(request, pipe, max_bytes=self._config.max_request_bytes, pace=self._pace)
        except CutShort as error:
            cut = error
        finally:
            # Of no consequence unless the request, or this task, ended early: then the thread must not wait for more.
            pipe.break_off()
        visited = await storing
        status = status_of(visited.outcomes)
        if cut is not None:
            status = cut.status
        elif visited.trouble is not None:
            status = HTTPStatus.BAD_REQUEST
        if cut is not None or visited.trouble is not None:
            _log.warning("request_cut_short", status=int(status), why=visited.trouble, address=sender.address)
        studies_url = f"{str(request.base_url).rstrip('/')}/dicom-web/studies"
        content = await loop.run_in_executor(
            self._threads, lambda: form.render(store_response(visited.outcomes, studies_url))
        )
        headers = _RETRY_AFTER if status is HTTPStatus.SERVICE_UNAVAILABLE else None
        return Response(content, status, headers, form.media_type)

    def _taker(self, sender: Sender) -> TakeWord | None:
        if self._key_objects is None:
            return None
        take = self._key_objects.take
        return lambda dataset, claim: take(dataset, claim, sender, now=self._clock())

    def _store(
        self, pipe: Pipe, boundary: str, visit: Visit, study_uid: str | None, take_word: TakeWord | None
    ) -> _Visited:
        """The whole visit, in a thread."""
        outcomes: list[Stored | Failed] = []
        trouble: str | None = "It ended early."
        try:
            # Appends as they come: what was stored before the message breaks off is still told.
            parts = read_parts(pipe, boundary)
            outcomes.extend(store_parts(parts, visit, study_uid=study_uid, clock=self._clock, take_word=take_word))
            for _ in pipe:
                pass  # An epilogue means nothing (RFC 2046 5.1.1), but only its end is the end of the request.
            trouble = None
        except NotMultipart as error:
            trouble = str(error)
        except BrokenOff:
            pass
        finally:
            pipe.abandon()
            visit.end(released=trouble is None, now=self._clock())
        return _Visited(outcomes=tuple(outcomes), trouble=trouble)


def _address(request: Request) -> str:
    return request.client.host if request.client is not None else ""


def _who(sender: Sender) -> str:
    """Whose share of the places a request takes; an account may come from many addresses."""
    return sender.calling_ae_title or sender.address
