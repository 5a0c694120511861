"""Which series is read: one case a row."""

import pytest

from ichd.domain.ranking import deciding
from ichd.domain.refusal import SelectionPolicy
from ichd.domain.selection import notes_on, select_series
from ichd.domain.study import SeriesFacts

from .series import IOHEXOL, REFORMAT, scan, study, thin, together, with_one
from .series_read import READ
from .series_skipped import SKIPPED

POLICY = SelectionPolicy()


#: Two series: the one that is read, the one that is not, and what decides.
BETTER: dict[str, tuple[SeriesFacts, SeriesFacts, str]] = {
    "a shorter native stack, that may be a child's head, before a longer one with agent": (
        scan(23, uid="1.2.9"),
        scan(28, contrast_agent=IOHEXOL),
        "contrast: none against given",
    ),
    "native before contrast": (
        scan(convolution_kernel="H60s", uid="1.2.9"),
        scan(contrast_agent=IOHEXOL),
        "contrast: none against given",
    ),
    "without gaps before with": (
        scan(27, convolution_kernel="H60s", uid="1.2.9"),
        with_one(scan(), image_position=(-125.0, -125.0, 180.0)),
        "gaps: 0 against 1",
    ),
    "no slice missing before one missing": (
        scan(26, convolution_kernel="H60s", uid="1.2.9"),
        together(scan(14), scan(14, start_mm=75.0)),
        "gaps: 0 against 1",
    ),
    "soft before sharp": (
        thin(convolution_kernel="H31s", uid="1.2.9"),
        scan(convolution_kernel="H60s"),
        "kernel: soft (H31s) against sharp (H60s)",
    ),
    "original before derived": (
        thin(uid="1.2.9"),
        scan(image_type=("DERIVED", "PRIMARY", "AXIAL")),
        "original: original against derived",
    ),
    "derived slices before reformats": (
        thin(uid="1.2.9", image_type=("DERIVED", "PRIMARY", "AXIAL")),
        scan(image_type=REFORMAT),
        "original: derived against reformat",
    ),
    "thick before thin": (scan(uid="1.2.9"), thin(), "thickness: 5 mm against 0.6 mm"),
    "thin before thicker than usual": (thin(uid="1.2.9"), scan(16, spacing_mm=9.0), "thickness: 0.6 mm against 9 mm"),
    "more slices": (scan(30, uid="1.2.9"), scan(28), "positions: 30 against 28"),
    "first UID": (scan(), scan(uid="1.2.9"), "nothing but the order of their UIDs"),
}


@pytest.mark.parametrize("case", READ)
def test_read(case: str) -> None:
    series, remarks = READ[case]
    selection = select_series(study(series), POLICY)
    assert len(selection.candidates) >= 1, selection.refused
    best = selection.candidates[0]
    assert len(best.stack.instances) >= 10
    assert {note.remark for note in notes_on(best.stack)} == remarks


@pytest.mark.parametrize("case", SKIPPED)
def test_skipped(case: str) -> None:
    series, reason, detail = SKIPPED[case]
    selection = select_series(study(series), POLICY)
    assert selection.candidates == ()
    (refused,) = selection.refused
    assert refused.refusal is not None
    assert (refused.stack.series_instance_uid, refused.refusal.reason, refused.refusal.detail) == (
        "1.2.1",
        reason,
        detail,
    )


@pytest.mark.parametrize("case", BETTER)
def test_better(case: str) -> None:
    better, worse, decided = BETTER[case]
    for order in ((better, worse), (worse, better)):
        selection = select_series(study(*order), POLICY)
        first, second = selection.candidates
        assert first.stack.series_instance_uid == better.series_instance_uid
        assert deciding(first.score, second.score) == decided


def test_every_case_of_the_table_says_what_it_was_made_for() -> None:
    """A row whose series is that of another row by mistake would prove nothing."""
    for table in (READ, SKIPPED):
        cases = [(case, series) for case, (series, *_) in table.items()]
        twins = [(a, b) for n, (a, one) in enumerate(cases) for b, other in cases[:n] if one == other]
        assert twins == []
