"""A slice and its heat as pictures: numpy and Pillow only, so that pages can draw them."""

import math
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ichd.domain.geometry import Orientation
from ichd.domain.heatmap import HeatMap
from ichd.vision.heatmap import spread
from ichd.vision.window import BRAIN, SUBDURAL, Window, apply_window

HU = NDArray[np.int16] | NDArray[np.float32]

#: Beside bone, blood is told from it in a wider window.
_WINDOWS: dict[str, Window] = {"subdural": SUBDURAL, "epidural": SUBDURAL}

#: From cool to hot, lightness grows evenly (four colours of matplotlib's inferno, CC0): it reads as a scale to whoever
#: sees no colours, too.
_COLOURS = np.array([(87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], dtype=np.float32)
#: Of the colour over the image, where it is hottest; blood must be seen through it.
_STRONGEST = 0.55
#: Below this nothing is coloured: a haze over the whole brain says nothing.
_FAINTEST = 0.2
#: Heat at which a line is drawn.
_LINE_AT = 0.5

_GROUND, _INK, _QUIET = (14, 19, 24), (228, 234, 240), (154, 168, 182)
_MARGIN = 16
#: By axis, to which side it points and from which: LPS.
_SIDES = (("L", "R"), ("P", "A"), ("H", "F"))
#: Height of the colour scale, alone and with its words; size of these.
_BAR, _SCALE, _SMALL = 10, 32, 14


@dataclass(frozen=True, kw_only=True)
class Caption:
    """What stands around a picture."""

    #: The class, its probability.
    title: str
    #: Which slice.
    subtitle: str
    #: Model, and that it is no diagnosis; one line each.
    footnotes: tuple[str, ...] = ()


def window_for(class_name: str) -> Window:
    """The display window in which a class is looked for."""
    return _WINDOWS.get(class_name, BRAIN)


def sides_of(orientation: Orientation) -> tuple[str, str]:
    """Which side of the patient a stored axial image shows at its left and right edge, e.g. "R" and "L".

    By the axis that its rows follow most (PS3.3 C.7.6.1.1.1).
    """
    along_row = orientation[:3]
    axis = max(range(3), key=lambda each: abs(along_row[each]))
    toward, away = _SIDES[axis]
    return (away, toward) if along_row[axis] > 0 else (toward, away)


def slice_picture(hu_HW: HU, pixel_spacing_mm: tuple[float, float], window: Window, side: int) -> Image.Image:
    """The slice as it is stored, its longer side `side` pixels, true to its proportions."""
    grey = np.rint(apply_window(hu_HW, window) * 255).astype(np.uint8)
    return _to_scale(Image.fromarray(grey), pixel_spacing_mm, side).convert("RGB")


def overlay_picture(hu_HW: HU, heat: HeatMap, pixel_spacing_mm: tuple[float, float], side: int) -> Image.Image:
    """The same under its heat: coloured more the hotter it is, with a line around what is at least half as hot."""
    plain = slice_picture(hu_HW, pixel_spacing_mm, window_for(heat.class_name), side)
    heat_HW = spread(heat, *hu_HW.shape, drawn=(plain.height, plain.width))
    return Image.fromarray(_blend(np.asarray(plain, dtype=np.float32), heat_HW))


def heat_layer(heat: HeatMap, rows: int, columns: int) -> Image.Image:
    """The colours of the heat and its line alone, transparent where nothing is hot: pixel for pixel over the stored
    image, which then looks like `overlay_picture` in any window.
    """
    heat_HW = spread(heat, rows, columns)
    colours_HW3, opacity_HW = _colours(heat_HW), _opacity(heat_HW)
    edge_HW = _edge(heat_HW >= _LINE_AT)
    colours_HW3[edge_HW], opacity_HW[edge_HW] = _COLOURS[-1], 1
    rgba_HW4 = np.concatenate([colours_HW3, 255 * opacity_HW[..., None]], axis=-1)
    return Image.fromarray(np.rint(rgba_HW4).astype(np.uint8), "RGBA")


def mark_sides(picture: Image.Image, sides: tuple[str, str]) -> None:
    """Write at its edges which side of the patient is where: a picture that leaves its header behind must say so."""
    draw, text = ImageDraw.Draw(picture), ImageFont.load_default(17)
    for letter, x, anchor in ((sides[0], 8, "lm"), (sides[1], picture.width - 8, "rm")):
        # A rim keeps a letter legible over bone.
        draw.text((x, picture.height / 2), letter, _INK, text, anchor=anchor, stroke_width=2, stroke_fill=(0, 0, 0))


def figure(
    hu_HW: HU,
    heat: HeatMap,
    pixel_spacing_mm: tuple[float, float],
    caption: Caption,
    *,
    side: int = 512,
    sides: tuple[str, str] = ("", ""),
) -> Image.Image:
    """The slice without and with its heat, side by side, and what a person must know to read it.

    `sides` as `sides_of` gives them.
    """
    plain = slice_picture(hu_HW, pixel_spacing_mm, window_for(heat.class_name), side)
    hot = overlay_picture(hu_HW, heat, pixel_spacing_mm, side)
    for picture in (plain, hot):
        mark_sides(picture, sides)
    title, text = ImageFont.load_default(24), ImageFont.load_default(15)
    top, line = 76, 22
    words = max(title.getlength(caption.title), *map(text.getlength, (caption.subtitle, *caption.footnotes)))
    # A slice that is much higher than wide must not cut off its caption.
    width = max(2 * plain.width + 3 * _MARGIN, math.ceil(words) + 2 * _MARGIN)
    picture = Image.new("RGB", (width, top + plain.height + 62 + line * len(caption.footnotes)), _GROUND)
    draw = ImageDraw.Draw(picture)
    draw.text((_MARGIN, 12), caption.title, _INK, title)
    draw.text((_MARGIN, 46), caption.subtitle, _QUIET, text)
    picture.paste(plain, (_MARGIN, top))
    picture.paste(hot, (plain.width + 2 * _MARGIN, top))
    below = top + plain.height + 14
    picture.paste(scale_picture(plain.width), (plain.width + 2 * _MARGIN, below + 4))
    shown = window_for(heat.class_name)
    draw.text((_MARGIN, below), f"{shown.name} window, level {shown.level}, width {shown.width} HU", _QUIET, text)
    for number, note in enumerate(caption.footnotes):
        draw.text((_MARGIN, below + 40 + line * number), note, _QUIET, text)
    return picture


def png(picture: Image.Image) -> bytes:
    """The picture as a PNG file."""
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _to_scale(picture: Image.Image, pixel_spacing_mm: tuple[float, float], side: int) -> Image.Image:
    height_mm, width_mm = picture.height * pixel_spacing_mm[0], picture.width * pixel_spacing_mm[1]
    scale = side / max(height_mm, width_mm)
    size = (max(1, round(width_mm * scale)), max(1, round(height_mm * scale)))
    return picture.resize(size, Image.Resampling.BICUBIC)


def _blend(grey_HW3: NDArray[np.float32], heat_HW: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The grey picture under the colours of its heat, and the line."""
    opacity = _opacity(heat_HW)[..., None]
    mixed = grey_HW3 * (1 - opacity) + _colours(heat_HW) * opacity
    mixed[_edge(heat_HW >= _LINE_AT)] = _COLOURS[-1]
    blended: NDArray[np.uint8] = np.rint(mixed).astype(np.uint8)
    return blended


def _opacity(heat_HW: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much of the colour is seen, 0 to 1."""
    shown = np.clip((heat_HW - _FAINTEST) / (1 - _FAINTEST), 0, 1)
    opacity: NDArray[np.float32] = _STRONGEST * shown**0.75
    return opacity


def _colours(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """The colour [..., 3] of heat [...]."""
    stops = np.linspace(0, 1, len(_COLOURS))
    channels = [np.interp(heat, stops, _COLOURS[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def _edge(inside_HW: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The outermost pixels of a region."""
    framed = np.pad(inside_HW, 1)
    enclosed = framed[:-2, 1:-1] & framed[2:, 1:-1] & framed[1:-1, :-2] & framed[1:-1, 2:]
    edge: NDArray[np.bool_] = inside_HW & ~enclosed
    return edge


def scale_picture(width: int) -> Image.Image:
    """The colours as they lie over grey, from none to the hottest, with the line's place, and words under them."""
    text = ImageFont.load_default(_SMALL)
    grey = np.full((_BAR, width, 3), 90, dtype=np.float32)
    heat_HW = np.broadcast_to(np.linspace(0, 1, width, dtype=np.float32), (_BAR, width))
    picture = Image.new("RGB", (width, _SCALE), _GROUND)
    picture.paste(Image.fromarray(_blend(grey, heat_HW)), (0, 0))
    draw = ImageDraw.Draw(picture)
    top = _BAR + 4
    draw.text((0, top), "no heat", _QUIET, text)
    draw.text((width * _LINE_AT, top), "half", _QUIET, text, anchor="ma")
    draw.text((width, top), "hottest of this slice", _QUIET, text, anchor="ra")
    return picture
