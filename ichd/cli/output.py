"""How commands print: tables and bars for people on a terminal, plain text in a pipe, JSON where it is asked for."""

import json
import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

#: Nothing wraps in a pipe: a record is a line, for grep and awk.
_PIPE_WIDTH = 2000


def console(*, stderr: bool = False) -> Console:
    """A console that neither colours nor wraps in a pipe."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else _PIPE_WIDTH, highlight=False, soft_wrap=False)


def print_json(value: Any) -> None:
    """One JSON value on standard output."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def table(title: str | None, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    """A table in the house's style; cells are text, never markup."""
    from rich.text import Text

    built = Table(
        title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold"
    )
    for column in columns:
        built.add_column(column, overflow="fold")
    for row in rows:
        built.add_row(*(Text(cell) for cell in row))
    return built


def progress() -> Progress:
    """A progress bar on standard error, each task with its description; silent in a pipe."""
    shown = console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=shown,
        disable=not shown.is_terminal,
    )
