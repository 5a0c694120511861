"""demo, doctor."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from ichd.cli.invocation import refuse_unknown, settings_of
from ichd.cli.output import AsJson, console, print_json, table
from ichd.domain.errors import UserError
from ichd.telemetry import configure_logging


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(demo)
    app.command()(doctor)


def demo(
    out: Annotated[Path | None, typer.Option("--out", help="Folder to work in; else a new one under var/demo.")] = None,
    bleed: Annotated[list[str] | None, typer.Option("--bleed", metavar="KIND", help="May be repeated.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the phantom.")] = 7,
) -> None:
    """The whole trip on this machine: phantom, C-STORE, daemon, Structured Report at a second AE."""
    import pydicom

    from ichd.app.demo import run_demo
    from ichd.phantom import BLEED_KINDS
    from ichd.report.printed import render_text
    from ichd.report.readable import read_report

    bleeds = bleed or ["subdural"]
    refuse_unknown("--bleed", bleeds, BLEED_KINDS)
    folder = out or Path("var/demo") / datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; name a folder with --out")
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty; name another folder with --out")
    configure_logging("critical")
    result = run_demo(folder, bleeds=bleeds, seed=seed, tell=lambda line: typer.echo(f"… {line}", err=True))
    typer.echo(f"\nTruth of the phantom ({result.slices} slices): slices that show blood, by kind")
    for name, count in result.truth.items():
        typer.echo(f"  {name:<18}{count:>4}")
    typer.echo("\nThe report, as the receiving AE wrote it to disk\n")
    typer.echo(render_text(read_report(pydicom.dcmread(result.report))))
    typer.echo(f"\nFrom association release to the report's arrival: {result.release_to_report_s:.1f} s")
    config = folder / "ichd.toml"
    typer.echo("\nWhere to look next")
    for command, what in (
        (str(result.page), "the summary page, as a viewer shows it"),
        (f"ichd report {result.report}", "the report again"),
        (f"ichd status --config {config}", "the study in the daemon's database"),
        (f"ichd predict {folder / 'phantom'}", "the model on the same files, without a daemon"),
        ("ichd doctor", "what a real installation still needs"),
    ):
        typer.echo(f"  {command}\n      {what}")


def doctor(context: typer.Context, as_json: AsJson = False) -> None:
    """Check settings, listener, database, spool, disk, model, device and every destination."""
    from ichd.app.doctor import examine

    settings = settings_of(context)
    configure_logging("critical")
    checks = list(examine(settings))
    if as_json:
        print_json([{"name": c.name, "ok": c.ok, "detail": c.detail} for c in checks])
    else:
        rows = ((c.name, "ok" if c.ok else "not ok", c.detail) for c in checks)
        console().print(table(None, ("check", "", "found, or how to mend it"), rows))
    if not all(c.ok for c in checks):
        raise typer.Exit(1)
