"""What kind of picture an image is by its own words: a slice, or something that only looks like one.

Image Type (PS3.3 C.7.6.1.1.2 and C.8.2.1.1.1), Volume Based Calculation Technique (C.8.16.2.1.4) and, where scanners
say it nowhere else, Series Description. AXIAL in Image Type is not believed: reformats bear it too.
"""

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import pairwise

from ichd.domain.study import InstanceFacts


class ImageKind(StrEnum):
    """In order of how much it can be read."""

    SLICE = "slice"
    #: Resampled from slices into a plane, HU preserved: MPR, averages of thin slices.
    REFORMAT = "reformat"
    #: Not one plane's HU: maximum and minimum projections, renderings, curved reformats.
    PROJECTION = "projection"
    #: A number other than HU, or the time series that such a number is made of.
    PERFUSION = "perfusion"
    LOCALIZER = "localizer"
    #: A screen save, a dose page, an annotated picture.
    CAPTURE = "capture"


_LOCALIZERS = frozenset({"LOCALIZER", "SCOUT", "TOPOGRAM"})
_PROJECTIONS = frozenset(
    {
        "MIP", "MAX_IP", "MAXIP", "MINIP", "MIN_IP", "MNIP", "TMIP", "PROJECTION", "VRT", "VOLUME_RENDER",
        "SURFACE_RENDER", "SSD", "RENDERED", "CURVED_MPR", "CPR", "CURVED",
    }
)  # fmt: skip
_MAPS = frozenset(
    {"PERFUSION", "CBF", "CBV", "RCBF", "RCBV", "MTT", "RMTT", "TTP", "RTTP", "TMAX", "TTD", "PBV", "PERMEABILITY"}
)
#: An average over a slab is linear in HU and so is a thicker slice; that is what head protocols call a 5 mm reformat.
_REFORMATS = frozenset({"REFORMATTED", "REFORMAT", "MPR", "MPVR", "AVERAGE", "MEAN", "RESAMPLED", "OBLIQUE"})
_PROJECTION_WORDS = re.compile(r"\b(T?MIPS?|MINIPS?|MAX IP|MIN IP|VRT)\b")


def kind_of(image: InstanceFacts) -> ImageKind:
    """The first of its claims that says more than SLICE."""
    claims = _words((*image.image_type, image.volume_calculation))
    if claims & _LOCALIZERS:
        return ImageKind.LOCALIZER
    if claims & _PROJECTIONS or _PROJECTION_WORDS.search(plain_words(image.series_description)):
        return ImageKind.PROJECTION
    if claims & _MAPS:
        return ImageKind.PERFUSION
    reformat = bool(claims & _REFORMATS)
    if "SECONDARY" in image.image_type[1:2] and not reformat and "AXIAL" not in claims:
        return ImageKind.CAPTURE
    return ImageKind.REFORMAT if reformat else ImageKind.SLICE


def is_derived(image: InstanceFacts) -> bool:
    """Whether the image says that it was computed from other images."""
    return image.image_type[:1] == ("DERIVED",)


def plain_words(text: str) -> str:
    """A description in capitals with single spaces for punctuation, so that words have boundaries."""
    return " ".join(re.sub(r"[^A-Z0-9+/]", " ", text.upper()).split())


def _words(values: Iterable[str]) -> set[str]:
    """Values, and the words of those that hold several, as in `CT_SOM5 MPR`; `MIN IP` is `MIN_IP`."""
    return {word for value in values for word in ("_".join(value.split()), *value.split(), *_pairs(value.split()))}


def _pairs(words: Sequence[str]) -> Iterable[str]:
    return ("_".join(pair) for pair in pairwise(words))
