"""Headers as JSON (PS3.18 10.4.1.1.2): long values and pixels by address, everything else inline."""

import json
from collections.abc import Iterator, Sequence

from pydicom import DataElement, Dataset

from ichd.store.catalogue import CataloguedInstance
from ichd.vision.parsed import syntax_of
from ichd.web.dicomweb.attributes import tag_of
from ichd.web.dicomweb.files import is_encapsulated, read_header
from ichd.web.dicomweb.model import Json, element, is_long, key_of, to_json
from ichd.web.dicomweb.nameless import without_patient

_PIXEL_DATA = tag_of("PixelData")


def metadata(instances: Sequence[CataloguedInstance], root: str, *, is_named: bool = True) -> Iterator[bytes]:
    """A JSON array, an image at a time: memory does not grow with the study. Unless `is_named`, without the patient.

    Raises:
        Permanent: FILE_DAMAGED, a file can't be parsed.
        Transient: the disk fails.
    """
    for number, instance in enumerate(instances):
        described = _one(instance, root) if is_named else without_patient(_one(instance, root))
        yield (b"," if number else b"[") + json.dumps(described, separators=(",", ":")).encode()
    yield b"]"


def address_of(instance: CataloguedInstance, root: str) -> str:
    """Where an image is to be had."""
    facts = instance.facts
    series = f"{root}/studies/{facts.study_instance_uid}/series/{facts.series_instance_uid}"
    return f"{series}/instances/{facts.sop_instance_uid}"


def _one(instance: CataloguedInstance, root: str) -> Json:
    header = read_header(instance)
    bulk = f"{address_of(instance, root)}/bulkdata"

    def address(each: DataElement) -> str | None:
        return f"{bulk}/{key_of(each.tag)}" if is_long(each) else None

    result = to_json(header, bulk=address)
    result |= element("AvailableTransferSyntaxUID", instance.facts.transfer_syntax_uid)
    if "Rows" in header:
        result[key_of(_PIXEL_DATA)] = {"vr": _vr_of_pixels(header), "BulkDataURI": f"{bulk}/{key_of(_PIXEL_DATA)}"}
    return dict(sorted(result.items()))


def _vr_of_pixels(header: Dataset) -> str:
    return "OB" if is_encapsulated(syntax_of(header)) or header.get("BitsAllocated") == 8 else "OW"
