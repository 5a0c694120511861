"""`ichd predict` for people."""

import io

import pytest
from rich.console import Console

from ichd.cli.images import _show_prediction
from ichd.domain.reason import Reason
from ichd.domain.record import unread_record
from ichd.web.shape import reading_shape
from tests.web.worklist_of_all_states import record_of_scan


def shown(record: dict[str, object]) -> str:
    text = io.StringIO()
    _show_prediction(Console(file=text, width=160), reading_shape(record))
    return text.getvalue()


def test_a_reading_shows_its_notes_and_what_the_daemon_would_say() -> None:
    record = record_of_scan("1.2.3", {"any": 0.9, "epidural": 0.8}, slices=20, notes=("[2] slices are missing",))
    record["daemon_would_skip"] = {"reason": Reason.NOT_A_HEAD, "detail": "no skull"}

    text = shown(record)

    assert "series 1.2.3.1\n" in text
    assert "  note: [2] slices are missing\n" in text
    assert "the daemon would not read this series: not_a_head (no skull)" in text
    assert "0.800" in text


@pytest.mark.parametrize("series", ["1.2.3.1", None])
def test_a_series_that_was_not_read_shows_why(series: str | None) -> None:
    record = unread_record(
        study_uid="1.2.3",
        series_uid=series,
        state="not_analysed",
        reason="localizer",
        detail="2 of 2",
        software_version="1",
        skipped=(),
    )

    assert "not analysed: localizer (2 of 2)" in shown(record)
