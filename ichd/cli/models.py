"""model verify, model import, model export, model quantise."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ichd.cli import promotion
from ichd.cli.invocation import refuse_unknown, settings_of
from ichd.cli.output import AsJson, console, print_json, table
from ichd.domain.errors import UserError
from ichd.telemetry import configure_logging

group = typer.Typer(name="model", help="Model bundles.", no_args_is_help=True, rich_markup_mode=None)

Bundle = Annotated[str, typer.Argument(metavar="BUNDLE", help="Name of a shipped bundle, or a bundle folder.")]

#: What `model import` reads.
FORMATS = ("midl2020", "timm")


def register(app: typer.Typer) -> None:
    """Add the command group of this module."""
    promotion.register(group)
    app.add_typer(group)


@group.command("verify")
def verify_model(bundle: Bundle, as_json: AsJson = False) -> None:
    """Check a bundle: manifest, hash of the weights, shapes, and one pass through the network."""
    import numpy as np

    from ichd.vision.bundle import find_bundle, load_bundle
    from ichd.vision.engines.eager import EagerEngine
    from ichd.vision.engines.engine import Part

    folder: Path = find_bundle(bundle)
    loaded = load_bundle(folder)
    engine = EagerEngine(loaded, device="cpu")
    size = loaded.manifest.input.image_size
    air = Part(hu_SHW=np.zeros((2, size, size), dtype=np.int16), pixel_spacing_mm=(0.5, 0.5))
    probabilities = engine.classify(*engine.embed([air]))
    result = {
        "name": loaded.identity.name,
        "version": loaded.identity.version,
        "weights_sha256": loaded.identity.weights_sha256,
        "statement": loaded.identity.statement,
        "folder": str(folder),
        "finite": bool(np.isfinite(probabilities).all()),
    }
    if as_json:
        print_json(result)
    else:
        typer.echo(f"{result['name']} {result['version']}: weights {result['weights_sha256']}, ok")
        if result["statement"]:
            typer.echo(str(result["statement"]))
    if not result["finite"]:
        raise typer.Exit(1)


@group.command("import")
def import_model(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="Checkpoint or weights, .pth or .safetensors.")],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="midl2020: folder of the bundle; timm: a .safetensors file.")
    ],
    layout: Annotated[str, typer.Option("--format", help="midl2020: a published checkpoint; timm: a backbone.")],
    channel_order: Annotated[
        str | None, typer.Option("--channel-order", help="midl2020: window of each channel, as brain,subdural,bone.")
    ] = None,
    backbone: Annotated[
        str, typer.Option("--backbone", help="midl2020: auto, resnet50 or seresnext50; timm: timm's name of it.")
    ] = "auto",
    name: Annotated[str | None, typer.Option("--name", help="Of the model; else the name of OUT.")] = None,
    version: Annotated[str, typer.Option("--version", help="Of the model.")] = "midl2020",
    licence: Annotated[str | None, typer.Option("--licence", help="Of the weights; else that of their data.")] = None,
    statement: Annotated[str | None, typer.Option("--statement", help="Stands in every report.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a bundle of a published checkpoint, or a starting point of training of a backbone's weights.

    Nothing but tensors is read from FILE. What to know about licences and channel orders is in docs/models.md.
    """
    refuse_unknown("--format", [layout], FORMATS)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already; name another")
    if layout == "timm":
        result = _import_backbone(source, out, backbone)
    else:
        words = {"version": version, "licence": licence, "statement": statement}
        result = _import_published(source, out, backbone, channel_order, name or out.name, words)
    if as_json:
        print_json(result)
        return
    for key, value in result.items():
        typer.echo(f"{key}: {value}")


def _import_published(
    source: Path, out: Path, backbone: str, channel_order: str | None, name: str, words: dict[str, str | None]
) -> dict[str, Any]:
    from ichd.vision.bundle import save_bundle
    from ichd.vision.published import BACKBONES, published_manifest, read_published

    refuse_unknown("--backbone", [backbone], ("auto", *BACKBONES))
    if channel_order is None:
        raise UserError(
            "--channel-order is needed: a checkpoint does not say which window each channel showed; "
            "give brain,subdural,bone or the order that docs/models.md helps to find"
        )
    weights = read_published(source, backbone=backbone)
    given = {key: value for key, value in words.items() if value is not None}
    manifest = save_bundle(
        out, published_manifest(weights, channel_order=channel_order.split(","), name=name, **given), weights.state_dict
    )
    total, decoder = weights.parameters
    return {
        "bundle": str(out),
        "name": manifest.name,
        "backbone": manifest.network.backbone,
        "channels": [window.name for window in manifest.input.windows],
        "parameters": total,
        "decoder_parameters": decoder,
        "weights_sha256": manifest.weights.sha256,
        "checkpoint": dict(weights.origin),
        "licence": manifest.licence,
    }


def _import_backbone(source: Path, out: Path, backbone: str) -> dict[str, Any]:
    from ichd.vision.starting_point import import_backbone, save_starting_point

    if backbone == "auto":
        raise UserError("--backbone is needed: name the architecture in timm's words, for example resnet50")
    if out.suffix != ".safetensors":
        raise UserError(f"{out} must end in .safetensors: a starting point of training is a file, and no bundle")
    point = import_backbone(source, backbone)
    save_starting_point(out, point)
    return {
        "starting_point": str(out),
        "backbone": point.backbone,
        "tensors": len(point.state_dict),
        "source_sha256": point.source_sha256,
        "recipe": f'init = "{out}"',
    }


@group.command("export")
def export_model(
    bundle: Bundle,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File to write.")],
    onnx: Annotated[bool, typer.Option("--onnx", help="As one ONNX graph, HU to probabilities.")] = False,
    check: Annotated[bool, typer.Option(help="Compare it with torch, in every runtime at hand.")] = True,
    as_json: AsJson = False,
) -> None:
    """Write a bundle in a form that other programs run."""
    from ichd.app.export import export_onnx

    if not onnx:
        raise UserError("say in which form: --onnx is the one there is")
    export = export_onnx(bundle, out, check=check)
    if as_json:
        print_json({"file": str(export.path), "max_abs_diff": export.max_abs_diff})
        return
    typer.echo(str(export.path))
    for runtime, difference in export.max_abs_diff.items():
        typer.echo(f"  {runtime}: probabilities differ from torch by {difference:.1e} at most")


@group.command("quantise")
def quantise_model(
    context: typer.Context,
    bundle: Bundle,
    series: Annotated[
        list[Path] | None,
        typer.Option("--series", help="Folder with one head CT to calibrate on; may be repeated. Else phantoms."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make the int8 form of a bundle for model.precision = "int8", and measure on phantoms what it loses.

    It is kept in the folder of model.cache, with the figures.
    """
    from dataclasses import asdict

    from ichd.app.quantise import quantise_bundle
    from ichd.vision.engines.cache import EngineCache

    settings = settings_of(context)
    configure_logging("warning", settings.log.format)
    loss = quantise_bundle(bundle, EngineCache(Path(settings.model.cache)), series or [])
    if as_json:
        print_json(asdict(loss))
        return
    rows = ((name, f"{auc:.4f}", f"{loss.auc_int8[name]:.4f}") for name, auc in loss.auc_fp32.items())
    console().print(table(None, ("AUC by slice", "fp32", "int8"), rows))
    typer.echo(f"probabilities differ by {loss.max_abs_diff:.3f} at most, on {loss.measured_slices} slices of phantoms")
    typer.echo(f"{loss.slices_per_s_int8} slices a second, {loss.slices_per_s_fp32} in fp32")
