"""Frames as pictures (PS3.18 10.4.1.1.4): windowed, scaled, as JPEG or PNG."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO
from typing import Any, NoReturn

import numpy as np
from fastapi import HTTPException
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileDataset

from ichd.domain.errors import Permanent
from ichd.domain.reason import Reason
from ichd.vision.parsed import PARSE_ERRORS
from ichd.vision.window import BRAIN
from ichd.web.dicomweb.frames import decoded

#: Media types by the name that Pillow has for them.
PICTURES: Mapping[str, str] = {"image/jpeg": "JPEG", "image/png": "PNG"}
_MOST_PIXELS_A_SIDE = 4096
_NUMBER = r"[+-]?[0-9]{1,9}(?:\.[0-9]{1,9})?"


@dataclass(frozen=True, kw_only=True)
class DisplayWindow:
    """A VOI window (PS3.3 C.11.2.1.2), in units after the rescale: HU of CT."""

    center: float
    width: float
    function: str = "LINEAR"


@dataclass(frozen=True, kw_only=True)
class Viewport:
    """The part of the picture that is shown, and the size that it is shown at, pixels."""

    width: int
    height: int
    #: Left, top, right, bottom in the stored picture; None for all of it.
    region: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """How a picture is wanted."""

    media_type: str
    quality: int = 90
    #: None for the file's own, or the default for its modality.
    window: DisplayWindow | None = None
    viewport: Viewport | None = None


def parse_rendering(parameters: Mapping[str, str], media_type: str) -> Rendering:
    """How a picture is wanted, by the parameters of PS3.18 table 8.3.5-1.

    Raises:
        HTTPException: 400, a value can't be understood.
    """
    quality = parameters.get("quality", "90")
    if not re.fullmatch("[0-9]{1,3}", quality) or not 1 <= int(quality) <= 100:
        _refuse("quality takes a number from 1 to 100")
    return Rendering(
        media_type=media_type,
        quality=int(quality),
        window=_window(parameters["window"]) if "window" in parameters else None,
        viewport=_viewport(parameters["viewport"]) if "viewport" in parameters else None,
    )


def render(dataset: FileDataset, index: int, wanted: Rendering) -> bytes:
    """The picture of one frame; `index` counts from zero.

    Raises:
        Permanent: UNSUPPORTED_TRANSFER_SYNTAX or PIXELS_UNREADABLE.
    """
    stored = decoded(dataset, index)
    try:
        grey = stored if stored.ndim == 3 else _to_grey(dataset, stored, wanted.window)
        picture = Image.fromarray(grey.astype(np.uint8))
        if wanted.viewport is not None:
            picture = _fit(picture, wanted.viewport)
        buffer = BytesIO()
        picture.save(buffer, PICTURES[wanted.media_type], quality=wanted.quality)
    except PARSE_ERRORS as error:
        raise Permanent(Reason.PIXELS_UNREADABLE, type(error).__name__) from error
    return buffer.getvalue()


def _to_grey(dataset: Dataset, stored: NDArray[Any], window: DisplayWindow | None) -> NDArray[np.uint8]:
    slope, intercept = _number(dataset, "RescaleSlope"), _number(dataset, "RescaleIntercept")
    values = stored.astype(np.float32) * np.float32(slope or 1) + np.float32(intercept or 0)
    window = window or _own_window(dataset) or _default_window(dataset, values)
    shade = _shade(values, window)
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        shade = 1 - shade
    return np.rint(shade * 255).astype(np.uint8)


def _shade(values: NDArray[np.float32], window: DisplayWindow) -> NDArray[np.float32]:
    """0 to 1 by the equations of PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    center, width = window.center, window.width
    match window.function:
        case "SIGMOID":
            exponent = np.clip(-4 * (values - center) / width, -80, 80)
            shade = 1 / (1 + np.exp(exponent))
        case "LINEAR_EXACT":
            shade = (values - center) / width + 0.5
        case _:
            # A width of one is a threshold: the equation would divide by zero.
            shade = (values - (center - 0.5)) / max(width - 1, 1e-6) + 0.5
    clipped: NDArray[np.float32] = np.clip(shade, 0, 1).astype(np.float32)
    return clipped


def _own_window(dataset: Dataset) -> DisplayWindow | None:
    """The first window of the file, where it has a usable one."""
    center, width = _number(dataset, "WindowCenter"), _number(dataset, "WindowWidth")
    function = str(dataset.get("VOILUTFunction") or "LINEAR")
    if center is None or width is None or not _is_usable(width, function):
        return None
    return DisplayWindow(center=center, width=width, function=function)


def _default_window(dataset: Dataset, values: NDArray[np.float32]) -> DisplayWindow:
    """Brain for CT; all that there is for anything else."""
    if dataset.get("Modality") == "CT":
        return DisplayWindow(center=BRAIN.level, width=BRAIN.width)
    lowest, highest = float(values.min()), float(values.max())
    return DisplayWindow(center=(lowest + highest) / 2, width=max(highest - lowest, 1), function="LINEAR_EXACT")


def _fit(picture: Image.Image, viewport: Viewport) -> Image.Image:
    """The region, as large as it fits into the viewport without distortion."""
    left, top, right, bottom = viewport.region or (0, 0, picture.width, picture.height)
    right, bottom = min(right, picture.width), min(bottom, picture.height)
    if right - left < 1 or bottom - top < 1:
        _refuse("viewport shows no pixel of this picture")
    scale = min(viewport.width / (right - left), viewport.height / (bottom - top))
    size = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
    return picture.resize(size, Image.Resampling.BILINEAR, box=(left, top, right, bottom))


def _window(text: str) -> DisplayWindow:
    found = re.fullmatch(rf"({_NUMBER}),({_NUMBER})(?:,([A-Za-z_-]+))?", text.strip())
    function = (found[3] or "LINEAR").upper().replace("-", "_") if found else ""
    if found is None or function not in {"LINEAR", "LINEAR_EXACT", "SIGMOID"}:
        _refuse("window takes center,width,function with one of linear, linear-exact and sigmoid")
    if not _is_usable(float(found[2]), function):
        _refuse("the width of a window is at least 1, above 0 where its function is not linear")
    return DisplayWindow(center=float(found[1]), width=float(found[2]), function=function)


def _is_usable(width: float, function: str) -> bool:
    return width >= 1 if function == "LINEAR" else width > 0


def _viewport(text: str) -> Viewport:
    numbers = [float(part) if re.fullmatch(_NUMBER, part) else math.nan for part in text.split(",")]
    if len(numbers) not in {2, 6} or any(math.isnan(n) for n in numbers):
        _refuse("viewport takes width,height or width,height,left,top,width,height of the region")
    width, height, *region = numbers
    if not (1 <= width <= _MOST_PIXELS_A_SIDE and 1 <= height <= _MOST_PIXELS_A_SIDE):
        _refuse(f"viewport takes a width and a height of 1 to {_MOST_PIXELS_A_SIDE}")
    if not region:
        return Viewport(width=int(width), height=int(height))
    left, top, across, down = region
    if left < 0 or top < 0 or across < 1 or down < 1:
        _refuse("viewport takes a region inside of the picture; mirrored ones are not made")
    return Viewport(width=int(width), height=int(height), region=(left, top, left + across, top + down))


def _number(dataset: Dataset, keyword: str) -> float | None:
    """The first value, where it is a finite number."""
    try:
        value = dataset.get(keyword)
        first = value[0] if value is not None and not isinstance(value, str | int | float) else value
        number = float(first)  # type: ignore[arg-type]  # what is no number raises TypeError
    except PARSE_ERRORS:
        return None
    return number if math.isfinite(number) else None


def _refuse(sentence: str) -> NoReturn:
    raise HTTPException(HTTPStatus.BAD_REQUEST, sentence)
