"""Contrast agent, and what it was given for: by the header's own words.

Contrast/Bolus Agent (0018,0010) is set for a whole protocol by many scanners, the series before the injection
included, and left out by others: the description has a say. No word of either is ever passed on.
"""

import re
from collections.abc import Sequence

from ichd.domain.image_kind import plain_words
from ichd.domain.study import InstanceFacts

#: What stands in the field of the agent where there was none.
_NO_AGENT = re.compile(
    r"|0|N|NA|N/A|NIL|NULL|NATIVE?|PLAIN|UNENHANCED|UNKNOWN|NON ?(CON|CONTRAST|ENHANCED|IV|GIVEN)\b.*"
    r"|(NO|NOT|NONE|WITHOUT|W/O|WO|OHNE|SANS|KEINE?S?)\b.*"
    # These words alone: what else stands beside them may have gone into a vein.
    r"|ORAL( CONTRAST| ONLY)?|PO|PER OS|SALINE( FLUSH)?|NACL|WATER"
)
_NATIVE = re.compile(
    r"\b(WITHOUT|W/O|WO|OHNE|SANS|NATIVE?|PLAIN|UNENHANCED|NON ENHANCED|NON ?CON(TRAST)?|PRE ?CONTRAST|NCCT|NECT)\b"
)
_ENHANCED = re.compile(
    r"\bC\+|\+ ?C\b|\b(WITH|W/?|POST|MIT|AVEC) ?(IV )?(CONTRAST|CON|KM)\b|\b(ENHANCED|CECT|VENOUS)\b"
)
#: With and without, in any order: the name of a protocol, which says nothing of one series.
_BOTH = re.compile(
    r"\b(WITH|W/?|MIT|AVEC)[ /+]*(AND |OR |UND |ET )?(WITHOUT|W/?O|OHNE|SANS)\b"
    r"|\b(WITHOUT|W/?O|OHNE|SANS)[ /+]*(AND |OR |UND |ET )?(WITH\b|MIT\b|AVEC\b|W\b/?(?!O))"
    r"|\bPRE[ /+]*(AND |UND )?POST\b"
)
#: Beside a native word: one of the two is the protocol's.
_POST = re.compile(r"\b(WITH|POST)\b|\bW/?(?= |$)")
_ARTERIAL = re.compile(r"\b(CTA|ANGIO\w*|ARTERIAL|ARTERIEL\w*|CAROTI\w*|WILLIS|COW|CTV|VENOGRA\w*)\b")
_PERFUSION = re.compile(r"\b(PERF|PERFUSION\w*|CTP|RCBF|RCBV|CBF|CBV|MTT|TTP|TMAX)\b")
#: Siemens' vascular kernels: Hv44, Bv40.
_VASCULAR_KERNEL = re.compile(r"^[BH]V[0-9]{2}")


def has_contrast(images: Sequence[InstanceFacts]) -> bool:
    """Whether most images name an agent, or the description does, and it does not say the contrary."""
    if _is_native(images):
        return False
    return _names_agent(images) or any(_ENHANCED.search(_said(i)) for i in images)


def shows_arteries(images: Sequence[InstanceFacts]) -> bool:
    """Whether description or kernel is that of an angiography; the native series of one names no agent."""
    return (_names_agent(images) or not _is_native(images)) and any(
        _ARTERIAL.search(_said(i)) or _VASCULAR_KERNEL.match(i.convolution_kernel.upper()) for i in images
    )


def shows_perfusion(images: Sequence[InstanceFacts]) -> bool:
    """Whether the description is that of a perfusion series, of which none is native."""
    return any(_PERFUSION.search(_said(i)) for i in images)


def is_called_native(images: Sequence[InstanceFacts]) -> bool:
    """Whether every description has a word for "without", whatever else it has, and no agent is named."""
    return not _names_agent(images) and all(_NATIVE.search(_said(i)) for i in images)


def _is_native(images: Sequence[InstanceFacts]) -> bool:
    """Whether the description says that no contrast agent was given, and nothing else in it speaks against that."""
    said = {_said(i) for i in images}
    if not any(_NATIVE.search(words) for words in said):
        return False
    if any(_POST.search(words) or _ENHANCED.search(words) or _PERFUSION.search(words) for words in said):
        return False
    return not (_names_agent(images) and any(_ARTERIAL.search(words) for words in said))


def _names_agent(images: Sequence[InstanceFacts]) -> bool:
    return 2 * sum(not _NO_AGENT.fullmatch(plain_words(i.contrast_agent)) for i in images) > len(images)


def _said(image: InstanceFacts) -> str:
    return " ".join(_BOTH.sub(" ", plain_words(image.series_description)).split())
