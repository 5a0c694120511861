"""Finding one's way in a content tree: items by the codes of their names."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydicom import Dataset
from pydicom.sr.coding import Code

_T = TypeVar("_T")
#: Code value and coding scheme designator.
CodeKey = tuple[Any, Any]


def children(item: Dataset, name: Code) -> Iterator[Dataset]:
    """The items right under `item` that are named so."""
    for child in item.get("ContentSequence") or ():
        if is_coded(child.get("ConceptNameCodeSequence"), name):
            yield child


def child(item: Dataset, name: Code) -> Dataset:
    """The first of them.

    Raises:
        LookupError: there is none.
    """
    for found in children(item, name):
        return found
    raise LookupError(f"it has no {name.meaning}")


def is_coded(sequence: Any, code: Code) -> bool:
    """Whether a code sequence holds this code; meanings may be worded otherwise."""
    return code_in(sequence) == key_of(code)


def code_in(sequence: Any) -> CodeKey:
    """The code of a sequence's first item; a long value has an attribute of its own (PS3.3 8.1)."""
    if not sequence:
        return None, None
    return sequence[0].get("CodeValue") or sequence[0].get("LongCodeValue"), sequence[0].get("CodingSchemeDesignator")


def key_of(code: Code) -> CodeKey:
    """What makes two codes the same one."""
    return code.value, code.scheme_designator


def decode(item: Dataset, table: Mapping[_T, Code]) -> _T:
    """What the value of a coded item stands for.

    Raises:
        LookupError: the table does not have it.
    """
    for value, code in table.items():
        if is_coded(item.ConceptCodeSequence, code):
            return value
    raise LookupError(f"{code_in(item.ConceptCodeSequence)[0]!r} is no value that ichd writes")
