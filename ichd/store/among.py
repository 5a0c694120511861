"""Rows of many ids at once, as one value."""

from collections.abc import Sequence

from sqlalchemy import BigInteger, ColumnElement, any_, literal
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import InstrumentedAttribute, Session


def among(session: Session, column: InstrumentedAttribute[int], ids: Sequence[int]) -> ColumnElement[bool]:
    """Whether `column` is one of `ids`.

    A list of a hundred parameters is a hundred to write, to name and to read, and another statement to plan for each
    length. PostgreSQL takes them as an array; SQLite knows none, and binds its parameters at no cost to speak of.
    """
    if session.get_bind().dialect.name == "postgresql":
        return column == any_(literal(list(ids), ARRAY(BigInteger)))
    return column.in_(ids)
