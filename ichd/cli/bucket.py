"""bucket."""

from typing import TYPE_CHECKING, Annotated

import typer

from ichd.cli.invocation import settings_of
from ichd.cli.output import AsJson, console, print_json, table
from ichd.telemetry import configure_logging

if TYPE_CHECKING:
    from ichd.app.bucket import BucketReport

#: Images that are named to a person; --json names more.
_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(bucket)


def bucket(
    context: typer.Context,
    mend: Annotated[bool, typer.Option("--mend", help="Put right what this machine can.")] = False,
    as_json: AsJson = False,
) -> None:
    """Hold the spool's bucket against the database: objects that no row knows, images whose object is missing.

    Exit code 1 where an image is missing and stays so; docs/spool.md says what is mended, and how.
    """
    from ichd.app.bucket import look_into_bucket
    from ichd.app.checks import open_existing
    from ichd.app.clock import clock_of

    settings = settings_of(context)
    configure_logging("warning", settings.log.format)
    storage = open_existing(settings)
    report = look_into_bucket(storage, mend=mend, now=clock_of(storage.engine)())
    if as_json:
        print_json(report.to_dict())
    else:
        _show(report)
    if report.lost:
        raise typer.Exit(1)


def _show(report: "BucketReport") -> None:
    found, mended = report.inventory, report.mended
    rows = (
        ("no row knows it", found.forgotten, mended and f"{mended.set_aside} set aside in <spool.folder>.orphans"),
        ("its image was dropped", found.dropped, mended and f"{mended.removed} removed"),
        ("missing", [image.stored for image in found.missing], mended and f"{mended.owed_again} owed again from here"),
    )
    columns = ("what", "objects", "size", "mended")
    cells = (
        (what, str(len(files)), f"{sum(file.size for file in files) / 1e6:.1f} MB", done or "-")
        for what, files, done in rows
    )
    console().print(table(None, columns, cells))
    owed = sum(backlog.files for backlog in report.owed.values())
    typer.echo(f"\n{found.objects} objects in the bucket, {owed} images are still owed to it")
    studies = list(dict.fromkeys(image.study_uid for image in found.missing))
    for study_uid in studies[:_SHOWN]:
        typer.echo(f"misses images: {study_uid}")
    if len(studies) > _SHOWN:
        typer.echo(f"and {len(studies) - _SHOWN} more studies")
    if report.lost and mended is None:
        typer.echo("`ichd bucket --mend`, on each machine, brings back those of which there is a whole copy")
    elif report.lost:
        typer.echo("those that no machine has whole are to be sent again")
