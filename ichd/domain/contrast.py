"""Contrast agent, and what it was given for: by the header's own words.

Contrast/Bolus Agent (0018,0010) is set for a whole protocol by many scanners, the series before the injection
included, and left out by others: the description has a say. No word of either is ever passed on.
"""

import re
from collections.abc import Sequence

from ichd.domain.image_kind import plain_words
from ichd.domain.study import InstanceFacts

_NO_AGENT = frozenset({"", "NONE", "NO", "N", "NO CONTRAST", "WITHOUT", "W/O", "0", "NATIVE", "NON CONTRAST"})
_NATIVE = re.compile(
    r"\b(WITHOUT|W/O|WO|OHNE|SANS|NATIVE?|PLAIN|UNENHANCED|NON ENHANCED|NON ?CON(TRAST)?|PRE ?CONTRAST|NCCT|NECT)\b"
)
_ENHANCED = re.compile(
    r"\bC\+|\+ ?C\b|\b(WITH|W/?|POST|MIT|AVEC) ?(IV )?(CONTRAST|CON|KM)\b|\b(ENHANCED|CECT|VENOUS)\b"
)
_ARTERIAL = re.compile(r"\b(CTA|ANGIO\w*|ARTERIAL|ARTERIEL\w*|CAROTI\w*|WILLIS|COW|CTV|VENOGRA\w*)\b")
_PERFUSION = re.compile(r"\b(PERF|PERFUSION\w*|CTP|RCBF|RCBV|CBF|CBV|MTT|TTP|TMAX)\b")
#: Siemens' vascular kernels: Hv44, Bv40.
_VASCULAR_KERNEL = re.compile(r"^[BH]V[0-9]{2}")


def is_native(images: Sequence[InstanceFacts]) -> bool:
    """Whether the description says that no contrast agent was given."""
    return any(_NATIVE.search(plain_words(i.series_description)) for i in images)


def has_contrast(images: Sequence[InstanceFacts]) -> bool:
    """Whether most images name an agent, or the description does, and it does not say the contrary."""
    if is_native(images):
        return False
    named = sum(plain_words(i.contrast_agent) not in _NO_AGENT for i in images)
    return 2 * named > len(images) or any(_ENHANCED.search(plain_words(i.series_description)) for i in images)


def shows_arteries(images: Sequence[InstanceFacts]) -> bool:
    """Whether description or kernel is that of an angiography."""
    return not is_native(images) and any(
        _ARTERIAL.search(plain_words(i.series_description)) or _VASCULAR_KERNEL.match(i.convolution_kernel.upper())
        for i in images
    )


def shows_perfusion(images: Sequence[InstanceFacts]) -> bool:
    """Whether the description is that of a perfusion series."""
    return not is_native(images) and any(_PERFUSION.search(plain_words(i.series_description)) for i in images)
