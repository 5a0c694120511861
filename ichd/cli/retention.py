"""gc, forget."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ichd.cli.invocation import settings_of
from ichd.cli.output import AsJson, console, print_json, table
from ichd.domain.errors import UserError
from ichd.domain.retention import Cause, RetentionPolicy
from ichd.telemetry import configure_logging

if TYPE_CHECKING:
    from ichd.app.gc import Collected
    from ichd.store.erasure import Forgettable
    from ichd.store.kept import Amount


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(gc)
    app.command()(forget)


def gc(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing: say what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Drop the images that are due by age or for want of room, as workers do by themselves; results stay."""
    from ichd.app.checks import open_existing
    from ichd.app.clock import clock_of
    from ichd.app.gc import collect

    settings = settings_of(context)
    configure_logging("warning", settings.log.format)
    storage = open_existing(settings)
    collected = collect(settings, storage, dry_run=dry_run, now=clock_of(storage.engine)())
    if as_json:
        print_json(collected.to_dict())
    else:
        _show(collected)


def forget(
    context: typer.Context,
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Study Instance UID.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing: say what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove one finished study for good: images, findings, reports kept here, reviews.

    The audit trail stays, and says so. What destinations got stays there. Sent again, it is a new study.
    """
    from ichd.app.checks import open_existing
    from ichd.app.clock import clock_of
    from ichd.app.trail import user_name
    from ichd.store.asker import Asker
    from ichd.store.erasure import Erasure

    settings = settings_of(context)
    configure_logging("warning", settings.log.format)
    storage = open_existing(settings)
    erasure = Erasure(storage.engine, storage.spool)
    found = erasure.look(study)
    if not (yes or dry_run):
        if as_json:
            raise UserError("--json does not ask; add --yes, or --dry-run to see what would go")
        typer.echo(_what_is_there(found))
        typer.confirm("Remove it for good?", abort=True)
    if not dry_run:
        found = erasure.forget(study, asker=Asker(name=user_name(), address=""), now=clock_of(storage.engine)())
    if as_json:
        print_json({"dry_run": dry_run, **asdict(found)})
        return
    typer.echo(f"{_what_is_there(found)}\n{'would go' if dry_run else 'forgotten'}")
    if found.sent_to:
        typer.echo(
            f"its reports stay at {', '.join(found.sent_to)}: remove them there, too; "
            "should the study come again, its report has the same UIDs"
        )
    if settings.spool.is_bucket:
        typer.echo(
            "copies that other machines have at hand are moved to the folder `.orphans` beside their own by their next "
            "sweep: delete them there"
        )


def _what_is_there(found: "Forgettable") -> str:
    return (
        f"study {found.study_uid}: {found.images} images ({_size(found.bytes)}), {found.findings} findings, "
        f"{found.reviews} reviews"
    )


def _show(collected: "Collected") -> None:
    shown = console()
    dropped, policy = collected.dropped, collected.policy
    due = [(_cause_in_words(cause, policy), amount) for cause, amount in dropped.by.items()]
    title = "Would go" if collected.is_plan else "Dropped"
    shown.print(table(title, ("why", "studies", "images", "size"), (_row(words, amount) for words, amount in due)))
    if dropped.first:
        first = (
            (
                candidate.finished_at.astimezone().strftime("%Y-%m-%d %H:%M"),
                cause,
                str(candidate.amount.images),
                _size(candidate.amount.bytes),
                candidate.study_uid,
            )
            for candidate, cause in dropped.first
        )
        shown.print(table("\nFirst of them", ("finished", "why", "images", "size", "study"), first))
    stay = [_row(reason.meaning, amount) for reason, amount in collected.kept.items()]
    stay.append(("finished, and not due", str(collected.not_due), "-", "-"))
    shown.print(table("\nKept", ("why", "studies", "images", "size"), stay))
    marks = policy.watermarks
    then = "would be" if collected.is_plan else "is now"
    typer.echo(
        f"\ndisk: {dropped.used_before:.1%} was used, {dropped.used_after:.1%} {then}; "
        f"room is made from {marks.dropping_from:.1%} on, down to {marks.low:.0%}"
    )
    if dropped.still_short:
        typer.echo("no more can go: something else fills the disk, or what is kept does")


def _cause_in_words(cause: Cause, policy: RetentionPolicy) -> str:
    if cause is Cause.DISK:
        return "disk: the oldest, until there is room"
    if policy.keep_for is None:
        return "age: spool.retention_days is not set"
    return f"age: finished more than {policy.keep_for.total_seconds() / 86_400:g} days ago"


def _row(words: str, amount: "Amount") -> tuple[str, ...]:
    return (words, str(amount.studies), str(amount.images), _size(amount.bytes))


def _size(count: int) -> str:
    """Bytes in words, of three digits or so."""
    if count < 1 << 20:
        return f"{count / 1024:.0f} KiB"
    if count < 1 << 30:
        return f"{count / (1 << 20):.0f} MiB"
    return f"{count / (1 << 30):.1f} GiB"
