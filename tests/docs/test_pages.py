"""Documentation that follows from the code is up to date, and nothing that a user can type is undocumented."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import typer
from typer.main import get_command

from ichd.cli.main import app

ROOT = Path(__file__).resolve().parents[2]


def load_renderer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("render", ROOT / "docs/render.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", sorted(load_renderer().PAGES))
def test_a_reference_page_says_what_the_code_says(page: str) -> None:
    assert (ROOT / "docs" / page).read_text() == load_renderer().PAGES[page](), "run `python docs/render.py`"


def test_every_command_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    commands = get_command(app)
    for name in commands.list_commands(typer.Context(commands)):  # type: ignore[attr-defined]
        assert re.search(rf"\bichd {name}\b", readme), f"README.md does not mention `ichd {name}`"


def test_every_link_of_the_documentation_leads_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_no_page_is_a_dead_end() -> None:
    """Whoever has read one is led on; pages that are written from the code are looked things up in."""
    pages = {page.name: page.read_text() for page in (ROOT / "docs").glob("*.md")}
    named = {name: set(re.findall(r"\]\(([\w-]+\.md)", text)) - {name} for name, text in pages.items()}
    assert [name for name in sorted(pages) if not named[name] and name not in load_renderer().PAGES] == []
    led_to = {target for targets in named.values() for target in targets} | {"index.md"}
    assert sorted(pages.keys() - led_to) == []
