"""backup, restore."""

from pathlib import Path
from typing import Annotated

import typer

from ichd.cli.invocation import settings_of
from ichd.cli.output import AsJson, print_json
from ichd.telemetry import configure_logging

#: More are counted, and stand in --json.
_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(backup)
    app.command()(restore)


def backup(
    context: typer.Context,
    to: Annotated[Path, typer.Argument(help="Folder of the backup; an earlier one there is brought up to date.")],
    as_json: AsJson = False,
) -> None:
    """Database, spool and promoted models into a folder, while the daemon runs; exit code 1 where files are missing."""
    from ichd.app.backup import back_up
    from ichd.app.clock import utc_now

    settings = settings_of(context)
    configure_logging("warning", settings.log.format)
    done = back_up(settings, to, now=utc_now())
    manifest, carried = done.manifest, done.carried
    if as_json:
        told = manifest.model_dump(mode="json")
        print_json(told | {"new": carried.new, "missing": carried.missing, "damaged": carried.damaged})
    else:
        typer.echo(
            f"{to}: {manifest.rows['study']} studies, {manifest.files} files ({carried.new} of them new), "
            f"{manifest.bytes / 1e6:.1f} MB"
        )
        if manifest.bucket is not None:
            typer.echo(f"images in {manifest.bucket} are not part of it: keep versions of that bucket")
        _complain(carried.missing, carried.damaged)
    if not done.is_whole:
        raise typer.Exit(1)


def restore(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="FROM", help="Folder that `ichd backup` wrote.")],
    as_json: AsJson = False,
) -> None:
    """A backup into an empty database and an empty spool; exit code 1 where files are missing or damaged."""
    from ichd.app.restore import restore as bring_back

    settings = settings_of(context)
    configure_logging("warning", settings.log.format)
    done = bring_back(settings, source)
    if as_json:
        told = {"made_at": done.manifest.made_at, "revision": done.revision, "rows": done.manifest.rows}
        told |= {"files": done.files, "models": done.models, "missing": done.missing, "damaged": done.damaged}
        print_json(told)
    else:
        typer.echo(
            f"{done.manifest.rows['study']} studies and {done.files} files are back as they were at "
            f"{done.manifest.made_at.astimezone():%Y-%m-%d %H:%M}; every file was read and compared"
        )
        _complain(done.missing, done.damaged)
    if not done.is_whole:
        raise typer.Exit(1)


def _complain(missing: list[str], damaged: list[str]) -> None:
    for what, names in (("missing", missing), ("damaged", damaged)):
        for name in names[:_SHOWN]:
            typer.echo(f"{what}: {name}", err=True)
        if len(names) > _SHOWN:
            typer.echo(f"{what}: {len(names) - _SHOWN} more; see --json", err=True)
