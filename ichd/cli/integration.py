"""conformance, commission."""

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ichd.cli.images import peer_from
from ichd.cli.invocation import settings_of
from ichd.cli.output import AsJson, console, print_json, table
from ichd.domain.errors import UserError
from ichd.telemetry import configure_logging

if TYPE_CHECKING:
    from ichd.app.commission import Acceptance


class _Format(StrEnum):
    MD = "md"
    HTML = "html"
    JSON = "json"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(conformance)
    app.command()(commission)


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


def commission(
    context: typer.Context,
    to: Annotated[str, typer.Option("--to", metavar="NAME", help="The [[destination]] that is asked for the reports.")],
    bleeds: Annotated[
        str,
        typer.Option("--bleeds", metavar="KINDS", help="all, none, or kinds with commas; a healthy head always goes."),
    ] = "all",
    via: Annotated[
        str | None,
        typer.Option(
            "--via", metavar="AET@HOST:PORT", help="Send to an archive that routes to us; else to our listener."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="The report; JSON goes beside it.")] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1.0, help="Longest wait for one report, seconds from its last image.")
    ] = 300.0,
    keep: Annotated[bool, typer.Option("--keep/--clean", help="Keep the phantoms that were sent, beside it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take synthetic heads along the live route to an archive and back, and write an acceptance report.

    Exit code 0 only if every study passed every point.
    """
    from ichd.app.commission import Plan, write_report
    from ichd.app.commission import commission as take
    from ichd.app.commission.phantoms import chosen
    from ichd.phantom import BLEED_KINDS

    settings = settings_of(context)
    configure_logging("critical")
    try:
        cases = chosen(bleeds)
    except ValueError as error:
        raise UserError(f"--bleeds {error} is unknown; use all, none, or some of {', '.join(BLEED_KINDS)}") from None
    page = out or Path(f"acceptance-{to}-{datetime.now().astimezone():%Y%m%d-%H%M%S}.html")
    plan = Plan(
        to=to,
        cases=cases,
        via=None if via is None else peer_from(via, settings.dicom.ae_title),
        timeout_s=timeout,
        keep_in=page.with_suffix("") if keep else None,
    )
    acceptance = take(settings, plan, tell=lambda line: typer.echo(f"… {line}", err=True))
    written, beside = write_report(acceptance, page)
    if as_json:
        print_json(acceptance.to_dict() | {"report": str(written)})
    else:
        _show(acceptance)
        typer.echo(f"report in {written}, figures in {beside}")
        if acceptance.cases:
            typer.echo("the studies stay: `ichd forget STUDY` removes one here, the report lists them for the archive")
    if not acceptance.passed:
        raise typer.Exit(1)


def _show(acceptance: "Acceptance") -> None:
    shown = console()
    for check in acceptance.checks:
        if not check.ok and check.name not in acceptance.beside_the_route:
            shown.print(f"{check.name}: {check.detail}", markup=False, soft_wrap=True)
    rows = [
        (
            case.trip.study.name,
            "passed" if case.passed else "FAILED",
            "-" if case.trip.archived_s is None else f"{case.trip.archived_s:.1f} s",
            "; ".join(f"{p.name}: {p.found}, not {p.expected}. {p.note}".strip() for p in case.points if not p.ok),
        )
        for case in acceptance.cases
    ]
    if rows:
        shown.print(table(None, ("study", "", "at the archive after", "what is wrong"), rows))
    typer.echo("PASSED" if acceptance.passed else "FAILED")
