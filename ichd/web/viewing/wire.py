"""A slice on its way to a browser: whole HU, losslessly, small enough for a hospital's network.

    4 bytes     length n of the head, little endian
    n bytes     the head, JSON, padded with spaces to a multiple of four
    rows*columns bytes     low bytes of the values, row by row
    rows*columns bytes     high bytes

The two halves of 16 bits apart are a fifth smaller behind gzip than whole words, and no slower: high bytes hardly
change. Values are HU (int16), or grey levels 0 to 255 of a picture that has none.
"""

import json
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: More takes four times as long and saves a twentieth.
_LEVEL = 1
#: zlib's number for the container of gzip.
_GZIP = 31


@dataclass(frozen=True, kw_only=True)
class WireHead:
    """What a viewer must know beside the values."""

    rows: int
    columns: int
    #: "HU", or "grey" for a picture without them.
    unit: str
    #: mm between rows, mm between columns; None where nobody knows.
    spacing_mm: tuple[float, float] | None = None
    #: Letters of the patient's sides at the left, right, upper and lower edge; None where nobody knows.
    sides: tuple[str, str, str, str] | None = None
    #: What a person must know of this picture, empty in the usual case.
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """As the viewer reads it."""
        return {
            "rows": self.rows,
            "columns": self.columns,
            "unit": self.unit,
            "spacing_mm": self.spacing_mm,
            "sides": self.sides,
            "note": self.note,
        }


def packed(head: WireHead, values_HW: NDArray[np.int16] | NDArray[np.float32]) -> bytes:
    """The slice in the layout above, compressed by gzip; fractions of HU are rounded."""
    whole = np.ascontiguousarray(np.rint(values_HW) if values_HW.dtype == np.float32 else values_HW, dtype="<i2")
    text = json.dumps(head.to_json()).encode()
    text += b" " * (-len(text) % 4)
    halves = np.ascontiguousarray(whole.view(np.uint8).reshape(-1, 2).T)
    squeeze = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return b"".join(
        (
            squeeze.compress(len(text).to_bytes(4, "little") + text),
            squeeze.compress(halves.tobytes()),
            squeeze.flush(),
        )
    )


def unpacked(content: bytes) -> bytes:
    """The same without compression, for a client that takes none."""
    return zlib.decompress(content, _GZIP)
