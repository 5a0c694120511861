"""The summary page: one size, whatever is found; legible letters; every slice; nothing said by colour alone."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ichd.domain.finding import CLASSES, Finding, ReadingRule, SlicePrediction, Threshold, Triage, conclude
from ichd.domain.note import Note, Remark
from ichd.report import strip
from ichd.report.capture import build_summary
from ichd.report.drawing import GROUND, PLAIN, SURFACE, fitted, plain_letters, width_of, wrapped
from ichd.report.leading import leading_kind, marked_slices, slice_numbers, top_slice
from ichd.report.summary import WIDTH, draw_summary
from tests.report.drawn import pictures
from tests.report.findings import CONTEXT, MODEL, bleeding, header, healthy, prediction

BANNER = (0, 0, 90, 80)


def undetermined(slices: int = 12) -> Finding:
    rule = ReadingRule(thresholds={name: Threshold(present_from=0.99, absent_below=0.2) for name in CLASSES})
    return conclude(bleeding(slices).prediction, rule)


def with_notes(finding: Finding, *notes: Note) -> Finding:
    return replace(finding, prediction=replace(finding.prediction, notes=notes))


def words_on(monkeypatch: pytest.MonkeyPatch, finding: Finding, accession_number: str = "") -> list[str]:
    """All that is written on the page."""
    written: list[str] = []
    draw = ImageDraw.ImageDraw.text

    def noted(self: ImageDraw.ImageDraw, xy: tuple[float, float], text: str, *rest: object, **more: object) -> None:
        written.append(text)
        draw(self, xy, text, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", noted)
    draw_summary(finding, pictures(finding, heat=False), CONTEXT, accession_number)
    return written


@pytest.mark.parametrize("finding", [bleeding(), undetermined(), healthy(), bleeding(400), bleeding(1), healthy(2)])
def test_a_page_is_as_wide_as_a_screen_and_not_much_higher(finding: Finding) -> None:
    page = draw_summary(finding, pictures(finding), CONTEXT, "A-1234")
    assert page.mode == "RGB"
    assert page.width == WIDTH
    assert 1024 <= page.height <= 1280


def test_a_page_with_all_notes_and_a_long_statement_is_no_higher(monkeypatch: pytest.MonkeyPatch) -> None:
    model = replace(MODEL, name="a name that is much too long " * 4, statement="trained on synthetic data " * 9)
    finding = with_notes(bleeding(model=model), *(Note(remark=remark, detail="a detail " * 20) for remark in Remark))
    assert draw_summary(finding, pictures(finding), CONTEXT).height <= 1280
    written = words_on(monkeypatch, finding)
    assert f"and {len(Remark) - 3} more" in written
    assert f"weights {MODEL.weights_sha256[:12]}" in written, "a long name leaves room for what tells models apart"


def test_notes_on_what_was_not_seen_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [Note(remark=Remark.TILTED, detail="18 degrees")] * 8
    finding = with_notes(bleeding(), *many, Note(remark=Remark.VERTEX_MISSING, unseen=True))
    written = words_on(monkeypatch, finding)
    assert "The scan ends below the top of the head." in written


@pytest.mark.parametrize("finding", [bleeding(), undetermined(), healthy()])
def test_what_must_be_said_is_burned_in(monkeypatch: pytest.MonkeyPatch, finding: Finding) -> None:
    written = words_on(monkeypatch, finding, "Ä-1234")
    assert "AI result, not a diagnosis" in written
    assert finding.triage.upper() in written
    assert "Demonstration; not for clinical use" in written
    assert "Accession A-1234" in written
    assert any(MODEL.weights_sha256[:12] in words for words in written)
    assert any("0.1.0" in words for words in written)
    assert "trained on synthetic data: demonstration only" in written
    for found in finding.classes:
        assert written.count(found.presence.capitalize()) >= 1


def test_a_clinical_model_is_said_to_be_for_research(monkeypatch: pytest.MonkeyPatch) -> None:
    clinical = replace(MODEL, demonstration=False, statement="")
    assert "Research use; not cleared as a medical device" in words_on(monkeypatch, bleeding(model=clinical))


def test_an_absent_class_with_a_gap_in_the_scan_is_not_called_routine(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = healthy().prediction
    gap = replace(rows, slices=tuple(s for i, s in enumerate(rows.slices) if i not in (5, 6)))
    finding = conclude(gap, ReadingRule())
    assert finding.triage is Triage.INDETERMINATE
    assert any("not all of the brain was seen" in words for words in words_on(monkeypatch, finding))


def test_triage_is_told_by_shape_not_by_colour_alone() -> None:
    def shape(finding: Finding) -> NDArray[np.bool_]:
        page = draw_summary(finding, pictures(finding), CONTEXT).crop(BANNER)
        rgb = np.asarray(page, dtype=int)[:, 16:]
        return np.asarray(np.abs(rgb - rgb[0, -1]).sum(axis=-1) > 150)

    shapes = [shape(finding) for finding in (bleeding(), undetermined(), healthy())]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        differing = (shapes[one] ^ shapes[other]).sum()
        assert differing > 0.1 * shapes[one].sum()


def contrast(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    """Contrast ratio of WCAG 2.1."""

    def luminance(colour: tuple[int, int, int]) -> float:
        linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in colour)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_letters_stand_out_from_their_ground() -> None:
    from ichd.report import drawing

    for ink in (drawing.INK, drawing.QUIET, *drawing.PRESENCE_TONE.values()):
        assert contrast(ink, GROUND) >= 4.5
        assert contrast(ink, SURFACE) >= 4.5
    for triage, ground in drawing.TRIAGE_GROUND.items():
        for ink in (drawing.INK, drawing.CAUTION, drawing.QUIET, drawing.TRIAGE_TONE[triage]):
            assert contrast(ink, ground) >= 4.5
    assert contrast(PLAIN, SURFACE) >= 3, "bars are told from their field"


def test_the_same_page_for_two_patients() -> None:
    """No name is burned in: whoever shows the page shows whose it is."""
    other = header()
    other.PatientName, other.PatientID = "Somebody^Else", "P-43"
    page = draw_summary(bleeding(), pictures(bleeding()), CONTEXT)
    one, two = (build_summary(page, bleeding(), [source], CONTEXT) for source in (header(), other))
    assert one.PixelData == two.PixelData
    assert one.PatientName != two.PatientName


def test_drawing_again_gives_the_same_pixels() -> None:
    first, second = (draw_summary(bleeding(), pictures(bleeding()), CONTEXT, "A-1") for _ in range(2))
    assert first.tobytes() == second.tobytes()


def bars_in(finding: Finding) -> NDArray[np.bool_]:
    """Along the strip's large field, where something stands on its floor."""
    page = Image.new("RGB", (WIDTH, strip.HEIGHT), GROUND)
    strip.draw_strip(page, (0, 0), WIDTH, finding)
    floor = np.asarray(page, dtype=int)[strip._TITLE + strip._NUMBERS + strip._TALL - 1, strip._GUTTER :]
    return np.asarray(np.abs(floor - np.array(SURFACE)).sum(axis=-1) > 30)


def runs(along: NDArray[np.bool_]) -> int:
    return int((np.diff(np.concatenate([[0], along.astype(int)])) == 1).sum())


@pytest.mark.parametrize("slices", [1, 12, 36])
def test_every_slice_has_a_bar(slices: int) -> None:
    finding = conclude(prediction([[0.6] * 6] * slices), ReadingRule())
    assert runs(bars_in(finding)) == slices


def test_a_slice_with_nothing_on_it_differs_from_one_that_is_missing() -> None:
    whole = conclude(prediction([[0.0] * 6] * 12), ReadingRule())
    assert runs(bars_in(whole)) == 12
    kept = tuple(s for i, s in enumerate(whole.prediction.slices) if i not in (5, 6))
    broken = conclude(replace(whole.prediction, slices=kept), ReadingRule())
    along = bars_in(broken)
    assert runs(along) == 10
    assert not along[int(5.2 / 12 * len(along)) : int(6.8 / 12 * len(along))].any()


@given(
    st.lists(st.floats(0, 800), max_size=40).map(sorted),
    st.floats(1, 60),
)
def test_labels_never_touch_nor_leave_the_field(wanted: list[float], distance: float) -> None:
    placed = strip.apart(wanted, distance, 800.0)
    least = min(distance, 800.0 / max(len(wanted), 1))
    assert len(placed) == len(wanted)
    assert all(after - before >= least - 1e-6 for before, after in pairwise(placed))
    assert all(-1e-6 <= place <= 800 + 1e-6 for place in placed)
    if all(after - before >= least for before, after in pairwise(wanted)):
        assert placed == pytest.approx(wanted)


def test_letters_that_the_font_lacks_are_spelled_with_those_it_has() -> None:
    assert plain_letters("Schädelbasis, Größe: ½ – né\n山") == "Schadelbasis, Grosse: 1?2 ? ne ?"


@given(st.text(max_size=300), st.integers(40, 600))
def test_lines_are_never_longer_than_their_room(text: str, width: int) -> None:
    for line in (*wrapped(text, 15, width), fitted(plain_letters(text), 15, width)):
        assert width_of(line, 15) <= width
    if all(width_of(word, 15) <= width for word in plain_letters(text).split()):
        assert " ".join(wrapped(text, 15, width)) == plain_letters(text)


def test_the_page_begins_with_the_kind_that_is_called() -> None:
    leading = leading_kind(bleeding())
    assert leading is not None
    assert leading.name == "subdural"
    assert top_slice(bleeding()) == bleeding().prediction.slices[6]
    assert leading_kind(healthy()) is None


def test_where_no_kind_is_called_the_best_slice_of_any_is_shown() -> None:
    rows = [[0.01] * 6] * 12
    rows[4] = [0.97, 0.3, *rows[4][2:]]
    rows[8] = [0.6, 0.4, *rows[8][2:]]
    rule = ReadingRule(thresholds={name: Threshold(present_from=0.5, absent_below=0.2) for name in CLASSES})
    finding = conclude(prediction(rows), rule)
    assert leading_kind(finding) == finding.classes[1]
    assert top_slice(finding) == finding.prediction.slices[4]


def test_of_a_healthy_head_the_middle_is_shown_unless_a_slice_is_more_suspicious() -> None:
    assert top_slice(healthy(13)) == healthy(13).prediction.slices[6]
    rows = [[0.01] * 6] * 13
    rows[3] = [0.02, *rows[3][1:]]
    finding = conclude(prediction(rows), ReadingRule())
    assert top_slice(finding) == finding.prediction.slices[3]


def test_key_slices_are_numbered_from_the_feet() -> None:
    finding = bleeding()
    numbers = slice_numbers(finding)

    def number(key: SlicePrediction) -> int:
        return numbers[key.sop_instance_uid, key.frame_number]

    shown = [number(key) for key in marked_slices(finding)]
    assert shown == sorted(set(shown))
    assert {number(key) for found in finding.classes for key in found.key_slices} == set(shown)
    assert 7 in shown
