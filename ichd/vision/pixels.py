"""From the pixel data of one slice to HU."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from ichd.domain.errors import NotAnalysable
from ichd.domain.reason import Reason
from ichd.vision import jpeg
from ichd.vision.parsed import PARSE_ERRORS, PixelElement, inflated_pixels, is_encapsulated, opened
from ichd.vision.repair import repaired
from ichd.vision.slices import INT16_MAX, SliceHeader
from ichd.vision.window import LEAST_HU

jpeg.register()


@dataclass(frozen=True, kw_only=True)
class SlicePixels:
    """One slice in HU, as stored (not turned)."""

    #: [rows, columns], at least -1024: int16 where the header's HU are whole numbers, else float32.
    hu_HW: NDArray[np.int16] | NDArray[np.float32]
    #: The Rescale Intercept did not fit the values, see `ichd.vision.repair`.
    repaired: bool


def read_pixels(header: SliceHeader) -> SlicePixels:
    """Decode one slice.

    Padding becomes air; below -1024 there is only air, so values are clamped there.

    Raises:
        NotAnalysable: UNSUPPORTED_TRANSFER_SYNTAX, FILE_DAMAGED (short, or no longer what it was) or PIXELS_UNREADABLE.
        Transient: STORE_UNAVAILABLE, the disk fails.
    """
    allocated = _decode(header)
    stored, intercept = _cut(allocated, header), header.intercept
    repair = repaired(stored, header)
    if repair is not None:
        stored, intercept = repair
    hu: NDArray[np.int32] | NDArray[np.float32]
    if header.whole_hu:
        # int32, because 16 bit unsigned times a slope leaves int16 before the clamp brings it back.
        hu = (
            stored + np.int32(intercept) if header.slope == 1 else stored * np.int32(header.slope) + np.int32(intercept)
        )
        np.clip(hu, LEAST_HU, INT16_MAX, out=hu)
    else:
        hu = np.maximum(stored * np.float32(header.slope) + np.float32(intercept), np.float32(LEAST_HU))
    if header.padding is not None:
        lowest, highest = header.padding
        # Before the unused bits are cut off: 63536 in twelve bits would be 2096, and that is bone.
        hu[(allocated >= lowest) & (allocated <= highest)] = LEAST_HU
    return SlicePixels(
        hu_HW=hu.astype(np.int16) if header.whole_hu else hu.astype(np.float32), repaired=repair is not None
    )


def _decode(header: SliceHeader) -> NDArray[np.int32]:
    """Values of all allocated bits."""
    if not has_decoder(header.syntax):
        raise NotAnalysable(
            Reason.UNSUPPORTED_TRANSFER_SYNTAX, f"{header.path.name}, {header.syntax.name or 'no transfer syntax'}"
        )
    if header.pixels is None or header.pixels.length == 0:
        raise NotAnalysable(Reason.FILE_DAMAGED, f"{header.path.name} has no Pixel Data")
    if is_encapsulated(header.syntax):
        return _decompressed(header, header.pixels)
    frame = _native_frame(header, header.pixels)
    if header.bits_allocated == 16:
        return _words(frame, header)
    return _by_pydicom(frame, header, pixel_vr=header.pixels.vr, number_of_frames=1)


def _native_frame(header: SliceHeader, pixels: PixelElement) -> bytes:
    """The bytes of an uncompressed frame; it must be whole: a short slice would otherwise be half air."""
    size = header.rows * header.columns * header.bits_allocated // 8
    start, needed = (_frame(header) - 1) * size, max(_frame(header), pixels.number_of_frames) * size
    if pixels.offset is None:
        value = inflated_pixels(header.path, header.sha256) if pixels.inflated is None else pixels.inflated
        held, frame = len(value), value[start : start + size]
    else:
        with _opened(header, pixels) as file:
            file.seek(pixels.offset + start)
            held, frame = pixels.length or 0, file.read(size)
    if held < needed or len(frame) < size:
        raise NotAnalysable(Reason.FILE_DAMAGED, f"{header.path.name} holds {held} of {needed} bytes of Pixel Data")
    return frame


@contextmanager
def _opened(header: SliceHeader, pixels: PixelElement) -> Iterator[BinaryIO]:
    """The file of a slice; where its bytes are vouched for, those that were checked."""
    if pixels.content is not None:
        yield BytesIO(pixels.content)
        return
    with opened(header.path, header.sha256) as file:
        yield file


def _words(frame: bytes, header: SliceHeader) -> NDArray[np.int32]:
    """Uncompressed 16-bit pixels with all their bits; pydicom's decoder cuts off the unused ones, padding with them."""
    order, kind = "<" if header.syntax.is_little_endian else ">", "i2" if header.signed else "u2"
    return np.frombuffer(frame, dtype=order + kind).reshape(header.rows, header.columns).astype(np.int32)


def _decompressed(header: SliceHeader, pixels: PixelElement) -> NDArray[np.int32]:
    options = {} if pixels.extended_offsets is None else {"extended_offsets": pixels.extended_offsets}
    with _opened(header, pixels) as file:
        file.seek(pixels.offset or 0)
        return _by_pydicom(file, header, number_of_frames=pixels.number_of_frames, **options)


def _by_pydicom(source: Any, header: SliceHeader, **options: Any) -> NDArray[np.int32]:
    """Decode from the bytes of one native frame, or from a file that stands at its fragments."""
    index = _frame(header) - 1 if is_encapsulated(header.syntax) else 0
    options |= {
        "rows": header.rows,
        "columns": header.columns,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME1" if header.monochrome1 else "MONOCHROME2",
        "pixel_representation": int(header.signed),
        "bits_allocated": header.bits_allocated,
        "bits_stored": header.bits_stored,
        "pixel_keyword": "PixelData",
    }
    try:
        stored, _ = get_decoder(header.syntax).as_array(source, index=index, raw=True, **options)
    except PARSE_ERRORS as error:
        raise NotAnalysable(
            Reason.PIXELS_UNREADABLE, f"{header.path.name}, {header.syntax.name}: {_first(error)}"
        ) from error
    if stored.shape != (header.rows, header.columns):
        raise NotAnalysable(Reason.PIXELS_UNREADABLE, f"{header.path.name} decodes to the shape {stored.shape}")
    return np.asarray(stored, dtype=np.int32)


def _frame(header: SliceHeader) -> int:
    return header.frame_number or 1


def _cut(allocated: NDArray[np.int32], header: SliceHeader) -> NDArray[np.int32]:
    """Stored values: the bits above BitsStored hold overlays or noise from some scanners."""
    if header.bits_stored == header.bits_allocated:
        return allocated
    unused = 32 - header.bits_stored
    if header.signed:
        return (allocated << unused) >> unused
    return allocated & np.int32((1 << header.bits_stored) - 1)


def has_decoder(syntax: UID) -> bool:
    """Whether a maintained decoder is here; the retired JPEG processes have none."""
    try:
        return bool(get_decoder(syntax).is_available)
    except NotImplementedError:
        return False


def _first(error: BaseException) -> str:
    """The first line of a decoder's message; the rest lists plugins."""
    return (str(error) or type(error).__name__).splitlines()[0]
