"""A slice and its heat as pictures: numpy and Pillow only, so that pages can draw them."""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ichd.domain.heatmap import HeatMap
from ichd.vision.heatmap import spread
from ichd.vision.window import BRAIN, SUBDURAL, Window, apply_window

HU = NDArray[np.int16] | NDArray[np.float32]
Font = ImageFont.ImageFont | ImageFont.FreeTypeFont

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


def slice_picture(hu_HW: HU, pixel_spacing_mm: tuple[float, float], window: Window, side: int) -> Image.Image:
    """The slice as it is stored, its longer side `side` pixels, true to its proportions."""
    grey = np.rint(apply_window(hu_HW, window) * 255).astype(np.uint8)
    return _to_scale(Image.fromarray(grey).convert("RGB"), pixel_spacing_mm, side)


def overlay_picture(hu_HW: HU, heat: HeatMap, pixel_spacing_mm: tuple[float, float], side: int) -> Image.Image:
    """The same under its heat: coloured more the hotter it is, with a line around what is at least half as hot."""
    plain = slice_picture(hu_HW, pixel_spacing_mm, window_for(heat.class_name), side)
    heat_HW = Image.fromarray(spread(heat, *hu_HW.shape))
    scaled = np.asarray(heat_HW.resize(plain.size, Image.Resampling.BILINEAR))
    return Image.fromarray(_blend(np.asarray(plain, dtype=np.float32), scaled))


def figure(
    hu_HW: HU, heat: HeatMap, pixel_spacing_mm: tuple[float, float], caption: Caption, *, side: int = 512
) -> Image.Image:
    """The slice without and with its heat, side by side, and what a person must know to read it."""
    plain = slice_picture(hu_HW, pixel_spacing_mm, window_for(heat.class_name), side)
    hot = overlay_picture(hu_HW, heat, pixel_spacing_mm, side)
    title, text = ImageFont.load_default(24), ImageFont.load_default(15)
    top, line = 76, 22
    width = 2 * plain.width + 3 * _MARGIN
    picture = Image.new("RGB", (width, top + plain.height + 62 + line * len(caption.footnotes)), _GROUND)
    draw = ImageDraw.Draw(picture)
    draw.text((_MARGIN, 12), caption.title, _INK, title)
    draw.text((_MARGIN, 46), caption.subtitle, _QUIET, text)
    picture.paste(plain, (_MARGIN, top))
    picture.paste(hot, (plain.width + 2 * _MARGIN, top))
    below = top + plain.height + 14
    _draw_scale(picture, draw, (plain.width + 2 * _MARGIN, below), plain.width, text)
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
    shown = np.clip((heat_HW - _FAINTEST) / (1 - _FAINTEST), 0, 1)
    opacity = (_STRONGEST * shown**0.75)[..., None]
    mixed = grey_HW3 * (1 - opacity) + _colours(heat_HW) * opacity
    mixed[_edge(heat_HW >= _LINE_AT)] = _COLOURS[-1]
    blended: NDArray[np.uint8] = np.rint(mixed).astype(np.uint8)
    return blended


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


def _draw_scale(
    picture: Image.Image, draw: ImageDraw.ImageDraw, place: tuple[int, int], width: int, text: Font
) -> None:
    """The colours as they lie over grey, from none to the hottest, with the line's place."""
    left, top = place
    bar = 10
    grey = np.full((bar, width, 3), 90, dtype=np.float32)
    heat_HW = np.broadcast_to(np.linspace(0, 1, width, dtype=np.float32), (bar, width))
    picture.paste(Image.fromarray(_blend(grey, heat_HW)), (left, top + 4))
    draw.text((left, top + 18), "no heat", _QUIET, text)
    draw.text((left + width * _LINE_AT, top + 18), "half", _QUIET, text, anchor="ma")
    draw.text((left + width, top + 18), "hottest spot of this slice", _QUIET, text, anchor="ra")
