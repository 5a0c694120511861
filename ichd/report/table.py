"""The finding table of the page: six classes, each with its word, probability, thresholds and key slices."""

from PIL import Image, ImageDraw

from ichd.domain.finding import ClassFinding, Finding, Presence
from ichd.domain.wording import class_label, percent
from ichd.report.drawing import (
    INK,
    LINE,
    PLAIN,
    PRESENCE_SIGN,
    PRESENCE_TONE,
    QUIET,
    TRACK,
    draw_sign,
    fitted,
    font,
    width_of,
)
from ichd.report.leading import slice_numbers

_HEADING, _TEXT, _SMALL = 13, 17, 14
_HEAD, _ROW = 28, 41
#: Left ends of the columns, and the right end of the numbers.
_PRESENCE, _BAR, _PERCENT_END, _KEYS = 156, 316, 518, 540
_BAR_WIDTH, _BAR_HEIGHT = 116, 10


def draw_table(page: Image.Image, place: tuple[int, int], width: int, finding: Finding) -> None:
    """Draw it, `width` pixels wide."""
    left, top = place
    draw = ImageDraw.Draw(page)
    for x, words, anchor in (
        (0, "kind", "la"),
        (_PRESENCE, "the model says", "la"),
        (_BAR, "probability", "la"),
        (_KEYS, "key slices", "la"),
    ):
        draw.text((left + x, top), words, QUIET, font(_HEADING), anchor=anchor)
    numbers = slice_numbers(finding)
    y = top + _HEAD
    for found in finding.classes:
        draw.line((left, y - 4, left + width, y - 4), fill=LINE)
        _draw_row(page, found, (left, y), numbers, width)
        y += _ROW
    draw.line((left, y - 4, left + width, y - 4), fill=LINE)
    words = "Marks on a bar: below the first the kind is absent, from the second it is present."
    if all(c.threshold.absent_below == c.threshold.present_from for c in finding.classes):
        words = "The mark on a bar: from there on the kind is present, below it is absent."
    draw.text((left, y + 6), words, QUIET, font(_HEADING))


def _draw_row(
    page: Image.Image,
    found: ClassFinding,
    place: tuple[int, int],
    numbers: dict[tuple[str, int | None], int],
    width: int,
) -> None:
    left, top = place
    draw = ImageDraw.Draw(page)
    middle = top + (_ROW - 8) / 2
    absent = found.presence is Presence.ABSENT
    tone = PRESENCE_TONE[found.presence]
    line = middle + _TEXT * 0.35
    draw.text((left, line), class_label(found.name), QUIET if absent else INK, font(_TEXT), anchor="ls")
    draw_sign(page, PRESENCE_SIGN[found.presence], (left + _PRESENCE + 8, middle), 15, tone)
    word = found.presence.capitalize()
    draw.text((left + _PRESENCE + 24, line), word, QUIET if absent else tone, font(_TEXT), anchor="ls")
    _draw_bar(draw, found, (left + _BAR, round(middle - _BAR_HEIGHT / 2)))
    text = percent(found.probability)
    draw.text((left + _PERCENT_END, line), text, QUIET if absent else INK, font(_TEXT), anchor="rs")
    keys = [numbers[key.sop_instance_uid, key.frame_number] for key in found.key_slices]
    draw.text((left + _KEYS, line), _numbered(keys, width - _KEYS), INK, font(_SMALL), anchor="ls")


def _draw_bar(draw: ImageDraw.ImageDraw, found: ClassFinding, place: tuple[int, int]) -> None:
    left, top = place
    bottom = top + _BAR_HEIGHT - 1
    draw.rectangle((left, top, left + _BAR_WIDTH, bottom), fill=TRACK)
    filled = round(found.probability * _BAR_WIDTH)
    tone = PLAIN if found.presence is Presence.ABSENT else PRESENCE_TONE[found.presence]
    if filled:
        draw.rectangle((left, top, left + filled, bottom), fill=tone)
    for threshold in {found.threshold.absent_below, found.threshold.present_from}:
        x = left + round(threshold * _BAR_WIDTH)
        draw.line((x, top - 4, x, bottom + 4), fill=INK)


def _numbered(numbers: list[int], width: float) -> str:
    """As many as there is room for, the best first, and how many more there are."""
    for shown in range(len(numbers), 0, -1):
        left_out = len(numbers) - shown
        text = ", ".join(map(str, numbers[:shown])) + (f" +{left_out}" if left_out else "")
        if width_of(text, _SMALL) <= width:
            return text
    return fitted(str(numbers[0]), _SMALL, width) if numbers else "-"
