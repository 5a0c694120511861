"""The transfer syntaxes that the doors take (PS3.5 Annex A), in the order in which they are preferred.

Uncompressed ones come first: a sender that offers several for one presentation context should not compress for us, and
must never be led to a lossy one. JPEG 53 and 55 are retired and no maintained decoder reads them; they are received
all the same, so that the study ends with a coded reason instead of being unable to arrive.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TransferSyntax:
    """How a data set is encoded; compression of the pixels is no business of the doors."""

    uid: str
    explicit_vr: bool = True
    little_endian: bool = True
    #: The whole data set, header included, is a raw deflate stream (PS3.5 A.5).
    deflated: bool = False
    #: Pixel Data is a sequence of fragments of undefined length (PS3.5 A.4).
    encapsulated: bool = False


EXPLICIT_LITTLE = TransferSyntax(uid="1.2.840.10008.1.2.1")
IMPLICIT_LITTLE = TransferSyntax(uid="1.2.840.10008.1.2", explicit_vr=False)

_ENCAPSULATED = (
    "1.2.840.10008.1.2.5",  # RLE lossless
    "1.2.840.10008.1.2.4.70",  # JPEG lossless, first-order prediction
    "1.2.840.10008.1.2.4.57",  # JPEG lossless, process 14
    "1.2.840.10008.1.2.4.80",  # JPEG-LS lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.4.201",  # HTJ2K lossless
    "1.2.840.10008.1.2.4.202",  # HTJ2K lossless, RPCL
    "1.2.840.10008.1.2.4.81",  # JPEG-LS near-lossless
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.4.203",  # HTJ2K
    "1.2.840.10008.1.2.4.51",  # JPEG extended, 12 bit
    "1.2.840.10008.1.2.4.50",  # JPEG baseline
    "1.2.840.10008.1.2.4.53",  # JPEG spectral selection, retired
    "1.2.840.10008.1.2.4.55",  # JPEG full progression, retired
)

TRANSFER_SYNTAXES: Mapping[str, TransferSyntax] = {
    syntax.uid: syntax
    for syntax in (
        EXPLICIT_LITTLE,
        IMPLICIT_LITTLE,
        TransferSyntax(uid="1.2.840.10008.1.2.2", little_endian=False),
        TransferSyntax(uid="1.2.840.10008.1.2.1.99", deflated=True),
        *(TransferSyntax(uid=uid, encapsulated=True) for uid in _ENCAPSULATED),
    )
}
