"""Data sets in DICOM's JSON model (PS3.18 annex F), leniently: an element that can't be read is left out."""

import base64
import math
from collections.abc import Callable
from typing import Any

from pydicom import DataElement, Dataset
from pydicom.sequence import Sequence

from ichd.vision.parsed import PARSE_ERRORS
from ichd.web.dicomweb.attributes import tag_of, vr_of

Json = dict[str, Any]

#: Annex F.2: what is said in JSON is said in UTF-8, whatever the file was written in.
_UTF_8 = {"vr": "CS", "Value": ["ISO_IR 192"]}
_CHARACTER_SET = "00080005"
#: VRs whose values are bytes.
BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
#: A longer binary value does not stand inline, bytes.
LONGEST_INLINE = 1024


def key_of(tag: int) -> str:
    """Eight hexadecimal digits."""
    return f"{tag:08X}"


def element(keyword: str, *values: object) -> Json:
    """One attribute of our own saying, to be merged into a data set; without values it is empty."""
    tag = tag_of(keyword)
    return {key_of(tag): {"vr": vr_of(tag)} | ({"Value": list(values)} if values else {})}


def is_long(each: DataElement) -> bool:
    """Whether a value is binary and too long to stand inline."""
    return each.VR in BINARY and len(each.value or b"") > LONGEST_INLINE


def without_long_values(dataset: Dataset) -> Dataset:
    """The data set itself, long binary values removed at every depth; what can't be read stays as it is."""
    for tag in list(dataset.keys()):
        try:
            each = dataset[tag]
            if is_long(each):
                del dataset[tag]
            elif isinstance(each.value, Sequence):
                for item in each.value:
                    without_long_values(item)
        except PARSE_ERRORS:
            continue
    return dataset


def to_json(dataset: Dataset, *, bulk: Callable[[DataElement], str | None] = lambda _: None) -> Json:
    """A data set; `bulk` gives the address under which a long value is to be had, None where it stands inline."""
    result: Json = {}
    for tag in sorted(dataset.keys()):
        try:
            each = dataset[tag]
            address = bulk(each)
            plain = {"vr": each.VR, "BulkDataURI": address} if address else _plain(each)
        except PARSE_ERRORS:
            continue
        result[key_of(tag)] = plain
    if result:
        result[_CHARACTER_SET] = _UTF_8
    return result


def _plain(each: DataElement) -> Json:
    if each.VR == "SQ":
        items = each.value if isinstance(each.value, Sequence) else []
        return {"vr": "SQ", "Value": [_item(item) for item in items]} if items else {"vr": "SQ"}
    if each.VR in BINARY:
        raw = each.value
        return {"vr": each.VR} | ({"InlineBinary": base64.b64encode(raw).decode()} if raw else {})
    plain: Json = each.to_json_dict(None, 0)
    if any(isinstance(value, float) and not math.isfinite(value) for value in plain.get("Value", ())):
        # JSON has no word for these numbers.
        return {"vr": each.VR}
    return plain


def _item(item: Dataset) -> Json:
    plain = to_json(item)
    plain.pop(_CHARACTER_SET, None)
    return plain
