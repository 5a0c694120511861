"""Questions by QIDO-RS (PS3.18 10.6), and the HTTP underneath."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode

import httpx
from pydicom.datadict import tag_for_keyword

from ichd.domain.errors import Permanent, Transient
from ichd.domain.reason import Reason
from ichd.intake.ask.dimse_find import MOST_ROWS
from ichd.intake.ask.rows import Level, Row
from ichd.intake.ask.sources import WebSource
from ichd.tls import ClientTls, client_context

_Query = Mapping[str, str | int | Sequence[str]]

#: Orthanc's plug-in does not decode what a query has percent-encoded, so that it would find no number with a space. The
#: wildcard for one character needs no encoding, and who asks compares the answers with what was meant.
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_CONNECT_S = 5.0
_PAGE = 500
#: A page of 500 rows takes half a MiB.
_MOST_JSON_BYTES = 64 << 20
_BUSY = frozenset({408, 429, 503})
_NOT_LET_IN = frozenset({401, 403})


@contextmanager
def web_client(source: WebSource) -> Iterator[httpx.Client]:
    """Connections to the source, with what it takes to be let in.

    Raises:
        SettingsError: its certificates can't be used.
    """
    headers = {"Authorization": f"Bearer {source.token}"} if source.token else {}
    account = None if source.account is None else (source.account, source.password or "")
    with httpx.Client(
        headers=headers | {"Accept-Encoding": "identity"},
        auth=account,
        verify=client_context(source.tls or ClientTls()),
        timeout=httpx.Timeout(source.timeout_s, connect=min(_CONNECT_S, source.timeout_s)),
        # A proxy of the environment is for the internet; archives stand inside.
        trust_env=False,
    ) as client:
        yield client


@contextmanager
def answer_to(
    source: WebSource, client: httpx.Client, path: str, *, accept: str, query: _Query | None = None
) -> Iterator[httpx.Response]:
    """The answer to a GET, successful, its body still on the way.

    Raises:
        Transient: the source is away, busy, or breaks off, within the block too.
        Permanent: it does not let us in, or answers with an error.
    """
    question = f"?{urlencode(query, doseq=True, quote_via=quote, safe='?')}" if query else ""
    url = f"{source.url.rstrip('/')}/{path}{question}"
    try:
        with client.stream("GET", url, headers={"Accept": accept}) as response:
            if not response.is_success:
                raise _failed(source, response.status_code)
            yield response
    # What httpx says may quote the URL, and that the identifier of a patient.
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise Transient(Reason.SOURCE_UNREACHABLE, f"{source}: {type(error).__name__}") from error
    except httpx.ProtocolError as error:
        raise Transient(Reason.SOURCE_LOST, f"{source} broke off or speaks no HTTP") from error
    except httpx.TimeoutException as error:
        raise Transient(Reason.SOURCE_LOST, f"{source} kept silent for {source.timeout_s:g} s") from error
    except httpx.HTTPError as error:
        raise Transient(Reason.SOURCE_LOST, f"{source}: {type(error).__name__}") from error


class WebArchive:
    """An archive that answers QIDO-RS."""

    def __init__(self, source: WebSource, client: httpx.Client) -> None:
        self._source = source
        self._client = client

    def find(self, level: Level, matching: Mapping[str, str]) -> list[Row]:
        """All matches, a page at a time.

        Raises:
            Transient, Permanent: as `answer_to`; or the answer is no list of matches.
        """
        path, rest = _path(level, {keyword: _UNSAFE.sub("?", value) for keyword, value in matching.items()})
        # One field each: a list with commas is younger, and not every server reads it.
        query: _Query = {**rest, "includefield": list(level.keys), "limit": _PAGE}
        rows: dict[str, Row] = {}
        # The UID of the level tells matches apart. A page may be shorter than was asked for and not be the last, and a
        # server that knows no offset sends the first one for ever: only a page with nothing new is the end.
        uid = {Level.STUDY: "StudyInstanceUID", Level.SERIES: "SeriesInstanceUID", Level.IMAGE: "SOPInstanceUID"}[level]
        offset = 0
        while page := self._page(path, {**query, "offset": offset}):
            found = [{keyword: _text(match, keyword) for keyword in level.keys} for match in page]
            news = {row[uid]: row for row in found if row[uid] not in rows}
            if not news:
                break
            rows |= news
            offset += len(page)
            if len(rows) > MOST_ROWS:
                raise Permanent(Reason.SOURCE_CONFUSED, f"{self._source}: more than {MOST_ROWS} matches")
        return list(rows.values())

    def check(self) -> None:
        """Ask for one study.

        Raises:
            Transient, Permanent: as `find`.
        """
        self._page("studies", {"limit": 1})

    def _page(self, path: str, query: _Query) -> Sequence[Mapping[str, Any]]:
        body = bytearray()
        with answer_to(self._source, self._client, path, accept="application/dicom+json", query=query) as answer:
            if answer.status_code == httpx.codes.NO_CONTENT:
                return []
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > _MOST_JSON_BYTES:
                    raise Permanent(Reason.SOURCE_CONFUSED, f"{self._source}: an answer to QIDO-RS is endless")
        try:
            page = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Permanent(Reason.SOURCE_CONFUSED, f"{self._source}: an answer to QIDO-RS is no JSON") from error
        if not isinstance(page, list) or not all(isinstance(match, dict) for match in page):
            raise Permanent(Reason.SOURCE_CONFUSED, f"{self._source}: an answer to QIDO-RS is no list of matches")
        return page


def _path(level: Level, matching: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The resource below which to search, and what is left to match by."""
    rest = dict(matching)
    if level is Level.STUDY:
        return "studies", rest
    path = f"studies/{rest.pop('StudyInstanceUID')}/series"
    if level is Level.IMAGE:
        path += f"/{rest.pop('SeriesInstanceUID')}/instances"
    return path, rest


def _text(match: Mapping[str, Any], keyword: str) -> str:
    """A value of the DICOM JSON model (PS3.18 annex F) as text."""
    attribute = match.get(f"{tag_for_keyword(keyword):08X}")
    values = attribute.get("Value") if isinstance(attribute, dict) else None
    if not isinstance(values, list):
        return ""
    return "\\".join(str(value).strip("\0 ") if isinstance(value, str | int | float) else "" for value in values)


def _failed(source: WebSource, status: int) -> Transient | Permanent:
    words = f"{source} answered {status}"
    if status in _NOT_LET_IN:
        return Permanent(Reason.SOURCE_REJECTED, words)
    return Transient(Reason.SOURCE_BUSY, words) if status in _BUSY else Permanent(Reason.SOURCE_REFUSED, words)
