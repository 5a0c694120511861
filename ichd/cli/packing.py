"""data pack, data check."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ichd.cli.output import AsJson, console, print_json, progress, table

#: Files are named in the table up to here; --json has them all.
_NAMED_FAULTS = 20

AtOnce = Annotated[
    int | None,
    typer.Option("--processes", min=1, help="At once, each with one study in memory; else one a core."),
]


def register(group: typer.Typer) -> None:
    """Add the commands of this module to `ichd data`."""
    group.command("pack")(pack_data)
    group.command("check")(check_data)


def pack_data(
    index: Annotated[Path, typer.Argument(metavar="INDEX", help="Written by `ichd data index`.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the packed studies.")],
    processes: AtOnce = None,
    as_json: AsJson = False,
) -> None:
    """Pack the studies of an index for learning: HU, upright, ordered, compressed without loss.

    May be stopped at any time; the same command goes on where it stopped.
    """
    from dataclasses import asdict

    from training.cases.index import read_index
    from training.packed.pack import pack

    with _shown("packing") as on_progress:
        summary = pack(read_index(index), out, processes=processes or _cores(), on_progress=on_progress)
    if as_json:
        print_json({"folder": str(out), **asdict(summary), "ratio": round(summary.raw_bytes / summary.bytes, 3)})
        return
    kept = f", {summary.kept:,} of them were there already" if summary.kept else ""
    splits = ", ".join(f"{name} {count:,}" for name, count in summary.splits.items())
    rows = [
        ("studies", f"{summary.studies:,} ({splits}){kept}"),
        ("slices", f"{summary.slices:,} of {summary.images:,} images"),
        ("size", f"{_size(summary.bytes)}, {summary.raw_bytes / summary.bytes:.2f} times smaller than bare int16"),
        ("HU repaired", f"{summary.repaired_images:,} images whose intercept did not fit"),
        ("HU rounded", f"{summary.rounded_images:,} images whose HU were not whole; all others are lossless"),
        ("sha256 of the data", summary.data_sha256),
    ]
    console().print(table(None, ("packed", str(out)), rows))
    if summary.left_out:
        typer.echo("")
        lost = ((f"{count:,}", kind) for kind, count in summary.left_out.items())
        console().print(table(None, ("left out", "reason"), lost))
        typer.echo(f"All are named in {out / 'left_out.parquet'}.")


def check_data(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Written by `ichd data pack`.")],
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="At once; else one a core.")] = None,
    as_json: AsJson = False,
) -> None:
    """Read all packed studies again: checksums, every slice decoded, no file missing and none too many.

    Exit code 1 where anything is wrong.
    """
    from dataclasses import asdict

    from training.packed.check import check

    with _shown("checking") as on_progress:
        result = check(folder, threads=threads or _cores(), on_progress=on_progress)
    if as_json:
        print_json({"ok": result.ok, "folder": str(folder), **asdict(result)})
    else:
        typer.echo(f"{result.studies:,} studies, {result.slices:,} slices, {_size(result.bytes)} read")
        if result.faults:
            rows = ((fault.problem, fault.file, fault.detail) for fault in result.faults[:_NAMED_FAULTS])
            console().print(table(None, ("problem", "file", "what"), rows))
            more = len(result.faults) - _NAMED_FAULTS
            if more > 0:
                typer.echo(f"and {more:,} more; --json names them all")
            if any(fault.problem != "extra" for fault in result.faults):
                typer.echo("`ichd data pack` with the same index packs what is missing or corrupt again.")
        else:
            typer.echo(f"ok, sha256 of the data {result.data_sha256}")
    if not result.ok:
        raise typer.Exit(1)


@contextmanager
def _shown(doing: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with studies a second; silent in a pipe."""
    import time

    started = time.monotonic()
    with progress() as bar:
        task = bar.add_task(doing, total=None)

        def shown(done: int, total: int) -> None:
            rate = done / max(time.monotonic() - started, 1e-3)
            bar.update(task, completed=done, total=total, description=f"{doing}, {rate:.1f} studies/s")

        yield shown


def _cores() -> int:
    """Cores that this process may use, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0))


def _size(size: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if size >= factor:
            return f"{size / factor:,.1f} {unit}"
    return f"{size / 1e3:,.1f} kB"
