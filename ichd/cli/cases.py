"""data index, data synthesise, export: what training starts from."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ichd.cli import packing
from ichd.cli.invocation import refuse_unknown, settings_of
from ichd.cli.output import AsJson, console, print_json, progress, table
from ichd.domain.errors import UserError
from ichd.telemetry import configure_logging

if TYPE_CHECKING:
    from training.cases.headers import OnProgress
    from training.cases.index import Index
    from training.cases.splits import SplitRule

group = typer.Typer(
    name="data", help="Data to train on and to measure on.", no_args_is_help=True, rich_markup_mode=None
)

LAYOUTS = ("rsna", "cq500")
SHARED_PATIENTS = ("keep", "drop")

_Processes = Annotated[int | None, typer.Option("--processes", min=1, help="To work with; else one a core.")]


def register(app: typer.Typer) -> None:
    """Add the command group and the command of this module."""
    packing.register(group)
    app.add_typer(group)
    app.command("export")(export)


@group.command("index")
def index_data(
    out: Annotated[Path, typer.Option("--out", help="Index to write, .parquet.")],
    rsna: Annotated[Path | None, typer.Option("--rsna", metavar="DIR", help="The RSNA 2019 data.")] = None,
    folder: Annotated[Path | None, typer.Option("--folder", metavar="DIR", help="A site's own DICOM files.")] = None,
    daemon: Annotated[Path | None, typer.Option("--daemon", metavar="DIR", help="What `ichd export` wrote.")] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="CSV of labels; of --rsna, else stage_2_train.csv.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the split by patient.")] = 0,
    valid: Annotated[float, typer.Option("--valid", min=0, max=1, help="Share of patients to validate on.")] = 0.05,
    test: Annotated[float, typer.Option("--test", min=0, max=1, help="Share of patients to test on.")] = 0.10,
    stage1_test: Annotated[
        Path | None, typer.Option("--stage1-test", metavar="FILE", help="Images of the paper's test set, one a line.")
    ] = None,
    shared_patients: Annotated[
        str, typer.Option("--shared-patients", help="Other studies of that set's patients: keep or drop.")
    ] = "keep",
    without_labels: Annotated[
        bool, typer.Option("--without-labels", help="Of --rsna: images of a submission.")
    ] = False,
    processes: _Processes = None,
    as_json: AsJson = False,
) -> None:
    """Read headers, join labels, split by patient: one row an image, in one file.

    What can't be used keeps its row, with the reason. docs/training-data.md says what the columns and files are.
    """
    from training.cases.index import write_index
    from training.cases.splits import SplitRule

    refuse_unknown("--shared-patients", [shared_patients], SHARED_PATIENTS)
    if sum(given is not None for given in (rsna, folder, daemon)) != 1:
        raise UserError("say what to index with one of --rsna, --folder and --daemon")
    if rsna is None and (stage1_test is not None or without_labels):
        raise UserError("--stage1-test and --without-labels belong to --rsna")
    rule = SplitRule(
        seed=seed,
        valid=valid,
        test=test,
        stage1_test=stage1_test,
        shared_patients="drop" if shared_patients == "drop" else "keep",
    )
    with progress() as bar:
        task = bar.add_task("headers", total=None)
        index = _index(
            (rsna, folder, daemon),
            labels,
            rule,
            without_labels=without_labels,
            processes=processes,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    write_index(out, index)
    if as_json:
        print_json({"index": str(out), **index.facts})
        return
    _show(index, out)


def _index(
    places: tuple[Path | None, Path | None, Path | None],
    labels: Path | None,
    rule: "SplitRule",
    *,
    without_labels: bool,
    processes: int | None,
    on_progress: "OnProgress",
) -> "Index":
    from training.cases.daemon import index_daemon
    from training.cases.folder import index_folder
    from training.cases.rsna import index_rsna

    rsna, folder, daemon = places
    if rsna is not None:
        return index_rsna(
            rsna,
            labels=labels,
            rule=rule,
            without_labels=without_labels,
            processes=processes,
            on_progress=on_progress,
        )
    if daemon is not None:
        if labels is not None:
            raise UserError("--daemon brings its labels along; leave --labels out")
        return index_daemon(daemon, rule=rule, processes=processes, on_progress=on_progress)
    if folder is None or labels is None:
        raise UserError("--folder needs --labels FILE.csv; docs/training-data.md says what stands in it")
    return index_folder(folder, labels=labels, rule=rule, processes=processes, on_progress=on_progress)


def _show(index: "Index", out: Path) -> None:
    from training.cases.summary import sections

    shown = console()
    for section in sections(index.facts):
        shown.print(table(section.title, section.columns, section.rows))
        shown.print(f"{section.note}\n" if section.note else "", markup=False, soft_wrap=True)
    shown.print(f"{out}: {len(index.images):,} rows", markup=False)


@group.command("synthesise")
def synthesise(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write.")],
    layout: Annotated[str, typer.Option("--layout", help="rsna or cq500.")] = "rsna",
    studies: Annotated[int, typer.Option("--studies", min=1, help="So many scans.")] = 12,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same bytes.")] = 0,
    rows: Annotated[int, typer.Option("--rows", min=32, max=1024, help="Rows and columns of an image.")] = 128,
    slices: Annotated[tuple[int, int], typer.Option("--slices", help="Fewest and most slices of a scan.")] = (10, 16),
    faults: Annotated[bool, typer.Option("--faults/--no-faults", help="Of rsna: what is odd in the real data.")] = True,
    ambiguous: Annotated[
        bool, typer.Option("--ambiguous", help="Of rsna: blood that only the neighbouring slices tell from calcium.")
    ] = False,
    processes: Annotated[int, typer.Option("--processes", min=1, help="Of rsna: to work with.")] = 1,
) -> None:
    """Write phantoms in the layout of a public data set, to try every step without it."""
    refuse_unknown("--layout", [layout], LAYOUTS)
    if layout == "cq500":
        from training.layouts.cq500 import write_cq500_layout

        write_cq500_layout(out, studies=studies, seed=seed, rows=rows, slices=slices)
    else:
        from training.layouts.rsna import write_rsna_layout

        with progress() as bar:
            task = bar.add_task("phantoms", total=studies)
            write_rsna_layout(
                out,
                studies=studies,
                seed=seed,
                rows=rows,
                slices=slices,
                faults=faults,
                ambiguous=ambiguous,
                processes=processes,
                on_progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
    typer.echo(str(out))


def export(
    context: typer.Context,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write; its headers name patients.")],
    link: Annotated[
        bool, typer.Option("--link", help="Images as hard links to the spool: no room, but never change them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Studies that readers have spoken about, with their images: input of `ichd data index --daemon`."""
    from ichd.app.checks import open_existing
    from ichd.app.export_cases import export_cases

    settings = settings_of(context)
    configure_logging("warning", settings.log.format)
    with progress() as bar:
        task = bar.add_task("studies", total=None)
        exported = export_cases(
            open_existing(settings),
            out,
            link=link,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if as_json:
        print_json(
            {
                "folder": str(out),
                "studies": exported.studies,
                "images": exported.images,
                "without_images": list(exported.without_images),
                "damaged": list(exported.damaged),
            }
        )
    else:
        typer.echo(f"{out}: {exported.studies} studies, {exported.images} images")
        for study_uid in exported.without_images:
            typer.echo(f"left out, its images are no longer stored: {study_uid}")
        for study_uid in exported.damaged:
            typer.echo(f"left out, an image is no longer what was received; send it again: {study_uid}")
    if exported.damaged:
        raise typer.Exit(1)
