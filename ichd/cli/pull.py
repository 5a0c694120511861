"""pull."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from ichd.cli.invocation import settings_of
from ichd.cli.output import AsJson, console, print_json, progress, table
from ichd.domain.errors import UserError
from ichd.telemetry import configure_logging

if TYPE_CHECKING:
    from ichd.domain.reason import Reason
    from ichd.intake.ask.errand import Errand
    from ichd.intake.ask.pull import Fetched, Pull

_USUAL_PRIORS = 3


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(cls=_PriorsMayBeBare)(pull)


class _PriorsMayBeBare(TyperCommand):
    """`--priors` without a number means the usual one; Typer has no options with a value that may be left out."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the number in."""
        whole: list[str] = []
        for place, argument in enumerate(args):
            whole.append(argument)
            if argument == "--priors" and not (args[place + 1 :] and args[place + 1].isdigit()):
                whole.append(str(_USUAL_PRIORS))
        return super().parse_args(ctx, whole)


def pull(
    context: typer.Context,
    source: Annotated[str, typer.Option("--from", metavar="NAME", help="A [[source]] of the settings.")],
    study: Annotated[str | None, typer.Option("--study", metavar="UID", help="One study.")] = None,
    accession: Annotated[str | None, typer.Option("--accession", metavar="N", help="All of that number.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="2h", help="All that began since: 30m, 2h, 1d.")
    ] = None,
    priors: Annotated[
        int,
        typer.Option(
            "--priors",
            min=0,
            max=100,
            help=f"Also N earlier head CTs of each patient; {_USUAL_PRIORS} without N.",
        ),
    ] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is missing, fetch nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch CT images from an archive: what is here already is not fetched again, what broke off goes on.

    Exit code 1 where images could not be fetched; 2 where the archive has no such study.
    """
    from ichd.app.pull import pulling, studies_meant

    settings = settings_of(context)
    configure_logging("critical")
    # Studies carry the time of day where they were made, which is taken for ours.
    meant = studies_meant(study=study, accession=accession, since=since, now=_here())
    started = time.monotonic()
    with pulling(settings, source) as pulled:
        errands = pulled.look(meant.query, since=meant.since, priors=priors)
        if not errands and meant.since is None:
            raise UserError(f"{source} has no CT images of such a study; check the number and the name of the source")
        if dry_run:
            _show_missing(errands, source, as_json=as_json)
            return
        fetched = _fetch(pulled, errands)
    _show(_Outcome(source=source, fetched=fetched, seconds=time.monotonic() - started), as_json=as_json)
    if any(each.missing for each in fetched):
        raise typer.Exit(1)


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    source: str
    fetched: "Sequence[Fetched]"
    seconds: float

    @property
    def came(self) -> int:
        return sum(each.came for each in self.fetched)

    @property
    def missing(self) -> int:
        return sum(each.missing for each in self.fetched)

    @property
    def images(self) -> int:
        return sum(each.errand.images + each.errand.unnamed for each in self.fetched)


def _here() -> Any:
    from ichd.app.clock import utc_now

    return utc_now().astimezone()


def _fetch(pulled: "Pull", errands: "Sequence[Errand]") -> "list[Fetched]":
    total = sum(errand.missing for errand in errands)
    due = sum(1 for errand in errands if errand.wanted)
    fetched: list[Fetched] = []
    with progress() as bar:
        task = bar.add_task("asking", total=total)
        started = time.monotonic()

        def tell(images: int) -> None:
            bar.advance(task, images)
            done = sum(1 for each in fetched if each.errand.wanted)
            rate = bar.tasks[0].completed / max(time.monotonic() - started, 1e-3)
            bar.update(task, description=f"study {min(done + 1, due)} of {due}, {rate:.0f} images/s")

        # One at a time: `tell` looks at those that are done.
        fetched.extend(pulled.fetch(errands, tell))
    return fetched


def _show(outcome: _Outcome, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "source": outcome.source,
                "images": outcome.images,
                "fetched": outcome.came,
                "missing": outcome.missing,
                "seconds": round(outcome.seconds, 3),
                "studies": [
                    _errand_shape(each.errand)
                    | {
                        "fetched": each.came,
                        "missing": each.missing,
                        "reasons": {str(reason): count for reason, count in each.troubles.items()},
                        "detail": each.detail,
                    }
                    for each in outcome.fetched
                ],
            }
        )
        return
    if not outcome.fetched:
        typer.echo(f"{outcome.source} has no newer CT images")
        return
    if outcome.images and not outcome.came and not outcome.missing:
        typer.echo(f"all {outcome.images} images are here already, nothing was fetched")
        return
    rows = (
        (
            each.errand.study.study_uid,
            "prior" if each.errand.prior else "",
            str(each.errand.images + each.errand.unnamed),
            str(each.came),
            str(each.missing),
        )
        for each in outcome.fetched
    )
    console().print(table(None, ("study", "", "images", "fetched", "missing"), rows))
    rate = outcome.came / max(outcome.seconds, 1e-3)
    typer.echo(f"{outcome.came} fetched in {outcome.seconds:.1f} s ({rate:.0f}/s), {outcome.missing} missing")
    _show_troubles(outcome.fetched)


def _show_troubles(fetched: "Sequence[Fetched]") -> None:
    counts: Counter[Reason] = Counter()
    details: dict[Reason, str] = {}
    for each in fetched:
        if each.missing:
            counts.update(each.troubles)
            details |= {reason: each.detail for reason in each.troubles if each.detail}
    for reason, count in counts.most_common():
        detail = f" ({details[reason]})" if reason in details else ""
        typer.echo(f"{count} missing, {reason}: {reason.meaning}{detail}", err=True)


def _show_missing(errands: "Sequence[Errand]", source: str, *, as_json: bool) -> None:
    if as_json:
        shapes = [_errand_shape(errand) | {"missing": errand.missing + errand.unnamed} for errand in errands]
        print_json({"source": source, "studies": shapes})
        return
    rows = (
        (e.study.study_uid, "prior" if e.prior else "", str(e.images + e.unnamed), str(e.missing + e.unnamed))
        for e in errands
    )
    console().print(table(None, ("study", "", "images", "missing here"), rows))


def _errand_shape(errand: "Errand") -> dict[str, Any]:
    return {
        "study_uid": errand.study.study_uid,
        "prior": errand.prior,
        "images": errand.images + errand.unnamed,
        "held_before": errand.images - errand.missing,
    }
