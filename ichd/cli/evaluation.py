"""eval rsna: how well a bundle reads scans that it has not learnt from."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ichd.cli import evaluation_cq500
from ichd.cli.invocation import refuse_unknown
from ichd.cli.output import AsJson, print_json, progress
from ichd.telemetry import configure_logging

if TYPE_CHECKING:
    from ichd.vision.engines.engine import Engine
    from training.evaluation.rsna import PackedSplit, SplitReading
    from training.packed.study import PackedStudy

group = typer.Typer(
    name="eval",
    help="How well a model reads scans that it has not learnt from.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Add the command group of this module."""
    evaluation_cq500.register(group)
    app.add_typer(group)


@group.command("rsna")
def evaluate_rsna(
    bundle: Annotated[str, typer.Option("--bundle", help="Name of a shipped bundle, or a bundle folder.")],
    data: Annotated[Path, typer.Option("--data", help="Folder that `ichd data pack` wrote.")],
    split: Annotated[str, typer.Option("--split", help="train, valid or test.")] = "test",
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the report page, its figures and submission.csv.")
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="Another bundle, to be compared on the same scans.")
    ] = None,
    tta: Annotated[
        bool, typer.Option("--tta", help="Read each scan's mirror image, too; prints what it costs.")
    ] = False,
    sample: Annotated[
        Path | None,
        typer.Option("--sample-submission", help="Images that submission.csv must name; else those of the split."),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda[:N].")] = "auto",
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Read a split of packed data, and say how well.

    What each figure means, and what not to conclude from it, is in docs/evaluation.md.
    """
    from typing import cast

    from training.cases.index import SPLITS, Split

    # Before the rest is loaded, which takes seconds.
    refuse_unknown("--split", [split], SPLITS)

    from ichd.cli.evaluation_tables import print_report, print_submission
    from training.evaluation.figures import report_to_python
    from training.evaluation.rsna import PackedSplit, make_folder, report_on, write_all
    from training.evaluation.submission import images_of, read_wanted
    from training.packed.dataset import open_packed

    configure_logging("warning", "auto")
    asked = None if sample is None else read_wanted(sample)
    packed = open_packed(data)
    chosen = PackedSplit(
        studies=packed.split(cast(Split, split)), name=split, source=str(data), data_sha256=packed.data_sha256
    )
    wanted = images_of(data, chosen.studies) if asked is None else asked
    if out is not None:
        make_folder(out)
    engine = _open(bundle, device)
    read = _read(engine, chosen, packed.studies, tta)
    other = None if against is None else _read(_open(against, device), chosen, packed.studies, tta)
    report = report_on(engine, read, other=other, seed=seed)
    paths, submission = ({}, None) if out is None else write_all(out, report, read, wanted=wanted)
    if as_json:
        print_json(
            {
                **report_to_python(report),
                "files": {name: str(path) for name, path in paths.items()},
                "guessed_images": [] if submission is None else list(submission.guessed),
            }
        )
        return
    print_report(report)
    if submission is not None:
        print_submission(paths, submission)


def _open(bundle: str, device: str) -> "Engine":
    from ichd.vision.bundle import find_bundle, load_bundle
    from ichd.vision.engines.choice import EngineWish, open_engine

    return open_engine(load_bundle(find_bundle(bundle)), EngineWish(device=device))


def _read(engine: "Engine", split: "PackedSplit", everyone: "tuple[PackedStudy, ...]", flip: bool) -> "SplitReading":
    from training.evaluation.rsna import read_split

    with progress() as bars:
        bar = bars.add_task(f"reading with {engine.bundle.manifest.name}", total=len(split.studies))
        return read_split(
            engine,
            split,
            everyone=everyone,
            flip=flip,
            on_scan=lambda done, every: bars.update(bar, completed=done, total=every),
        )
