"""model list, model verify."""

from pathlib import Path
from typing import Annotated

import typer

from ichd.cli.output import AsJson, console, print_json, table

group = typer.Typer(name="model", help="Model bundles.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the command group of this module."""
    app.add_typer(group)


@group.command("list")
def list_models(as_json: AsJson = False) -> None:
    """The bundles that ship with this installation."""
    from ichd.vision.bundle import list_bundles, load_bundle

    identities = [(path, load_bundle(path).identity) for path in list_bundles()]
    if as_json:
        print_json(
            [
                {
                    "name": i.name,
                    "version": i.version,
                    "weights_sha256": i.weights_sha256,
                    "statement": i.statement,
                    "demonstration": i.demonstration,
                    "folder": str(path),
                }
                for path, i in identities
            ]
        )
        return
    rows = ((i.name, i.version, i.weights_sha256[:12], i.statement) for _, i in identities)
    console().print(table(None, ("name", "version", "weights", "statement"), rows))


@group.command("verify")
def verify_model(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Name of a shipped bundle, or a bundle folder.")],
    as_json: AsJson = False,
) -> None:
    """Check a bundle: manifest, hash of the weights, shapes, and one pass through the network."""
    import numpy as np

    from ichd.vision.bundle import find_bundle, load_bundle
    from ichd.vision.engines.eager import EagerEngine

    folder: Path = find_bundle(bundle)
    loaded = load_bundle(folder)
    engine = EagerEngine(loaded, device="cpu")
    size = loaded.manifest.input.image_size
    probabilities = engine.classify(engine.embed(np.zeros((2, size, size), dtype=np.int16), (0.5, 0.5)))
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
