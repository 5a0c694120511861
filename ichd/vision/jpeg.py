"""JPEG Extended with twelve bits (PS3.5 A.4.1), by GDCM, as a decoder of pydicom's.

pydicom holds that GDCM can't decode it and refuses; the GDCM of today does, to the very values of dcmtk's decoder,
which a test holds it to. The other decoder that pydicom knows is under the GPL.
"""

import gdcm
from pydicom.pixels.decoders.base import DecodeRunner, get_decoder
from pydicom.uid import UID, JPEGExtended12Bit

#: Asked for by pydicom, where a plug-in is missing.
DECODER_DEPENDENCIES = {JPEGExtended12Bit: ("python-gdcm",)}
_NAME = "ichd"


def register() -> None:
    """Let pydicom know of it; to do so twice is no harm."""
    decoder = get_decoder(JPEGExtended12Bit)
    if _NAME not in decoder.available_plugins:
        decoder.add_plugin(_NAME, (__name__, "decode_frame"))


def is_available(uid: UID | str) -> bool:
    """Whether this decodes a transfer syntax."""
    return uid == JPEGExtended12Bit


def decode_frame(src: bytes, runner: DecodeRunner) -> bytes:
    """One grey frame of 16 bits allocated, little endian.

    Raises:
        ValueError: GDCM can't decode it.
    """
    # It tries its decoder of eight bits first, and would say so on standard error.
    gdcm.Trace.WarningOff()
    gdcm.Trace.ErrorOff()
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(src)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((runner.columns, runner.rows, 1))
    image.SetDataElement(element)
    grey = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(grey))
    syntax = gdcm.TransferSyntax.GetTSType(str(JPEGExtended12Bit))
    image.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, runner.bits_stored, runner.bits_stored - 1, 0))
    # GDCM hands bytes over as text.
    frame: bytes = image.GetBuffer().encode("utf-8", "surrogateescape")
    if len(frame) != 2 * runner.rows * runner.columns:
        raise ValueError("GDCM decodes another form than one grey frame of 16 bits")
    return frame
