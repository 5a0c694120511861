"""Text that begins with some other text, by an index, and the same in both databases."""

import string
from typing import Any

from sqlalchemy import ColumnElement, and_
from sqlalchemy.orm import InstrumentedAttribute

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def folded(text: str) -> str:
    """In lower case, letters of ASCII alone: SQLite knows no others, and a migration must find the same."""
    return text.translate(_LOWER)


def begins(column: InstrumentedAttribute[Any], text: str, dialect: str) -> ColumnElement[bool]:
    """Whether a column that has an index of characters (varchar_pattern_ops) begins with `text`.

    Not LIKE: in SQLite it ignores case, and so an index.
    """
    least, most = ("~>=~", "~<~") if dialect == "postgresql" else (">=", "<")
    from_here: ColumnElement[bool] = column.bool_op(least)(text)
    return and_(from_here, column.bool_op(most)(text[:-1] + _after(text[-1])))


def _after(character: str) -> str:
    """The next one in the order of characters, which leaves out surrogates; the last of all begins no text."""
    code = min(ord(character) + 1, 0x10FFFF)
    return chr(0xE000 if 0xD800 <= code < 0xE000 else code)
