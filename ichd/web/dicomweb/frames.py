"""Frames of stored images (PS3.18 10.4): the stored stream, or decoded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.encaps import get_frame
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID

from ichd.domain.errors import Permanent
from ichd.domain.reason import Reason
from ichd.vision.parsed import PARSE_ERRORS, syntax_of
from ichd.web.dicomweb.accept import ANY_SYNTAX, DEFAULT_SYNTAX, MediaRange, not_acceptable
from ichd.web.dicomweb.files import can_be_decoded, frames_of, is_encapsulated

OCTETS = "application/octet-stream"

#: Media types of compressed frames (PS3.18 table 8.7.3-5).
MEDIA_TYPES: Mapping[str, str] = {
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.51": "image/jpeg",
    "1.2.840.10008.1.2.4.57": "image/jpeg",
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
    "1.2.840.10008.1.2.5": "image/dicom-rle",
}


@dataclass(frozen=True, kw_only=True)
class FrameForm:
    """How frames are sent."""

    media_type: str
    transfer_syntax: str
    #: As the stored stream, else decoded.
    encoded: bool
    multipart: bool


def choose_form(ranges: Sequence[MediaRange], stored: UID) -> FrameForm:
    """The form that the client takes most gladly; decoded where it does not say.

    Raises:
        HTTPException: 406, it takes none that there is.
    """
    compressed = MEDIA_TYPES.get(stored) if is_encapsulated(stored) else None
    for each in ranges:
        wants_stored = each.transfer_syntax in {ANY_SYNTAX, stored}
        if each.covers(OCTETS):
            encoded = is_encapsulated(stored) and wants_stored
            if encoded or each.transfer_syntax in {"", ANY_SYNTAX, DEFAULT_SYNTAX}:
                syntax = str(stored) if encoded else DEFAULT_SYNTAX
                return FrameForm(media_type=OCTETS, transfer_syntax=syntax, encoded=encoded, multipart=each.multipart)
        if compressed and each.covers(compressed) and (wants_stored or not each.transfer_syntax):
            return FrameForm(media_type=compressed, transfer_syntax=str(stored), encoded=True, multipart=each.multipart)
    offered = [OCTETS, compressed] if compressed else [OCTETS]
    raise not_acceptable(f"frames of this image are to be had as multipart/related of {' or '.join(offered)}")


def frame_bytes(dataset: FileDataset, index: int, form: FrameForm) -> bytes:
    """One frame; `index` counts from zero.

    Raises:
        Permanent: PIXELS_UNREADABLE, or UNSUPPORTED_TRANSFER_SYNTAX where it had to be decoded.
    """
    syntax = syntax_of(dataset)
    try:
        if form.encoded:
            return get_frame(dataset.PixelData, index, number_of_frames=frames_of(dataset))
        if is_encapsulated(syntax):
            return _little_endian(decoded(dataset, index))
        return _native(dataset, index, syntax)
    except PARSE_ERRORS as error:
        raise Permanent(Reason.PIXELS_UNREADABLE, syntax.name) from error


def decoded(dataset: FileDataset, index: int) -> NDArray[Any]:
    """Stored values of one frame [rows, columns] or [rows, columns, samples].

    Raises:
        Permanent: UNSUPPORTED_TRANSFER_SYNTAX or PIXELS_UNREADABLE.
    """
    syntax = syntax_of(dataset)
    try:
        if not can_be_decoded(dataset):
            raise Permanent(Reason.UNSUPPORTED_TRANSFER_SYNTAX, syntax.name)
        return pixel_array(dataset, index=index)
    except PARSE_ERRORS as error:
        raise Permanent(Reason.PIXELS_UNREADABLE, syntax.name) from error


def _native(dataset: FileDataset, index: int, syntax: UID) -> bytes:
    """The bytes as they are stored, unused bits with them, in little endian."""
    bits = int(dataset.BitsAllocated)
    samples = int(dataset.get("SamplesPerPixel") or 1)
    size = int(dataset.Rows) * int(dataset.Columns) * samples * bits // 8
    frame = bytes(dataset.PixelData[index * size : (index + 1) * size])
    if len(frame) < size:
        raise ValueError("the frame is cut short")
    if syntax.is_little_endian or bits != 16:
        return frame
    return np.frombuffer(frame, dtype=">u2").astype("<u2").tobytes()


def _little_endian(values: NDArray[Any]) -> bytes:
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
