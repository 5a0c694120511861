"""What somebody wants to see, as it stands in an address: the same words on the page and in the API."""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlencode

from fastapi import HTTPException, Query
from pydantic import JsonValue

from ichd.domain.errors import UserError
from ichd.domain.finding import Triage
from ichd.domain.study import StudyState
from ichd.store.worklist import WorklistQuery
from ichd.store.worklist_order import Cursor, Order

#: An accession number has 16 characters (PS3.5 6.2), a UID 64.
_LONGEST_TEXT = 64

Text = Annotated[
    str,
    Query(max_length=_LONGEST_TEXT, description="What an accession number or a Study Instance UID begins with."),
]
States = Annotated[Sequence[StudyState], Query(description="Any of these.")]
Triages = Annotated[Sequence[Triage], Query(description="Any of these.")]
_MOMENT: dict[str, JsonValue] = {"anyOf": [{"format": "date"}, {"format": "date-time"}, {"maxLength": 0}]}
Since = Annotated[
    str,
    Query(
        description="First image arrived on this day, at this moment (ISO 8601) or later.", json_schema_extra=_MOMENT
    ),
]
Until = Annotated[
    str,
    Query(description="First image arrived on this day or earlier, or before this moment.", json_schema_extra=_MOMENT),
]
After = Annotated[str, Query(description="From the link to the next page.")]


def query_of(
    *,
    q: str,
    state: Sequence[StudyState],
    triage: Sequence[Triage],
    since: str,
    until: str,
    order: Order,
    after: str,
    limit: int,
) -> WorklistQuery:
    """The parts of an address as one value.

    Raises:
        HTTPException: 400, one of them can't be used; 404, there is no such page.
    """
    try:
        behind = Cursor.parse(after) if after else None
    except UserError as error:
        raise HTTPException(HTTPStatus.NOT_FOUND, _sentence(error)) from None
    try:
        return WorklistQuery(
            text="".join(c for c in q.strip() if c.isprintable()),
            states=frozenset(state),
            triages=frozenset(triage),
            since=_moment(since, "since"),
            until=_moment(until, "until", end=True),
            order=order,
            after=behind,
            limit=limit,
        )
    except UserError as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, _sentence(error)) from None


def address_of(query: WorklistQuery, *, default: Order, since: str = "", until: str = "", limit: int = 0) -> str:
    """The query string that says the same, empty or with its question mark; `since` and `until` as they were given.

    `limit` is left out where it is 0.
    """
    said = [
        ("q", query.text),
        *(("state", str(state)) for state in StudyState if state in query.states),
        *(("triage", str(triage)) for triage in Triage if triage in query.triages),
        ("since", since),
        ("until", until),
        ("order", "" if query.order is default else str(query.order)),
        ("limit", str(limit or "")),
        ("after", str(query.after or "")),
    ]
    words = urlencode([(name, value) for name, value in said if value])
    return f"?{words}" if words else ""


def _sentence(error: UserError) -> str:
    return f"{str(error)[0].upper()}{str(error)[1:]}."


def _moment(text: str, name: str, *, end: bool = False) -> datetime | None:
    """A day is one of this machine's time zone, which is the reader's."""
    if not text:
        return None
    try:
        try:
            day = date.fromisoformat(text)
        except ValueError:
            return datetime.fromisoformat(text).astimezone()
        return datetime.combine(day + timedelta(days=end), time.min).astimezone()
    except (ValueError, OverflowError):
        raise UserError(f"{name} is no day such as 2026-11-30, and no moment such as 2026-11-30T08:00+01:00") from None
