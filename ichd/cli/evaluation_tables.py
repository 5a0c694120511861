"""An evaluation on a terminal: what matters first, an interval beside every figure."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ichd.cli.output import console, table

if TYPE_CHECKING:
    from training.evaluation.figures import Evaluation, Report
    from training.evaluation.submission import Submission

#: More names than this belong into a file.
_NAMED = 5


def print_report(report: "Report") -> None:
    """The headline, tables by class, calls, comparison and caveats."""
    from training.evaluation.page import interval, p_value

    out, evaluation, subject = console(), report.evaluation, report.subject
    counts = evaluation.counts
    typer.echo(f"{subject.model} {subject.version} (weights {subject.weights_sha256[:12]}), {subject.engine}")
    typer.echo(
        f"{subject.data}, split {subject.split}: {counts.scans} scans of {counts.patients} patients, "
        f"{counts.slices} slices; haemorrhage in {counts.bleeding_scans} scans\n"
    )
    for line in _headline(report):
        typer.echo(line)
    typer.echo("")
    columns = ("class", "positive slices", "log loss", "AUC by slice, 95 % by patient", "positive scans")
    out.print(table(None, (*columns, "AUC by scan, 95 % DeLong"), _classes(evaluation)))
    typer.echo("")
    call_columns = ("call", "from", "sensitivity, 95 %", "specificity, 95 %", "found", "missed", "false alarms")
    typer.echo("Calls by scan, at the bundle's thresholds")
    out.print(table(None, call_columns, _calls(evaluation)))
    typer.echo("")
    value_columns = ("call", "prevalence", "PPV", "NPV")
    typer.echo("What a call is worth where haemorrhage is as common as this")
    out.print(table(None, value_columns, _values(evaluation)))
    if report.difference is not None and report.against is not None:
        typer.echo("")
        rows = (
            (name, interval(one.difference) if one else "–", p_value(one.p_value) if one else "–")
            for name, one in report.difference.by_class.items()
        )
        typer.echo(
            f"Less {report.against.model} {report.against.version} on the same scans; above 0, this one is better"
        )
        out.print(table(None, ("class", "difference of AUC by scan, 95 %", "p, DeLong"), rows))
        if report.difference.log_loss is not None:
            typer.echo(f"weighted log loss less by: {interval(report.difference.log_loss)} (below 0: better)")
    typer.echo("")
    for caveat in report.caveats:
        typer.echo(f"! {caveat}")


def print_submission(paths: Mapping[str, Path], submission: "Submission") -> None:
    """Where the files are, and of which images nothing but the prevalence is said."""
    typer.echo("")
    for path in paths.values():
        typer.echo(f"wrote {path}")
    if submission.guessed:
        named = ", ".join(submission.guessed[:_NAMED])
        more = f" and {len(submission.guessed) - _NAMED} more" if len(submission.guessed) > _NAMED else ""
        count = f"{len(submission.guessed)} of {submission.images} images"
        typer.echo(f"{count} were not read; they have the prevalence: {named}{more}")
    if submission.unasked:
        typer.echo(f"{submission.unasked} images were read that the sample submission does not ask for")


def _headline(report: "Report") -> Iterator[str]:
    evaluation = report.evaluation
    loss, around = evaluation.slices.log_loss, evaluation.slices.log_loss_interval
    if loss is not None:
        within = f" ({around.low:.4f} to {around.high:.4f})" if around else ""
        yield f"weighted log loss  {loss.weighted:.4f}{within}; prevalence alone {loss.baseline:.4f}"
    if evaluation.log_loss_unshared is not None:
        alone = evaluation.log_loss_unshared
        yield f"                   {alone.weighted:.4f} on {alone.rows} slices without patients of another split"
    if report.seconds_a_scan is not None:
        mirrored = report.seconds_a_scan_flipped
        cost = f"; {mirrored:.2f} s with its mirror image, which these figures are of" if mirrored else ""
        yield f"time               {report.seconds_a_scan:.2f} s a scan{cost}"


def _classes(evaluation: "Evaluation") -> Iterator[tuple[str, ...]]:
    from training.evaluation.page import figure, interval

    for name, by_slice in evaluation.slices.by_class.items():
        by_scan = evaluation.scans.by_class[name]
        yield (
            name,
            f"{by_slice.positives} of {by_slice.rows}",
            figure(by_slice.log_loss),
            interval(by_slice.auc_by_patient),
            f"{by_scan.positives} of {by_scan.rows}",
            interval(by_scan.auc),
        )


def _calls(evaluation: "Evaluation") -> Iterator[tuple[str, ...]]:
    from training.evaluation.page import share

    for one in evaluation.operations:
        point = one.point
        yield (
            f"{one.name} {one.call}",
            f"{point.threshold:.4f}",
            share(point.sensitivity),
            share(point.specificity),
            str(point.true_positives),
            str(point.false_negatives),
            str(point.false_positives),
        )


def _values(evaluation: "Evaluation") -> Iterator[tuple[str, ...]]:
    from training.evaluation.page import share

    for one in evaluation.operations:
        if one.name == "any":
            for at in one.at:
                yield (f"{one.name} {one.call}", f"{100 * at.prevalence:g} %", share(at.ppv), share(at.npv))
