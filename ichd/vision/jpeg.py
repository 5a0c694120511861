"""JPEG Extended with twelve bits (PS3.5 A.4.1), by GDCM itself.

pydicom holds that GDCM can't decode it and refuses; the GDCM of today does, to the very values of dcmtk's decoder,
which a test holds it to. The other decoder that pydicom knows is under the GPL.
"""

from pathlib import Path

import gdcm
import numpy as np
from numpy.typing import NDArray


def decode_twelve_bit_jpeg(path: Path) -> NDArray[np.uint16]:
    """Stored values [rows, columns] of a one-frame image with unsigned pixels.

    Raises:
        ValueError: GDCM can't read the file, or what it decodes is no single grey frame of 16 bits.
    """
    # It tries its decoder of eight bits first, and would say so on standard error.
    gdcm.Trace.WarningOff()
    gdcm.Trace.ErrorOff()
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    if not reader.Read():
        raise ValueError("GDCM can't read the image")
    image = reader.GetImage()
    columns, rows = image.GetDimensions()[:2]
    # GDCM hands bytes over as text.
    content = image.GetBuffer().encode("utf-8", "surrogateescape")
    if image.GetPixelFormat().GetBitsAllocated() != 16 or len(content) != 2 * rows * columns:
        raise ValueError("GDCM decodes another form than one grey frame")
    return np.frombuffer(content, dtype="<u2").reshape(rows, columns)
