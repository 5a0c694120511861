"""status, retry, reprocess."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from ichd.cli.invocation import settings_of
from ichd.cli.output import AsJson, console, print_json, table
from ichd.domain.finding import CLASSES
from ichd.domain.job import JobState
from ichd.domain.reason import Reason
from ichd.domain.study import StudyState
from ichd.telemetry import configure_logging

if TYPE_CHECKING:
    from ichd.store.listing import StudyDetail, StudySummary
    from ichd.store.refusals import Refusal
    from ichd.store.reviews import GivenReview

StudyUid = Annotated[str, typer.Argument(metavar="STUDY", help="Study Instance UID.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(status)
    app.command()(retry)
    app.command()(reprocess)


def status(
    context: typer.Context,
    study: Annotated[
        str | None, typer.Argument(metavar="[STUDY]", help="Study Instance UID; all when left out.")
    ] = None,
    state: Annotated[StudyState | None, typer.Option("--state", help="Only studies in this state.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="The newest so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Studies: their state, finding, jobs, deliveries and reviews; and what was refused at the door.

    With --json, one STUDY has the shape of `ichd predict --json` and of the status page's API.
    """
    from ichd.app.bucket import backlog_in_words, backlog_shape
    from ichd.app.checks import open_existing
    from ichd.app.clock import utc_now
    from ichd.app.promoted import model_trouble
    from ichd.store.arrivals import Arrivals
    from ichd.store.uploads import Uploads
    from ichd.web.shape import line_shape, refusal_shape, study_shape

    settings = settings_of(context)
    configure_logging("warning", settings.log.format)
    storage = open_existing(settings)
    if study is not None:
        detail = storage.studies.detail(study)
        if as_json:
            print_json(study_shape(detail))
        else:
            _show_detail(detail)
        return
    summaries = storage.studies.summaries(limit=limit, state=state)
    refusals = Arrivals(storage.engine).refusals(limit=limit)
    owed = dict(Uploads(storage.engine).backlogs())
    if as_json:
        print_json(
            {
                "studies": [line_shape(s) for s in summaries],
                "refusals": [refusal_shape(r) for r in refusals],
                "model_trouble": model_trouble(settings.model),
                "owed_to_bucket": {machine: backlog_shape(each) for machine, each in owed.items()},
            }
        )
        return
    dicom = settings.dicom
    _show_list(summaries, f"{dicom.ae_title}@{dicom.local_host}:{dicom.port}")
    _show_refusals(refusals)
    trouble = model_trouble(settings.model)
    if trouble is not None:
        typer.echo(f"\nmodel: {trouble}")
    if owed:
        typer.echo(f"\nbucket: {backlog_in_words(owed, now=utc_now())}")


def retry(context: typer.Context, study: StudyUid) -> None:
    """Put a study's dead or waiting jobs back into the queue, due now."""
    from ichd.app.checks import open_existing
    from ichd.app.clock import clock_of

    settings = settings_of(context)
    configure_logging("warning", settings.log.format)
    storage = open_existing(settings)
    jobs = storage.studies.retry(study, now=clock_of(storage.engine)())
    typer.echo(f"{jobs} {'job is' if jobs == 1 else 'jobs are'} back in the queue")


def reprocess(context: typer.Context, study: StudyUid) -> None:
    """Read a finished study again, as a new revision."""
    from ichd.app.checks import open_existing
    from ichd.app.clock import clock_of

    settings = settings_of(context)
    configure_logging("warning", settings.log.format)
    storage = open_existing(settings)
    storage.studies.reprocess(study, now=clock_of(storage.engine)())
    typer.echo("the study is in the queue again")


def _show_list(summaries: "list[StudySummary]", listener: str) -> None:
    if not summaries:
        typer.echo(f"no study has arrived yet; send one with `ichd send FOLDER --to {listener}`")
        return
    rows = (
        (
            _when(s.last_instance_at),
            s.accession_number or "-",
            s.state,
            _triage_in_words(s),
            f"{s.scan['any']:.3f}" if s.scan else "-",
            str(s.slices),
            str(s.revision),
            _deliveries_in_words(s),
            _review_in_words(s),
            _why(s.reason, s.detail),
            s.study_uid,
        )
        for s in summaries
    )
    columns = (
        "last image",
        "accession",
        "state",
        "triage",
        "any",
        "slices",
        "rev",
        "delivered",
        "review",
        "reason",
        "study",
    )
    console().print(table(None, columns, rows))


def _show_detail(detail: "StudyDetail") -> None:
    shown = console()
    summary = detail.summary
    lines = [
        ("study", summary.study_uid),
        ("accession", summary.accession_number or "-"),
        ("state", f"{summary.state}, revision {summary.revision}"),
        ("images", f"{summary.slices} in {summary.series} series, last at {_when(summary.last_instance_at)}"),
        *([("", words)] if (words := summary.images_gone) else []),
        ("closed by", f"{summary.closing}: {summary.closing.meaning}" if summary.closing else "still receiving"),
    ]
    if summary.closing_detail:
        lines.append(("", summary.closing_detail))
    if summary.reason:
        lines.append(("reason", f"{summary.reason}: {summary.reason.meaning}"))
        if summary.detail:
            lines.append(("", summary.detail))
    record = detail.record
    if summary.triage and not (record and record["scan"]):
        lines.append(("triage", _triage_in_words(summary)))
    if record and record["scan"]:
        model = record["model"]
        lines.append(("triage", record["triage"]))
        lines.append(("model", f"{model['name']} {model['version']}, weights {model['weights_sha256'][:12]}"))
        if model["statement"]:
            lines.append(("", model["statement"]))
        # Here, because the page's room loads a web framework, and every command would wait for it.
        from ichd.web.words import timing

        lines.append(("timings", ", ".join(" ".join(timing(*each)) for each in record["timings_ms"].items())))
    if record:
        lines += [("note", note) for note in record.get("notes", [])]
    for name, value in lines:
        shown.print(f"{name:<10} {value}", markup=False, soft_wrap=True)
    if record and record["scan"]:
        rows = ((name, record["presence"][name], f"{record['scan'][name]:.3f}") for name in CLASSES)
        shown.print(table("\nFinding", ("kind", "presence", "probability"), rows))
    series = (
        (s.series_uid, s.modality, str(s.slices), s.description or "-", _why(s.reason, s.detail)) for s in detail.series
    )
    shown.print(table("\nSeries", ("series", "modality", "slices", "description", "not read because"), series))
    jobs = (
        (
            j.kind,
            j.destination or "-",
            str(j.revision),
            "superseded" if j.superseded else j.state,
            str(j.attempt),
            _why(j.reason, j.detail),
        )
        for j in detail.jobs
    )
    shown.print(table("\nJobs", ("job", "destination", "rev", "state", "attempts", "last error"), jobs))
    receipts = (
        (
            d.receipt.destination,
            str(d.revision),
            _when(d.receipt.sent_at),
            d.receipt.status,
            d.receipt.proof,
            ", ".join(d.receipt.left_out) or "-",
            str(len(d.receipt.sop_instance_uids)),
            next(iter(d.receipt.sop_instance_uids), "-"),
        )
        for d in detail.deliveries
    )
    columns = ("destination", "rev", "at", "status", "proof", "not taken", "objects", "report")
    shown.print(table("\nDelivered", columns, receipts))
    _show_reviews(detail.summary.reviews)
    for conflict in detail.conflicts:
        shown.print(
            f"conflict: {Reason.CONFLICTING_DUPLICATE.meaning}: {conflict.sop_uid}", markup=False, soft_wrap=True
        )
    _show_refusals(detail.refusals)


def _show_reviews(reviews: "Sequence[GivenReview]") -> None:
    if not reviews:
        return
    rows = (
        (
            _when(given.review.received_at),
            given.review.reviewer or "-",
            given.review.agreement,
            str(given.revision),
            given.review.source,
            ", ".join(f"{name} {'yes' if there else 'no'}" for name, there in given.review.truth.items()) or "-",
        )
        for given in reviews
    )
    console().print(table("\nReviews", ("at", "reviewer", "finding", "rev", "by", "what is there"), rows))


def _show_refusals(refusals: "Sequence[Refusal]") -> None:
    if not refusals:
        return
    rows = (
        (_when(r.refused_at), r.calling_ae_title, r.address, r.reason, r.detail, r.sop_instance_uid or "-")
        for r in refusals
    )
    columns = ("at", "from", "address", "reason", "detail", "SOP Instance UID")
    console().print(table("\nRefused at the door", columns, rows))


def _triage_in_words(summary: "StudySummary") -> str:
    if summary.triage is None:
        return "-"
    outdated = summary.finding_revision is not None and summary.finding_revision < summary.revision
    return f"{summary.triage} (of revision {summary.finding_revision})" if outdated else str(summary.triage)


def _deliveries_in_words(summary: "StudySummary") -> str:
    publishing = [job for job in summary.jobs if job.destination]
    if not publishing:
        return "-"
    done = sum(job.state is JobState.DONE for job in publishing)
    return f"{done} of {len(publishing)}"


def _review_in_words(summary: "StudySummary") -> str:
    """The newest word on the finding that the line shows; an earlier finding's is no word on this one."""
    from ichd.store.reviews import standing

    return standing(summary.reviews, summary.finding_revision) or "-"


def _why(reason: Reason | None, detail: str) -> str:
    if reason is None:
        return "-"
    return f"{reason} ({detail})" if detail else str(reason)


def _when(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
