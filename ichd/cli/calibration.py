"""calibrate."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from ichd.cli.invocation import refuse_unknown
from ichd.cli.output import AsJson, console, print_json, progress, table
from ichd.domain.wording import class_label, percent
from ichd.telemetry import configure_logging

if TYPE_CHECKING:
    from training.calibration.bundle import Calibrated


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(calibrate)


def calibrate(
    bundle: Annotated[str, typer.Option("--bundle", help="Name of a shipped bundle, or a bundle folder.")],
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Written by `ichd data pack`.")],
    out: Annotated[Path, typer.Option("--out", metavar="NEWBUNDLE", help="Folder of the new bundle.")],
    split: Annotated[str, typer.Option("--split", help="Of the data; never what the bundle learnt from.")] = "valid",
    method: Annotated[str, typer.Option("--method", help="platt, or isotonic where scans are many.")] = "platt",
    present_specificity: Annotated[
        float,
        typer.Option("--present-specificity", min=0.5, max=1.0, help="Share of scans without that are not called."),
    ] = 0.85,
    absent_sensitivity: Annotated[
        float,
        typer.Option("--absent-sensitivity", min=0.5, max=1.0, help="Share of scans with it that are not dismissed."),
    ] = 0.85,
    prevalence: Annotated[
        float | None,
        typer.Option("--prevalence", help="Share of head CTs with haemorrhage at your site; else that of the data."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Deals patients for cross-validation.")] = 0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Calibrate a bundle on held-out scans: what probabilities mean for a scan, and from where it is called.

    Writes another bundle with the same weights. What to know about prevalence is in docs/calibration.md.
    """
    from ichd.vision.bundle import find_bundle
    from training.calibration.bundle import calibrate_bundle
    from training.calibration.fit import Wish
    from training.calibration.scans import METHODS, Method
    from training.cases.index import SPLITS, Split
    from training.packed.dataset import open_packed
    from training.recipe import Reading

    configure_logging("warning")
    refuse_unknown("--method", [method], METHODS)
    refuse_unknown("--split", [split], SPLITS)
    wish = Wish(
        method=cast(Method, method),
        reading=Reading(present_specificity=present_specificity, absent_sensitivity=absent_sensitivity),
        prevalence=prevalence,
        seed=seed,
    )
    with progress() as bar:
        task = bar.add_task("reading", total=None)
        result = calibrate_bundle(
            find_bundle(bundle),
            open_packed(data),
            cast(Split, split),
            wish,
            out,
            device=device,
            on_scan=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if as_json:
        print_json(_as_dict(result, out))
    else:
        _show(result, out)


def _as_dict(result: "Calibrated", out: Path) -> dict[str, Any]:
    from dataclasses import asdict

    manifest = result.manifest
    return {
        "bundle": str(out),
        "bundle_sha256": manifest.identity.bundle_sha256,
        "scans": result.scans,
        "patients": result.patients,
        "not_calibrated": list(result.left),
        "epoch_chosen_on_these": result.chosen_on,
        "calibration": {name: c.model_dump(mode="json") for name, c in manifest.calibration.items()},
        "scan_calibration": {name: c.model_dump(mode="json") for name, c in manifest.scan_calibration.items()},
        "thresholds": {name: t.model_dump(mode="json") for name, t in manifest.thresholds.items()},
        "quality": {name: asdict(one) for name, one in result.quality.items()},
    }


def _show(result: "Calibrated", out: Path) -> None:
    manifest = result.manifest
    rows = [
        (
            class_label(name),
            f"{one.positives} of {one.scans}",
            f"{_figure(one.ece_before)} -> {_figure(one.ece_after)}",
            f"{_figure(one.brier_before)} -> {_figure(one.brier_after)}",
            f"{manifest.scan_calibration[name].growth:.2f}",
            percent(manifest.thresholds[name].absent_below),
            percent(manifest.thresholds[name].present_from),
            f"{one.sensitivity_present:.2f}",
            f"{one.specificity_not_present:.2f}",
            f"{one.missed_absent:.2f}",
        )
        for name, one in result.quality.items()
    ]
    columns = ("kind", "scans", "ECE", "Brier", "growth", "absent below", "present from", "sens.", "spec.", "missed")
    console().print(table(None, columns, rows))
    typer.echo(
        f"\n{result.scans} scans of {result.patients} patients; ECE, Brier and the last three columns by "
        "cross-validation over patients.\nsens.: called present, of scans with it; spec.: not called present, of scans "
        "without; missed: called absent, of scans with it."
    )
    if result.left:
        typer.echo(f"Too few patients to calibrate {', '.join(result.left)}: highest slice and thresholds as before.")
    if result.chosen_on:
        typer.echo("The epoch of the training was chosen on scans of these data: the figures may flatter a little.")
    moved = manifest.scan_calibration["any"].site_prevalence
    if moved is not None:
        typer.echo(f"Probabilities and thresholds are set to {percent(moved)} of scans with haemorrhage.")
    typer.echo(f"bundle: {out}")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
