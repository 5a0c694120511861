"""The `ichd` command: global options, and errors as one sentence."""

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ichd import __version__
from ichd.cli import (
    accounts,
    audit,
    backup,
    calibration,
    cases,
    daemon,
    evaluation,
    images,
    integration,
    learning,
    models,
    pull,
    reports,
    retention,
    studies,
    system,
)
from ichd.cli.invocation import Invocation
from ichd.domain.errors import IchdError, UserError

app = typer.Typer(
    name="ichd",
    help="Head CT haemorrhage triage: a study comes in by DICOM, a Structured Report goes back to the PACS.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for commands in (
    accounts,
    daemon,
    studies,
    retention,
    audit,
    images,
    integration,
    reports,
    pull,
    models,
    cases,
    learning,
    evaluation,
    calibration,
    backup,
    system,
):
    commands.register(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ichd {__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Settings file; else $ICHD_CONFIG, ./ichd.toml, /etc/ichd/ichd.toml, defaults."),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    del version
    context.obj = Invocation(config=config, debug=debug)


def hoist(arguments: Sequence[str]) -> list[str]:
    """The arguments with the global options in front, so that they may stand anywhere on the line."""
    front: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--":
            rest += [argument, *waiting]
        elif argument == "--config":
            front += [argument, *([value] if (value := next(waiting, None)) is not None else [])]
        elif argument == "--debug" or argument.startswith("--config="):
            front.append(argument)
        else:
            rest.append(argument)
    return front + rest


def main() -> None:
    """Exit code 0: done; 1: it could not be done; 2: the command line, settings or input must be mended."""
    arguments = hoist(sys.argv[1:])
    try:
        app(arguments)
    except BrokenPipeError:
        # The reader of our output went away, as `| head` does; closing stderr keeps Python from complaining about it.
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the last frame: what nobody named still ends as a sentence
        if "--debug" in arguments:
            traceback.print_exc()
        typer.echo(f"ichd: {_sentence(error)}", err=True)
        sys.exit(2 if isinstance(error, UserError) else 1)


def _sentence(error: Exception) -> str:
    if isinstance(error, IchdError):
        return str(error)
    if isinstance(error, OSError):
        subject = f"{error.filename}: " if error.filename else ""
        return f"{subject}{error.strerror or type(error).__name__}; mend that, or name another path"
    # Its message may quote a data set; --debug is for those who may see it.
    return f"a defect of ichd: {type(error).__qualname__}; run again with --debug and report what it shows"
