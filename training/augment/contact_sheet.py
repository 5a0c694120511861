"""A picture of what the network learns from: every slice of a micro-batch as it enters the network, with its labels.

A row a window, a column a slice; the first three channels are shown as red, green and blue. Look at it before a long
run: swapped channels, a crop that misses the head, or labels that lie one slice off are plain to the eye, and cost
little in the loss.

Shapes: N slices, padding included, C channels and classes, G the model's grid.
"""

from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from ichd.vision.manifest import InputSpec
from training.lessons.lesson import Lesson

_SHORT = {
    "any": "any",
    "intraparenchymal": "IPH",
    "intraventricular": "IVH",
    "subarachnoid": "SAH",
    "subdural": "SDH",
    "epidural": "EDH",
}
_GROUND, _CELL = (14, 19, 24), (24, 31, 38)
_INK, _QUIET, _BLEED, _PARTNER = (228, 234, 240), (154, 168, 182), (255, 138, 122), (245, 190, 92)
#: Pixels: around the sheet, between cells, of a line of text, of a row's heading, of the sheet's.
_MARGIN, _GAP, _LINE, _HEADING, _TITLE = 24, 6, 19, 30, 58
#: Width to which cells are fitted, and the sides they may have.
_WIDTH, _SMALLEST, _LARGEST = 1900, 112, 320

RGB = NDArray[np.uint8]
Colour = tuple[int, int, int]


def write_contact_sheet(lesson: Lesson, spec: InputSpec, path: Path) -> None:
    """A PNG of a lesson; `spec` says how the network's input was standardised.

    Under each slice stand its labels; where CutMix exchanged a piece, a frame marks it and a second line says whose
    labels came with it. A label with a question mark is one that nobody gave: it has no weight.

    Raises:
        UserError: the file can't be written; names it.
    """
    windows, slices = lesson.target_VSC.shape[:2]
    side = min(_LARGEST, max(_SMALLEST, (_WIDTH - 2 * _MARGIN) // slices - _GAP))
    lines = 1 if lesson.mixed_with_N is None else 2
    step_x, step_y = side + _GAP, _HEADING + side + lines * _LINE + 12
    width = max(2 * _MARGIN + slices * step_x - _GAP, 760)
    sheet = Image.new("RGB", (width, _TITLE + windows * step_y + _MARGIN), _GROUND)
    draw = ImageDraw.Draw(sheet)
    pictures_NGG3 = as_network_sees(lesson.x_NCGG, spec)
    lengths = lesson.lengths_V.tolist()
    labels = zip(lesson.target_VSC.flatten(0, 1).cpu(), lesson.weight_VSC.flatten(0, 1).cpu(), strict=True)
    captions = [caption(target_C, weight_C) for target_C, weight_C in labels]
    _write_title(draw, lesson, spec, doubtful=any("?" in text for text in captions))
    for window in range(windows):
        top = _TITLE + window * step_y
        name = lesson.names[window] if window < len(lesson.names) else f"window {window + 1}"
        draw.text((_MARGIN, top + 8), name, fill=_INK, font=ImageFont.load_default(15))
        for position in range(slices):
            left, number = _MARGIN + position * step_x, window * slices + position
            corner = (left, top + _HEADING)
            if position >= lengths[window]:
                _draw_padding(draw, corner, side)
                continue
            picture = Image.fromarray(pictures_NGG3[number])
            sheet.paste(picture.resize((side, side), Image.Resampling.LANCZOS), corner)
            below = (left, corner[1] + side + 4)
            _write(draw, below, captions[number], _colour(captions[number]), side)
            if lesson.mixed_with_N is not None and (partner := int(lesson.mixed_with_N[number])) != number:
                _frame(draw, corner, side, lesson, spec.image_size)
                _write(draw, (left, below[1] + _LINE), f"+ {captions[partner]}", _PARTNER, side)
    _save(sheet, path)


def as_network_sees(x_NCGG: Tensor, spec: InputSpec) -> RGB:
    """Standardisation undone, uint8 [N, G, G, 3]: the first three windows; fewer are shown as grey, or without blue."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (spec.mean, spec.std))
    values_NCGG = (x_NCGG.float().cpu() * std + mean)[:, :3]
    channels = values_NCGG.shape[1]
    if channels == 1:
        values_NCGG = values_NCGG.expand(-1, 3, -1, -1)
    elif channels == 2:
        values_NCGG = torch.cat([values_NCGG, torch.zeros_like(values_NCGG[:, :1])], dim=1)
    shown: RGB = (values_NCGG.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return shown


def caption(target_C: Tensor, weight_C: Tensor) -> str:
    """The labels of a slice in a few letters: "IPH SDH", "no bleed", "any IPH?"; "any" only where no kind is known."""
    known = [
        name for name, target, weight in zip(CLASSES, target_C, weight_C, strict=True) if weight > 0 and target > 0
    ]
    unknown = [name for name, weight in zip(CLASSES, weight_C, strict=True) if not weight > 0]
    if len(unknown) == len(CLASSES):
        return "unknown"
    kinds = [name for name in known if name != "any"] or known
    return " ".join([*(_SHORT[name] for name in kinds), *(f"{_SHORT[name]}?" for name in unknown)]) or "no bleed"


def _colour(text: str) -> Colour:
    marked = [word for word in text.split() if not word.endswith("?")]
    return _QUIET if not marked or text in ("no bleed", "unknown") else _BLEED


def _write_title(draw: ImageDraw.ImageDraw, lesson: Lesson, spec: InputSpec, *, doubtful: bool) -> None:
    title = "What the network sees"
    if lesson.mixed_with_N is not None:
        title += f": CutMix, lambda {lesson.own_share:.3f} (the share of a slice that is its own)"
    draw.text((_MARGIN, 16), title, fill=_INK, font=ImageFont.load_default(20))
    colours = ("red", "green", "blue") if len(spec.windows) > 1 else ("grey",)
    # The network may have more windows than the picture has colours.
    shown = ", ".join(f"{colour} is {window.name}" for colour, window in zip(colours, spec.windows, strict=False))
    explained = f"{shown}; {spec.image_size} x {spec.image_size} pixels"
    if lesson.mixed_with_N is not None:
        explained += "; framed, and after the plus: the piece of another slice and its labels"
    if doubtful:
        explained += "; ?: a label that nobody gave"
    draw.text((_MARGIN, 41), explained, fill=_QUIET, font=ImageFont.load_default(14))


def _write(draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, colour: Colour, room: int) -> None:
    """On one line, smaller where it is long."""
    size = 14.0
    while size > 9 and draw.textlength(text, font=ImageFont.load_default(size)) > room:
        size -= 1
    draw.text(at, text, fill=colour, font=ImageFont.load_default(size))


def _frame(draw: ImageDraw.ImageDraw, corner: tuple[int, int], side: int, lesson: Lesson, size: int) -> None:
    if lesson.box is None:
        return
    rows, columns = lesson.box
    left, right, top, bottom = (
        round(edge * side / size) for edge in (columns.start, columns.stop, rows.start, rows.stop)
    )
    if right - left < 2 or bottom - top < 2:
        return
    draw.rectangle((corner[0] + left, corner[1] + top, corner[0] + right - 1, corner[1] + bottom - 1), outline=_PARTNER)


def _draw_padding(draw: ImageDraw.ImageDraw, corner: tuple[int, int], side: int) -> None:
    left, top = corner
    draw.rectangle((left, top, left + side - 1, top + side - 1), fill=_CELL)
    draw.text((left + side // 2, top + side // 2), "padding", fill=_QUIET, font=ImageFont.load_default(13), anchor="mm")


def _save(sheet: Image.Image, path: Path) -> None:
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(partial, format="PNG")
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise UserError(
            f"can't write the contact sheet {path}: {error.strerror or error}; free space or choose another folder"
        ) from error
