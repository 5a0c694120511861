"""A statement as Markdown, as a page of its own, and as JSON."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict

import jinja2
from markupsafe import Markup, escape

from ichd.app.conformance.document import Block, Chapter, Table
from ichd.app.conformance.statement import Statement

_CODE = re.compile(r"`([^`]+)`")


def as_markdown(statement: Statement) -> str:
    """GitHub's Markdown."""
    lines = [f"# {_title(statement)}", "", f"Version {statement.version}, AE title `{statement.ae_title}`."]
    for number, chapter in _chapters(statement):
        lines += ["", f"{'#' * (number.count('.') + 2)} {number} {chapter.title}"]
        for block in chapter.blocks:
            lines += ["", *_markdown(block)]
    return "\n".join(lines) + "\n"


def as_html(statement: Statement) -> str:
    """A page that needs nothing else, to read and to print."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ichd.app.conformance"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["marked"] = _marked
    environment.tests["table"] = lambda block: isinstance(block, Table)
    environment.tests["list"] = lambda block: isinstance(block, tuple)
    chapters = [(number, min(number.count(".") + 2, 4), chapter) for number, chapter in _chapters(statement)]
    return environment.get_template("conformance.html").render(
        title=_title(statement), statement=statement, chapters=chapters
    )


def as_json(statement: Statement) -> str:
    """The facts, and the text by chapter."""
    facts = asdict(statement)
    facts["chapters"] = [
        {"number": number, "title": chapter.title, "blocks": [_plain(block) for block in chapter.blocks]}
        for number, chapter in _chapters(statement)
    ]
    return json.dumps(facts, indent=2, ensure_ascii=False) + "\n"


FORMATS: Mapping[str, Callable[[Statement], str]] = {"md": as_markdown, "html": as_html, "json": as_json}


def render(statement: Statement, form: str) -> str:
    """The statement in one of `FORMATS`."""
    return FORMATS[form](statement)


def _title(statement: Statement) -> str:
    return f"DICOM Conformance Statement of ichd {statement.version}"


def _chapters(statement: Statement) -> Iterator[tuple[str, Chapter]]:
    for place, chapter in enumerate(statement.chapters, start=1):
        yield from chapter.numbered(str(place))


def _markdown(block: Block) -> Iterator[str]:
    if isinstance(block, str):
        yield block
    elif isinstance(block, tuple):
        yield from (f"- {item}" for item in block)
    else:
        if block.caption:
            yield from (f"{block.caption}:", "")
        yield f"| {' | '.join(block.columns)} |"
        yield f"|{'---|' * len(block.columns)}"
        yield from (f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in block.rows)


def _plain(block: Block) -> object:
    if isinstance(block, Table):
        return {"caption": block.caption, "columns": list(block.columns), "rows": [list(row) for row in block.rows]}
    return list(block) if isinstance(block, tuple) else block


def _marked(text: str) -> Markup:
    """Escaped, with what stands in backticks as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped in the same breath
