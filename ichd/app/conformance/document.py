"""What a statement is made of, before it is text: chapters, paragraphs, lists and tables."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; every row has as many cells as there are columns."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


#: A paragraph, a table, or a list of items.
Block = str | Table | tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """A heading with what stands below it; its number follows from its place."""

    title: str
    blocks: Sequence[Block] = ()
    chapters: Sequence["Chapter"] = ()

    def numbered(self, number: str) -> Iterator[tuple[str, "Chapter"]]:
        """Itself and all chapters within, in their order, each with its number."""
        yield number, self
        for place, inner in enumerate(self.chapters, start=1):
            yield from inner.numbered(f"{number}.{place}")
