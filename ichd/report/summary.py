"""The summary page: what a radiologist should see at a glance, drawn for viewers that show pictures and nothing else.

    banner      triage in a word, a colour and a sign; "AI result, not a diagnosis"
    windows     the top slice in three windows
    heat        where the model saw it, beside the table of the six classes
    strip       every slice's probabilities along the head
    footer      what was noticed about the input; model, software, status

No patient's name stands on it: whoever shows the page shows whose it is, and burned-in names outlive every correction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from ichd.domain.finding import Finding, Presence, SlicePrediction, Triage
from ichd.domain.wording import class_label, meaning_of_probabilities, percent
from ichd.report import codes
from ichd.report.document import NOT_A_DIAGNOSIS, ReportContext
from ichd.report.drawing import (
    CAUTION,
    GROUND,
    INK,
    LINE,
    QUIET,
    SURFACE,
    TRIAGE_GROUND,
    TRIAGE_SIGN,
    TRIAGE_TONE,
    draw_sign,
    fitted,
    font,
    plain_letters,
    width_of,
    wrapped,
)
from ichd.report.leading import leading_kind, slice_numbers
from ichd.report.strip import HEIGHT as STRIP_HEIGHT
from ichd.report.strip import draw_strip
from ichd.report.table import draw_table

WIDTH = 1024
#: Of a picture's longer side.
PANEL = 304
_MARGIN, _GUTTER = 32, 24
_BANNER, _CAPTION, _SCALE = 108, 28, 36
_TITLE, _TEXT, _SMALL = 17, 15, 14
_LINE, _FOOTER_HEAD = 20, 32
_MAX_NOTE_LINES = 4

_SENTENCE = {
    Triage.URGENT: "Haemorrhage is called.",
    Triage.INDETERMINATE: "Neither called nor ruled out.",
    Triage.ROUTINE: "No haemorrhage is called.",
}
#: Every class is absent, and the study is indeterminate all the same.
_NOT_ALL_SEEN = "None is called, but not all of the brain was seen."


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One picture of the page and what stands over it."""

    title: str
    detail: str
    #: No side longer than `PANEL`, with the patient's sides written on it; None where there is none.
    picture: Image.Image | None
    #: Says why there is none.
    instead: str = ""


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """What the page shows of the scan itself."""

    slice: SlicePrediction
    #: In the display windows that the model uses.
    windows: Sequence[Panel]
    heat: Panel
    #: The colours of the heat, with what they mean; `PANEL` wide. None where there is no heat.
    scale: Image.Image | None


def draw_summary(
    finding: Finding, pictures: Pictures, context: ReportContext, accession_number: str = ""
) -> Image.Image:
    """The page, RGB, `WIDTH` pixels wide and some 1280 high. Equal arguments give equal pixels."""
    notes = _note_lines(finding, 2 * PANEL + _GUTTER)
    facts = _fact_lines(finding, context)
    rows = _CAPTION + PANEL
    windows_top = _BANNER + 14
    heat_top = windows_top + rows + 12
    strip_top = heat_top + rows + _SCALE + 8
    footer_top = strip_top + STRIP_HEIGHT + 8
    caution = wrapped(f"{NOT_A_DIAGNOSIS} {meaning_of_probabilities(finding)}", _SMALL, WIDTH - 2 * _MARGIN)
    height = footer_top + _FOOTER_HEAD + _LINE * (max(len(notes), len(facts)) + len(caution) - 1) + 36
    page = Image.new("RGB", (WIDTH, height), GROUND)
    _draw_banner(page, finding, accession_number)
    number = slice_numbers(finding)[pictures.slice.sop_instance_uid, pictures.slice.frame_number]
    where = f"slice {number} of {len(finding.prediction.slices)}"
    for column, panel in enumerate(pictures.windows):
        _draw_panel(page, panel, (_column(column), windows_top))
    _draw_panel(page, pictures.heat, (_column(0), heat_top))
    if pictures.scale is not None:
        page.paste(pictures.scale, (_column(0), heat_top + rows + 6))
    table_top = heat_top + 2
    ImageDraw.Draw(page).text((_column(1), table_top), "Findings", INK, font(_TITLE))
    words = f"pictures: {where}, z {pictures.slice.z_mm:.1f} mm"
    ImageDraw.Draw(page).text((WIDTH - _MARGIN, table_top + 2), words, QUIET, font(_SMALL), anchor="ra")
    draw_table(page, (_column(1), table_top + _CAPTION + 6), 2 * PANEL + _GUTTER, finding)
    draw_strip(page, (_MARGIN, strip_top), WIDTH - 2 * _MARGIN, finding)
    _draw_footer(page, footer_top, notes, facts, caution)
    return page


def _column(number: int) -> int:
    return _MARGIN + number * (PANEL + _GUTTER)


def _draw_banner(page: Image.Image, finding: Finding, accession_number: str) -> None:
    tone, ground = TRIAGE_TONE[finding.triage], TRIAGE_GROUND[finding.triage]
    page.paste(ground, (0, 0, WIDTH, _BANNER))
    page.paste(tone, (0, 0, 8, _BANNER))
    draw_sign(page, TRIAGE_SIGN[finding.triage], (_MARGIN + 24, 40), 44, tone)
    draw = ImageDraw.Draw(page)
    draw.text((_MARGIN + 64, 40), finding.triage.upper(), tone, font(40), anchor="lm", stroke_width=1)
    said = NOT_A_DIAGNOSIS.rstrip(".")
    right = WIDTH - _MARGIN
    draw.text((right, 30), said, INK, font(22), anchor="rm")
    status = codes.DEMONSTRATION if finding.prediction.model.demonstration else codes.RESEARCH
    draw.text((right, 58), status.meaning, CAUTION, font(_TEXT), anchor="rm")
    accession = fitted(plain_letters(f"Accession {accession_number}"), _TEXT, PANEL) if accession_number else ""
    draw.text((right, 86), accession, QUIET, font(_TEXT), anchor="rm")
    room = WIDTH - 2 * _MARGIN - (width_of(accession, _TEXT) + _GUTTER if accession else 0)
    draw.text((_MARGIN, 86), fitted(_sentence(finding), _TITLE, room), INK, font(_TITLE), anchor="lm")


def _sentence(finding: Finding) -> str:
    """What is called, in one line."""
    any_kind, leading = finding.classes[0], leading_kind(finding)
    start = _SENTENCE[finding.triage]
    if finding.triage is Triage.INDETERMINATE and all(c.presence is Presence.ABSENT for c in finding.classes):
        start = _NOT_ALL_SEEN
    said = f"{start} {class_label(any_kind.name)}: {percent(any_kind.probability)}."
    return f"{said} Most probable kind: {leading.name}, {percent(leading.probability)}." if leading else said


def _draw_panel(page: Image.Image, panel: Panel, place: tuple[int, int]) -> None:
    left, top = place
    draw = ImageDraw.Draw(page)
    draw.text((left, top + 2), panel.title, INK, font(_TITLE))
    taken = width_of(panel.title, _TITLE) + 16
    draw.text((left + PANEL, top + 5), fitted(panel.detail, _SMALL, PANEL - taken), QUIET, font(_SMALL), anchor="ra")
    top += _CAPTION
    if panel.picture is None:
        page.paste(SURFACE, (left, top, left + PANEL, top + PANEL))
        lines = wrapped(panel.instead, _TEXT, PANEL - 48)
        y = top + (PANEL - _LINE * len(lines)) / 2
        for number, line in enumerate(lines):
            draw.text((left + PANEL / 2, y + number * _LINE), line, QUIET, font(_TEXT), anchor="ma")
        return
    page.paste((0, 0, 0), (left, top, left + PANEL, top + PANEL))
    picture = panel.picture
    page.paste(picture, (left + (PANEL - picture.width) // 2, top + (PANEL - picture.height) // 2))


def _note_lines(finding: Finding, width: float) -> list[str]:
    """What was noticed about the input, first what kept parts of the brain from being seen.

    In full where there is room, else a line each, and what is left out is counted.
    """
    notes = sorted(finding.prediction.notes, key=lambda note: not note.unseen)
    sentences = [plain_letters(f"{str(note)[:1].upper()}{str(note)[1:]}.") for note in notes]
    lines = [line for sentence in sentences for line in wrapped(sentence, _TEXT, width)]
    if len(lines) > _MAX_NOTE_LINES:
        lines = [fitted(sentence, _TEXT, width) for sentence in sentences]
    if len(lines) > _MAX_NOTE_LINES:
        shown = _MAX_NOTE_LINES - 1
        lines = [*lines[:shown], f"and {len(lines) - shown} more"]
    return lines or ["Nothing was noticed that a reader must know."]


def _fact_lines(finding: Finding, context: ReportContext) -> list[str]:
    model = finding.prediction.model
    facts = [
        f"{model.name} {model.version}",
        f"weights {model.weights_sha256[:12]}",
        f"ichd {context.software_version}, revision {context.revision}",
    ]
    lines = [fitted(plain_letters(fact), _TEXT, PANEL) for fact in facts]
    return [*lines, *wrapped(model.statement, _TEXT, PANEL)[:2]]


def _draw_footer(
    page: Image.Image, top: int, notes: Sequence[str], facts: Sequence[str], caution: Sequence[str]
) -> None:
    draw = ImageDraw.Draw(page)
    draw.line((_MARGIN, top, WIDTH - _MARGIN, top), fill=LINE)
    for x, title, lines in ((_column(0), "Input", notes), (_column(2), "Model", facts)):
        draw.text((x, top + 10), title, INK, font(_TITLE))
        for number, line in enumerate(lines):
            draw.text((x, top + _FOOTER_HEAD + number * _LINE), line, QUIET, font(_TEXT))
    for number, line in enumerate(reversed(caution)):
        draw.text((_MARGIN, page.height - 30 - number * _LINE), line, INK, font(_SMALL))
