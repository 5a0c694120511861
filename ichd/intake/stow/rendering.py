"""The data set of an answer as JSON (PS3.18 annex F) or XML (PS3.19 A.1), without a general encoder.

An answer may list tens of thousands of images; as data sets of pydicom they would take hundreds of megabytes.
"""

import json
from collections.abc import Mapping
from typing import TypeAlias
from xml.etree import ElementTree

#: A data set by keyword; an empty text is an element without a value.
Record: TypeAlias = "Mapping[str, str | int | list[Record]]"

#: Tag and VR (PS3.6) of everything that an answer says.
_ATTRIBUTES: Mapping[str, tuple[str, str]] = {
    "ReferencedSOPClassUID": ("00081150", "UI"),
    "ReferencedSOPInstanceUID": ("00081155", "UI"),
    "RetrieveURL": ("00081190", "UR"),
    "WarningReason": ("00081196", "US"),
    "FailureReason": ("00081197", "US"),
    "FailedSOPSequence": ("00081198", "SQ"),
    "ReferencedSOPSequence": ("00081199", "SQ"),
    "OtherFailuresSequence": ("0008119A", "SQ"),
}


def as_json(record: Record) -> bytes:
    """A DICOM JSON object."""
    return json.dumps(_json(record), separators=(",", ":")).encode()


def as_xml(record: Record) -> bytes:
    """A Native DICOM Model."""
    model = ElementTree.Element("NativeDicomModel", xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM")
    _fill(model, record)
    return bytes(ElementTree.tostring(model, encoding="utf-8", xml_declaration=True))


def _in_order(record: Record) -> list[str]:
    return sorted(record, key=lambda keyword: _ATTRIBUTES[keyword][0])


def _json(record: Record) -> dict[str, object]:
    encoded: dict[str, object] = {}
    for keyword in _in_order(record):
        (tag, vr), value = _ATTRIBUTES[keyword], record[keyword]
        if isinstance(value, list):
            encoded[tag] = {"vr": vr, "Value": [_json(item) for item in value]}
        else:
            encoded[tag] = {"vr": vr, "Value": [value]} if value != "" else {"vr": vr}
    return encoded


def _fill(parent: ElementTree.Element, record: Record) -> None:
    for keyword in _in_order(record):
        (tag, vr), value = _ATTRIBUTES[keyword], record[keyword]
        attribute = ElementTree.SubElement(parent, "DicomAttribute", {"tag": tag, "vr": vr, "keyword": keyword})
        if isinstance(value, list):
            for number, item in enumerate(value, 1):
                _fill(ElementTree.SubElement(attribute, "Item", number=str(number)), item)
        elif value != "":
            ElementTree.SubElement(attribute, "Value", number="1").text = str(value)
