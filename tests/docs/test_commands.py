"""Every `ichd ...` line in the manual is one that the program takes."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from typer.main import get_command

from ichd.cli.main import app, hoist

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("deploy/**/README.md"), *ROOT.glob("docs/*.md")]
)

#: What stands before a command, and what ends it.
_CALL = re.compile(r"^(?:sudo -u ichd )?(?:/opt/ichd/bin/|\.venv/bin/)?ichd (?P<rest>.*)$")
_ENDS = re.compile(r"\s&&\s|\s\|\s|;\s|\s#|\s>\s")
#: How a synopsis marks what may be left out, repeated or chosen.
_NOTATION = re.compile(r"[\[\]]|\.\.\.$")


def spoken(page: Path) -> Iterator[tuple[str, bool]]:
    """The command lines of a page, without the program's name; and whether each is meant to be typed as it stands."""
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text()):
        if token.type in {"fence", "code_block"}:
            for line in token.content.splitlines():
                for part in re.split(r"\s&&\s", line.strip()):
                    if call := _CALL.match(part):
                        yield _ENDS.split(call["rest"])[0], True
        for inner in token.children or ():
            if inner.type == "code_inline" and (call := _CALL.match(inner.content)):
                yield _ENDS.split(call["rest"])[0], False


def complaint(line: str, *, whole: bool) -> str | None:
    """What the program says to a line that it does not take; a mention in a sentence may leave arguments out."""
    words = [_NOTATION.sub("", word) for word in shlex.split(line)]
    try:
        understand(["1" if word == "N" else word for word in words if word])
    except Exception as error:
        kinds = {kind.__name__ for kind in type(error).__mro__}
        # By name: of Typer's versions some bring these classes along, and others have click's.
        if "UsageError" not in kinds:
            raise
        left_out = kinds & {"MissingParameter", "NoArgsIsHelpError", "BadOptionUsage"}
        return None if left_out and not whole else type(error).__name__ + f": {error}"
    return None


def understand(words: list[str]) -> None:
    """Parse a line as the program does, and do nothing."""
    command: Any = get_command(app)
    context, words = None, hoist(words)
    while True:
        context = command.make_context(command.name, words, parent=context)
        if not hasattr(command, "commands"):
            return
        _, command, words = command.resolve_command(context, [*context._protected_args, *context.args])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_program_takes_what_a_page_says(page: Path) -> None:
    refused = {line: said for line, whole in spoken(page) if (said := complaint(line, whole=whole))}
    assert refused == {}


def test_lines_that_the_program_does_not_take_are_found() -> None:
    assert complaint("serve", whole=True) is None
    assert complaint("serf", whole=False)
    assert complaint("status --jsonn", whole=False)
    assert complaint("model", whole=False) is None
    assert complaint("model promote", whole=False) is None
    assert complaint("model promote", whole=True)
    assert complaint("status --limit many", whole=True)
