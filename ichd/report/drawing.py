"""What a page is drawn with: its colours, letters and signs.

Reading rooms are dark, so the ground is. Colours are those of the web pages in the dark, and never speak alone: a sign
and a word stand with each.
"""

import unicodedata
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from ichd.domain.finding import Presence, Triage

Colour = tuple[int, int, int]
Font = ImageFont.ImageFont | ImageFont.FreeTypeFont

GROUND: Colour = (14, 19, 24)
SURFACE: Colour = (22, 29, 36)
TRACK: Colour = (48, 58, 69)
LINE: Colour = (56, 68, 80)
INK: Colour = (228, 234, 240)
QUIET: Colour = (154, 168, 182)
#: Of slices and bars that say nothing special; dark enough to stay behind, light enough to be counted.
PLAIN: Colour = (112, 128, 144)
CAUTION: Colour = (246, 216, 153)

_RED, _AMBER, _GREEN = (255, 138, 128), (242, 189, 99), (127, 209, 163)
TRIAGE_TONE: Mapping[Triage, Colour] = {
    Triage.URGENT: _RED,
    Triage.INDETERMINATE: _AMBER,
    Triage.ROUTINE: _GREEN,
}
#: The same, laid under text.
TRIAGE_GROUND: Mapping[Triage, Colour] = {
    Triage.URGENT: (61, 23, 21),
    Triage.INDETERMINATE: (54, 40, 18),
    Triage.ROUTINE: (20, 48, 31),
}
PRESENCE_TONE: Mapping[Presence, Colour] = {
    Presence.PRESENT: _RED,
    Presence.UNDETERMINED: _AMBER,
    Presence.ABSENT: _GREEN,
}


class Sign(StrEnum):
    """Shapes that tell levels apart without their colour."""

    TRIANGLE = "triangle"
    DIAMOND = "diamond"
    DISC = "disc"


TRIAGE_SIGN: Mapping[Triage, Sign] = {
    Triage.URGENT: Sign.TRIANGLE,
    Triage.INDETERMINATE: Sign.DIAMOND,
    Triage.ROUTINE: Sign.DISC,
}
PRESENCE_SIGN: Mapping[Presence, Sign] = {
    Presence.PRESENT: Sign.TRIANGLE,
    Presence.UNDETERMINED: Sign.DIAMOND,
    Presence.ABSENT: Sign.DISC,
}

#: Corners in a unit square.
_CORNERS: Mapping[Sign, Sequence[tuple[float, float]]] = {
    Sign.TRIANGLE: ((0.5, 0.06), (1.0, 0.94), (0.0, 0.94)),
    Sign.DIAMOND: ((0.5, 0.0), (1.0, 0.5), (0.5, 1.0), (0.0, 0.5)),
}
#: Shapes are drawn so many times larger and shrunk: Pillow draws hard edges.
_FINER = 4


@cache
def font(size: int) -> Font:
    """Pillow's own letters, which every installation has; they hold ASCII and little more."""
    return ImageFont.load_default(size)


def plain_letters(text: str) -> str:
    """Letters that the font has: accents fall off, line breaks become spaces, the rest is a question mark."""
    spelled = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
    bare = "".join(c for c in spelled if not unicodedata.combining(c))
    return " ".join(bare.encode("ascii", "replace").decode("ascii").split())


def width_of(text: str, size: int) -> float:
    """Pixels."""
    return font(size).getlength(text)


def fitted(text: str, size: int, width: float) -> str:
    """The text, its end cut off where it is too long, and that said by dots."""
    if width_of(text, size) <= width:
        return text
    fits = bisect_right(range(1, len(text)), width, key=lambda end: width_of(f"{text[:end]}...", size))
    return f"{text[:fits].rstrip()}..."


def wrapped(text: str, size: int, width: float) -> list[str]:
    """Lines no longer than `width`, broken between words; a word that is longer is cut."""
    lines: list[str] = []
    for word in plain_letters(text).split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width_of(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(fitted(word, size, width))
    return lines


def draw_sign(page: Image.Image, sign: Sign, centre: tuple[float, float], size: int, colour: Colour) -> None:
    """A sign with smooth edges."""
    side = size * _FINER
    mask = Image.new("L", (side, side))
    pen = ImageDraw.Draw(mask)
    if sign is Sign.DISC:
        pen.ellipse((side * 0.06, side * 0.06, side * 0.94, side * 0.94), fill=255)
    else:
        pen.polygon([(x * (side - 1), y * (side - 1)) for x, y in _CORNERS[sign]], fill=255)
    place = (round(centre[0] - size / 2), round(centre[1] - size / 2))
    page.paste(colour, place, mask.reduce(_FINER))


def draw_bars(
    page: Image.Image,
    place: tuple[int, int],
    size: tuple[int, int],
    bars: Sequence[tuple[float, float, float]],
    colour: Colour,
) -> None:
    """Upright bars in a field: each from left to right, in pixels of the field, and its height of 0 to 1.

    Of four hundred bars each is two pixels wide and a bit: their edges are blended, or they would beat against the
    pixels' raster.
    """
    if not bars:
        return
    width, height = size
    mask = Image.new("L", (width * _FINER, height * _FINER))
    pen = ImageDraw.Draw(mask)
    for left, right, tall in bars:
        top = round((1 - tall) * height * _FINER)
        # A bar of nothing is drawn as a hair, so that a slice that was read differs from one that is not there.
        top = min(top, height * _FINER - _FINER)
        ends = round(left * _FINER), max(round(left * _FINER), round(right * _FINER) - 1)
        pen.rectangle((ends[0], top, ends[1], height * _FINER), fill=255)
    page.paste(colour, place, mask.reduce(_FINER))
