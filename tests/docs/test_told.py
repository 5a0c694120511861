"""Everything that a user can set, type or be told has a place in the manual."""

import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from ichd.domain.audit import AuditEvent
from ichd.domain.completeness import Closing
from ichd.domain.note import Remark
from ichd.domain.reason import Reason
from ichd.domain.study import StudyState
from ichd.settings import Settings
from tests.docs.test_pages import load_renderer

DOCS = Path(__file__).resolve().parents[2] / "docs"

#: What is told by a code, and the page on which it is explained.
TOLD: list[tuple[type[StrEnum], str]] = [
    (Reason, "reasons.md"),
    (Remark, "reasons.md"),
    (AuditEvent, "audit.md"),
    (Closing, "completeness.md"),
    (StudyState, "architecture.md"),
]


@pytest.mark.parametrize(("codes", "page"), TOLD, ids=lambda each: getattr(each, "__name__", each))
def test_every_code_is_explained(codes: type[StrEnum], page: str) -> None:
    text = (DOCS / page).read_text()
    assert [code.value for code in codes if not re.search(rf"\b{code.value}\b", text)] == []


def sections(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The model, and every table below it."""
    yield model
    for field in model.model_fields.values():
        for inner in models_in(field.annotation):
            yield from sections(inner)


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from models_in(argument)


def test_every_table_of_the_settings_is_on_their_page() -> None:
    """The page is written from a list of tables: one that is missing there would be missing in silence."""
    renderer = load_renderer()
    shown = {field.annotation for field in Settings.model_fields.values()} | set(renderer.INNER.values())
    assert [each.__name__ for each in sections(Settings) if each is not Settings and each not in shown] == []


def test_every_setting_says_what_it_means() -> None:
    silent = [
        f"{section.__name__}.{key}"
        for section in sections(Settings)
        if section is not Settings
        for key, field in section.model_fields.items()
        if not field.description
    ]
    assert silent == []


def test_every_option_says_what_it_means() -> None:
    rows = [line for line in (DOCS / "commands.md").read_text().splitlines() if line.startswith("| `")]
    assert len(rows) > 80
    assert [row for row in rows if row.endswith("|  |")] == []
