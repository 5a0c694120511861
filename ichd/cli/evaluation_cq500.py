"""eval cq500."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ichd.cli.invocation import refuse_unknown, settings_of
from ichd.cli.output import AsJson, console, print_json, progress, table
from ichd.telemetry import configure_logging

if TYPE_CHECKING:
    from training.evaluation.cq500 import CaseReading, Table2

#: Of studies that were not read, and of kinds of series, this many are named; the rest stand in the files.
_NAMED = 8


def register(group: typer.Typer) -> None:
    """Add the command of this module."""
    group.command("cq500")(cq500)


def cq500(
    context: typer.Context,
    bundle: Annotated[str, typer.Option("--bundle", help="Name of a shipped bundle, or a bundle folder.")],
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Where CQ500 was downloaded to.")],
    series: Annotated[
        list[str] | None,
        typer.Option(
            "--series",
            metavar="CHOICE",
            help="How a series is chosen: daemon (default), thin, thick or first; repeated, the others are compared.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for the files; else one under var/cq500.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Table 2 of the paper: AUC a scan on CQ500, beside what was published and Qure.ai's own predictions.

    Writes cq500.json, series.csv (which series was read, and why the others were not) and predictions.csv. Scans are
    read as the daemon reads them, with the engine and the rules of its settings. How to read the table: docs/cq500.md.
    """
    from ichd.app.cq500 import CHOICES, read_case
    from ichd.app.engine import load_reader
    from ichd.app.policies import reading_policy
    from ichd.vision.bundle import find_bundle
    from ichd.vision.manifest import read_manifest
    from training.cases.cq500 import find_cq500
    from training.evaluation.cq500 import require_never_learnt, table2
    from training.evaluation.cq500_files import facts_of, table_of, write_cq500

    choices = list(dict.fromkeys(series or ["daemon"]))
    refuse_unknown("--series", choices, CHOICES)
    settings = settings_of(context)
    configure_logging("warning", settings.log.format)
    manifest = read_manifest(find_bundle(bundle))
    require_never_learnt(manifest)
    found = find_cq500(data)
    reader = load_reader(settings.model.model_copy(update={"bundle": bundle}))
    by_choice: dict[str, list[CaseReading]] = {choice: [] for choice in choices}
    with progress() as bar:
        task = bar.add_task("reading", total=len(found.cases))
        for scan, read in found.cases:
            for choice, case in read_case(scan, read.truth_C, reader, reading_policy(settings), choices).items():
                by_choice[choice].append(case)
            bar.advance(task)
    tables = {choice: table2(cases, found.predictions) for choice, cases in by_choice.items()}
    folder = out or Path("var/cq500") / f"{manifest.name}-{manifest.version}"
    said: dict[str, Any] = {
        "model": {
            "name": manifest.name,
            "version": manifest.version,
            "weights_sha256": manifest.weights.sha256,
            "bundle_sha256": manifest.identity.bundle_sha256,
            "training_data": manifest.training_data,
            "statement": manifest.statement,
        },
        "engine": reader.engine.fingerprint,
        "data": facts_of(found),
        "choices": {choice: table_of(each) for choice, each in tables.items()},
        "folder": str(folder),
    }
    write_cq500(folder, by_choice, found.predictions, said)
    first = tables[choices[0]]
    if as_json:
        print_json(said)
    else:
        _show(said, by_choice[choices[0]], tables, choices[0])
    if not first.read:
        raise typer.Exit(1)


def _show(said: Mapping[str, Any], cases: "Sequence[CaseReading]", tables: "Mapping[str, Table2]", choice: str) -> None:
    shown, first = console(), tables[choice]
    model = said["model"]
    shown.print(f"CQ500, AUC a scan: {model['name']} {model['version']}", style="bold", markup=False)
    if model["statement"]:
        shown.print(model["statement"], markup=False)
    shown.print()
    shown.print(_table(first, model["name"]))
    shown.print()
    for line in _remarks(said["data"], first):
        shown.print(line, markup=False, soft_wrap=True)
    shown.print()
    shown.print(_series(cases, choice))
    if first.unread:
        shown.print()
        shown.print(_unread(first))
    if len(tables) > 1:
        shown.print()
        shown.print(_by_choice(tables))
    shown.print(f"\ncq500.json, series.csv and predictions.csv are in {said['folder']}", markup=False, soft_wrap=True)


def _table(first: "Table2", ours: str) -> Any:
    from training.evaluation.published import PUBLISHED

    columns = ["\nfinding", "\npositive", *(f"{p.name}\npublished" for p in PUBLISHED)]
    columns += ["Qure.ai\nrecomputed", f"{ours}\n95 % interval", "p against\nQure.ai"]
    rows = []
    for row in first.rows:
        p_value = "" if row.against_comparator is None else _p(row.against_comparator.p_value)
        interval = (
            "not defined" if row.ours is None else f"{row.ours.value:.4f} ({row.ours.low:.3f}–{row.ours.high:.3f})"
        )
        published = [f"{p.auc[row.name]:.4f}" for p in PUBLISHED]
        theirs = "" if row.comparator is None else f"{row.comparator.value:.4f}"
        rows.append((row.name, str(row.positives), *published, theirs, interval, p_value))
    return _right(table(None, columns, rows))


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _remarks(data: Mapping[str, Any], first: "Table2") -> Iterator[str]:
    """What the table rests on, and what is odd about it."""
    shared = first.rows[0].shared
    yield (
        f"Rests on {first.read} of {data['cases']} scans"
        + (f", the comparison with Qure.ai on {shared}." if shared != first.read else ".")
        + " Published figures have no interval; p is DeLong's test on the same scans."
    )
    rarest = min((row for row in first.rows if row.positives), key=lambda row: row.positives, default=None)
    if rarest is not None:
        yield f"With {rarest.positives} {rarest.name} among {first.read} scans, differences of 0.001 mean nothing."
    if data["without_prediction"] is None:
        yield "There is no prediction_probabilities.csv: nothing is recomputed or compared."
    if not data["as_published"]:
        counts = ", ".join(
            f"{name} {count} ({data['published_positives'][name]})" for name, count in data["positives"].items()
        )
        scans = f"{data['reads']} ({data['published_scans']}) scans"
        yield f"The reads are not those that were published, which stand in brackets: {scans}; {counts}."
    for key, words in (
        ("contradictions", "the majority sees a kind of haemorrhage and no haemorrhage (votes are taken as they are)"),
        ("without_read", "no read"),
        ("without_scan", "a read, and no scan"),
        ("without_prediction", "no prediction of Qure.ai's"),
        ("doubles", "there twice, the first is taken"),
    ):
        if data[key]:
            yield f"{len(data[key])} with {words}: {_some(data[key])}."


def _series(cases: "Sequence[CaseReading]", choice: str) -> Any:
    """Which kinds of series were read, the most frequent first."""
    lines = [case.chosen for case in cases if case.chosen is not None]
    kinds = Counter(
        (
            x.description or "no description",
            x.kernel or "not named",
            f"{x.thickness_mm:.1f}",
            "yes" if x.contrast else "no",
        )
        for x in lines
    )
    ordered = sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))
    rows = [(*kind, str(count)) for kind, count in ordered[:_NAMED]]
    if rest := sum(count for _, count in ordered[_NAMED:]):
        rows.append((f"{len(ordered) - _NAMED} other kinds", "", "", "", str(rest)))
    return table(f"Series read, by {choice}", ("description", "kernel", "mm", "contrast", "scans"), rows)


def _unread(first: "Table2") -> Any:
    """Who was not read, and what the table would be if they counted."""
    from rich.console import Group
    from rich.text import Text

    named = [(case.name, case.reason, case.detail) for case in first.unread[:_NAMED]]
    if len(first.unread) > _NAMED:
        named.append((f"and {len(first.unread) - _NAMED} more", "", "in predictions.csv"))
    counted = [(row.name, *(_auc(p) for p in (row.if_positive, row.if_negative))) for row in first.rows]
    return Group(
        table(f"Not read: {len(first.unread)}", ("study", "reason", "detail"), named),
        Text(""),
        _right(table("AUC if the unread had been called", ("finding", "positive", "negative"), counted)),
    )


def _by_choice(tables: "Mapping[str, Table2]") -> Any:
    columns = ("finding", *tables)
    rows = [
        (each[0].name, *("not defined" if row.ours is None else f"{row.ours.value:.4f}" for row in each))
        for each in zip(*(t.rows for t in tables.values()), strict=True)
    ]
    rows.append(("scans read", *(str(t.read) for t in tables.values())))
    return _right(table("AUC by choice of series", columns, rows))


def _right(built: Any) -> Any:
    """Figures stand under one another."""
    for column in built.columns[1:]:
        column.justify, column.no_wrap = "right", True
    built.columns[0].no_wrap = True
    return built


def _auc(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4f}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
