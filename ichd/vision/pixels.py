"""From one image's pixel data to HU."""

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID

from ichd.domain.errors import NotAnalysable
from ichd.domain.reason import Reason
from ichd.vision import jpeg
from ichd.vision.slices import INT16_MAX, PARSE_ERRORS, SliceHeader, read_dataset, syntax_of
from ichd.vision.window import LEAST_HU

jpeg.register()


def read_hu(header: SliceHeader) -> NDArray[np.int16] | NDArray[np.float32]:
    """Pixels in HU [rows, columns], as stored (not turned): int16 where HU are whole numbers, else float32.

    Padding becomes air; below -1024 there is only air, so values are clamped there.

    Raises:
        NotAnalysable: UNSUPPORTED_TRANSFER_SYNTAX, FILE_DAMAGED (pixel data too short) or PIXELS_UNREADABLE.
    """
    allocated = _decode(header)
    stored = _cut(allocated, header)
    hu: NDArray[np.int32] | NDArray[np.float32]
    if header.whole_hu:
        # int32, because 16 bit unsigned times a slope leaves int16 before the clamp brings it back.
        hu = np.clip(stored * np.int32(header.slope) + np.int32(header.intercept), LEAST_HU, INT16_MAX)
    else:
        hu = np.maximum(stored * np.float32(header.slope) + np.float32(header.intercept), np.float32(LEAST_HU))
    if header.padding is not None:
        lowest, highest = header.padding
        # Before the unused bits are cut off: 63536 in twelve bits would be 2096, and that is bone.
        hu[(allocated >= lowest) & (allocated <= highest)] = LEAST_HU
    return hu.astype(np.int16) if header.whole_hu else hu.astype(np.float32)


def _decode(header: SliceHeader) -> NDArray[np.int32]:
    """Values of all allocated bits."""
    dataset = read_dataset(header.path, stop_before_pixels=False)
    syntax = syntax_of(dataset)
    _require_decoder(syntax, header)
    _require_pixel_bytes(dataset, syntax, header)
    if header.bits_allocated == 16 and not _is_encapsulated(syntax):
        return _native_words(dataset, syntax, header)
    try:
        stored = pixel_array(dataset, raw=True)
    except PARSE_ERRORS as error:
        raise NotAnalysable(Reason.PIXELS_UNREADABLE, f"{header.path.name}, {syntax.name}: {_first(error)}") from error
    if stored.shape != (header.rows, header.columns):
        raise NotAnalysable(Reason.PIXELS_UNREADABLE, f"{header.path.name} decodes to the shape {stored.shape}")
    return stored.astype(np.int32)


def _native_words(dataset: Dataset, syntax: UID, header: SliceHeader) -> NDArray[np.int32]:
    """Uncompressed 16-bit pixels with all their bits; pydicom's decoder cuts off the unused ones, padding with them."""
    order, kind = "<" if syntax.is_little_endian else ">", "i2" if header.signed else "u2"
    words = np.frombuffer(dataset.PixelData, dtype=order + kind, count=header.rows * header.columns)
    return words.reshape(header.rows, header.columns).astype(np.int32)


def _is_encapsulated(syntax: UID) -> bool:
    return bool(syntax.is_compressed and not syntax.is_deflated)


def _cut(allocated: NDArray[np.int32], header: SliceHeader) -> NDArray[np.int32]:
    """Stored values: the bits above BitsStored hold overlays or noise from some scanners."""
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


def _require_decoder(syntax: UID, header: SliceHeader) -> None:
    if not has_decoder(syntax):
        raise NotAnalysable(
            Reason.UNSUPPORTED_TRANSFER_SYNTAX, f"{header.path.name}, {syntax.name or 'no transfer syntax'}"
        )


def _require_pixel_bytes(dataset: Dataset, syntax: UID, header: SliceHeader) -> None:
    """Uncompressed pixel data must be whole: a short slice would otherwise be half air."""
    element = dataset.get("PixelData")
    if not isinstance(element, bytes) or not element:
        raise NotAnalysable(Reason.FILE_DAMAGED, f"{header.path.name} has no Pixel Data")
    if _is_encapsulated(syntax):
        return
    expected = header.rows * header.columns * int(dataset.BitsAllocated) // 8
    if len(element) < expected:
        raise NotAnalysable(
            Reason.FILE_DAMAGED, f"{header.path.name} holds {len(element)} of {expected} bytes of Pixel Data"
        )


def _first(error: BaseException) -> str:
    """The first line of a decoder's message; the rest lists plugins."""
    return (str(error) or type(error).__name__).splitlines()[0]
