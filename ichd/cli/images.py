"""predict, send, phantom."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ichd.cli.invocation import refuse_unknown, settings_of
from ichd.cli.output import AsJson, console, print_json, progress, table
from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES, Presence
from ichd.domain.reason import Reason
from ichd.telemetry import configure_logging


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(predict)
    app.command()(send)
    app.command()(phantom)


def predict(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="DICOM files or folders.")],
    heatmaps: Annotated[
        Path | None,
        typer.Option("--heatmaps", metavar="FOLDER", help="Write the key slices of what was found there, as PNG."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--class", metavar="NAME", help="Heat maps of this class; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run the model on DICOM files, without daemon or database: one result a series.

    With --json, one series gives one object, in the shape of `ichd status STUDY --json`; several give a list of them.
    A heat map shows where in a slice the model saw a class that it calls or leaves undetermined.
    """
    from ichd.app.engine import load_reader
    from ichd.app.heatmaps import write_heat_maps
    from ichd.app.policies import reading_policy
    from ichd.app.predict import gather
    from ichd.app.predict import predict as predict_series
    from ichd.web.shape import reading_shape

    refuse_unknown("--class", only or [], CLASSES)
    if only and heatmaps is None:
        raise UserError("--class chooses heat maps; name their folder by --heatmaps")
    if heatmaps is not None and heatmaps.exists() and not heatmaps.is_dir():
        raise UserError(f"{heatmaps} is a file; name another folder by --heatmaps")
    settings = settings_of(context)
    configure_logging("warning", settings.log.format)
    gathered = gather(paths)
    for left in gathered.left_out:
        # Folders hold licences and notes beside images; what claims to be DICOM and can't be read is worth a line.
        if left.reason is not Reason.NOT_DICOM:
            typer.echo(f"left out {left.path}: {left.reason} ({left.detail})", err=True)
    reader, policy = load_reader(settings.model), reading_policy(settings)
    records = [reading_shape(record) for record in predict_series(gathered, reader, policy)]
    left_out = [
        {"path": str(f.path), "reason": str(f.reason), "detail": f.detail}
        for f in gathered.left_out
        if f.reason is not Reason.NOT_DICOM
    ]
    if heatmaps is not None:
        for record in records:
            record["heatmaps"] = write_heat_maps(record, gathered.files, reader, heatmaps, only=only or ())
    if as_json:
        for record in records:
            record["left_out"] = left_out
        print_json(records[0] if len(records) == 1 else records)
        _require_one_read(records)
        return
    shown = console()
    for record in records:
        _show_prediction(shown, record, only or ())
    _require_one_read(records)


def _require_one_read(records: Sequence[dict[str, Any]]) -> None:
    """Exit code 1 where the model read nothing at all."""
    if all(record["scan"] is None for record in records):
        raise typer.Exit(1)


def _show_prediction(shown: Any, record: dict[str, Any], only: Sequence[str] = ()) -> None:
    shown.print(f"series {record['series_uid']}", markup=False, soft_wrap=True)
    if record["scan"] is None:
        shown.print(f"  not analysed: {record['reason']} ({record['detail']})\n", markup=False, soft_wrap=True)
        return
    model = record["model"]
    shown.print(
        f"  {record['triage']}, {len(record['slices'])} slices, model {model['name']} {model['version']}", markup=False
    )
    if model["statement"]:
        shown.print(f"  {model['statement']}", markup=False, soft_wrap=True)
    for note in record["notes"]:
        shown.print(f"  note: {note}", markup=False, soft_wrap=True)
    if skip := record["daemon_would_skip"]:
        shown.print(
            f"  the daemon would not read this series: {skip['reason']} ({skip['detail']})",
            markup=False,
            soft_wrap=True,
        )
    if "heatmaps" in record:
        _show_heat_maps(shown, record["heatmaps"], record["presence"], only)
    rows = []
    for name in CLASSES:
        scores = [s["p"][name] for s in record["slices"]]
        top = scores.index(max(scores))
        where = f"slice {top + 1} of {len(scores)}, {record['slices'][top]['z_mm']:.1f} mm"
        rows.append((name, record["presence"][name], f"{record['scan'][name]:.3f}", where))
    shown.print(
        table(None, ("  finding", "presence", "probability", "highest on"), [(f"  {r[0]}", *r[1:]) for r in rows])
    )
    shown.print()


def _show_heat_maps(
    shown: Any, written: Sequence[dict[str, Any]], presence: Mapping[str, str], only: Sequence[str]
) -> None:
    """How many there are and where; of what there are none, unless that goes without saying."""
    if written:
        folder = Path(written[0]["path"]).parent
        shown.print(f"  {len(written)} heat maps in {folder}", markup=False, soft_wrap=True)
    absent = [name for name in only or CLASSES if presence[name] == Presence.ABSENT]
    if absent and (only or not written):
        shown.print(
            f"  no heat map of {', '.join(absent)}: absent, and heat shows where something is, not whether",
            markup=False,
            soft_wrap=True,
        )


def send(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="DICOM files or folders.")],
    to: Annotated[str, typer.Option("--to", metavar="AET@HOST:PORT", help="Receiver.")],
    as_json: AsJson = False,
) -> None:
    """Send DICOM files by C-STORE, as they are."""
    from ichd.publish.send import send_folder

    settings = settings_of(context)
    configure_logging("critical")
    peer = peer_from(to, settings.dicom.ae_title)
    with progress() as bar:
        task = bar.add_task("sending", total=None)
        summary = send_folder(peer, paths, progress=lambda done, total: bar.update(task, completed=done, total=total))
    if as_json:
        print_json(
            {
                "sent": summary.sent,
                "refused": [{"path": str(f.path), "status": f.status} for f in summary.refused],
                "skipped": [{"path": str(f.path), "reason": f.reason} for f in summary.skipped],
            }
        )
    else:
        typer.echo(f"{summary.sent} sent, {len(summary.refused)} refused, {len(summary.skipped)} skipped")
        for refused in summary.refused:
            typer.echo(f"refused {refused.path}: {refused.status}", err=True)
        for skipped in summary.skipped:
            typer.echo(f"skipped {skipped.path}: {skipped.reason}", err=True)
    if summary.refused or not summary.sent:
        raise typer.Exit(1)


def peer_from(address: str, calling_ae_title: str) -> Any:
    """A peer from AET@HOST:PORT.

    Raises:
        UserError: it is not of that form.
    """
    from ichd.publish.peer import DimsePeer

    ae_title, at, location = address.partition("@")
    host, colon, port = location.rpartition(":")
    is_ae_title = 0 < len(ae_title.strip()) <= 16 and ae_title.isascii() and ae_title.isprintable()
    if not (at and colon and is_ae_title and host and port.isdigit() and 0 < int(port) < 65536):
        raise UserError(
            f"{address!r} is not a receiver; write it as AET@HOST:PORT with an AE title of at most 16 characters, "
            "for example ICHD@127.0.0.1:11112"
        )
    return DimsePeer(
        name=ae_title,
        host=host.strip("[]"),
        port=int(port),
        ae_title=ae_title,
        calling_ae_title=calling_ae_title,
        timeout_s=30.0,
    )


def phantom(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the series and its truth.")],
    bleed: Annotated[list[str] | None, typer.Option("--bleed", metavar="KIND", help="May be repeated.")] = None,
    mimic: Annotated[list[str] | None, typer.Option("--mimic", metavar="KIND", help="May be repeated.")] = None,
    slices: Annotated[int, typer.Option("--slices", min=1, max=400, help="Number of slices.")] = 28,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same series.")] = 1,
    as_drawn: Annotated[
        bool, typer.Option("--as-drawn", help="Take the bleeds as the seed draws them, however faint; else plain ones.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a synthetic head CT series as DICOM, with its truth as truth.json and labels.npz."""
    from ichd.app.plain import plain_recipe
    from ichd.phantom import BLEED_KINDS, MIMIC_KINDS, PhantomRecipe, render, write_series, write_truth

    refuse_unknown("--bleed", bleed or [], BLEED_KINDS)
    refuse_unknown("--mimic", mimic or [], MIMIC_KINDS)
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; name a folder")
    if out.is_dir() and any(out.glob("*.dcm")):
        raise UserError(f"{out} holds DICOM files already, and two series would mix; name another folder")
    recipe = PhantomRecipe(seed=seed, bleeds=tuple(bleed or ()), mimics=tuple(mimic or ()), slices=slices)
    rendered = render(recipe if as_drawn else plain_recipe(recipe))
    files = write_series(rendered, out)
    write_truth(rendered, out)
    truth = {name: int(count) for name, count in zip(CLASSES, rendered.truth.sum(axis=0), strict=True)}
    if as_json:
        print_json({"out": str(out), "files": len(files), "positive_slices": truth})
        return
    typer.echo(f"{len(files)} slices in {out}; slices with haemorrhage, by kind:")
    for name, count in truth.items():
        typer.echo(f"  {name:<18}{count:>4}")
