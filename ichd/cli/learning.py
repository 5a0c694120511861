"""train."""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from ichd.cli.output import AsJson, print_json, progress
from ichd.domain.errors import UserError
from ichd.telemetry import configure_logging


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(train)


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Name of a shipped recipe, or a recipe file.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the run: checkpoints, journal, metrics, bundle.")],
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder that `ichd data pack` wrote; or where phantoms are kept.")
    ] = None,
    init: Annotated[
        str | None,
        typer.Option("--init", help='Starting point: a file, "timm:NAME", or "none"; else as the recipe says.'),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A key of the recipe; may be repeated.")
    ] = None,
    show_batch: Annotated[
        Path | None, typer.Option("--show-batch", metavar="PNG", help="Draw the first batch, as augmented, and stop.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a model from a recipe; ends in OUT/bundle and OUT/metrics.json.

    A run that was stopped or killed goes on with the same command. On several GPUs or machines:
    torchrun --nproc-per-node N -m ichd train RECIPE ...
    """
    from training.run import Stage
    from training.run import train as run_training

    configure_logging("warning")
    overrides = dict(_change(text) for text in changes or [])
    if init is not None:
        overrides["init"] = None if init == "none" else init
    if show_batch is not None:
        from training.show import draw_first_batch

        typer.echo(str(draw_first_batch(recipe, out, show_batch, overrides=overrides, data=data)))
        return
    with progress() as bar:
        # Of several processes, one speaks.
        bar.disable = bar.disable or int(os.environ.get("RANK", "0")) > 0
        task = bar.add_task(recipe, total=None)

        def show(stage: Stage) -> None:
            bar.update(task, completed=stage.done, total=stage.total, description=f"{stage.name} {stage.detail}")

        result = run_training(recipe, out, overrides=overrides, data=data, device=device, on_stage=show)
    if not result.metrics:
        # Another process of the same run speaks.
        return
    if as_json:
        print_json({"bundle": str(result.bundle), "metrics": result.metrics})
        return
    typer.echo(f"bundle: {result.bundle}\nmetrics: {out / 'metrics.json'}\n{result.minutes:.0f} minutes")


def _change(text: str) -> tuple[str, Any]:
    """ "optimisation.epochs=3" to its key and its value, which is written as in TOML; a bare word is text."""
    key, given, value = text.partition("=")
    if not given or not key:
        raise UserError(f"--set {text!r} is no KEY=VALUE, as in --set optimisation.epochs=3")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()
