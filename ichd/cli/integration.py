"""conformance, commission."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ichd.cli.invocation import settings_of
from ichd.telemetry import configure_logging


class _Format(StrEnum):
    MD = "md"
    HTML = "html"
    JSON = "json"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(conformance)


def conformance(
    context: typer.Context,
    form: Annotated[_Format, typer.Option("--format", help="Markdown, a page, or JSON.")] = _Format.MD,
    out: Annotated[Path | None, typer.Option("--out", help="File to write; standard output else.")] = None,
) -> None:
    """A DICOM Conformance Statement (PS3.2) of this installation: what it negotiates with the settings that it has."""
    from ichd.app.conformance import render, statement_of

    settings = settings_of(context)
    configure_logging("critical")
    text = render(statement_of(settings), form)
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")
