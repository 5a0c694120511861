"""Every byte of a folder of packed studies, read again."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from ichd.domain.errors import UserError
from training.packed.journal import JOURNAL
from training.packed.manifest import LEFT_OUT, STUDIES, StudyRow, read_manifest
from training.packed.shard import read_slices, sha256_of

Problem = Literal["missing", "corrupt", "extra"]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One file that is not as it should be."""

    problem: Problem
    #: Relative to the folder.
    file: str
    #: Empty for a file that belongs to none.
    study_id: str
    #: For people.
    detail: str


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What was found; files by name."""

    studies: int
    slices: int
    bytes: int
    data_sha256: str
    faults: tuple[Fault, ...]

    @property
    def ok(self) -> bool:
        """Whether every shard is there and whole, and nothing else is."""
        return not self.faults


def check(
    folder: Path, *, threads: int = 2, on_progress: Callable[[int, int], None] = lambda _done, _all: None
) -> CheckResult:
    """Compare every shard with its sha256, decode every slice, and look for files that belong to no study.

    Threads are enough: hashing and reading let go of the interpreter.

    Raises:
        UserError: nothing is packed there, packing has not ended, or `studies.parquet` is damaged.
    """
    manifest = read_manifest(folder)
    faults: list[Fault] = []
    with ThreadPoolExecutor(max(1, threads)) as pool:
        for done, fault in enumerate(pool.map(partial(_fault_of, folder), manifest.rows), start=1):
            if fault is not None:
                faults.append(fault)
            on_progress(done, len(manifest.rows))
    faults += _extra(folder, {row.shard for row in manifest.rows})
    return CheckResult(
        studies=len(manifest.rows),
        slices=sum(row.slices for row in manifest.rows),
        bytes=sum(row.bytes for row in manifest.rows),
        data_sha256=manifest.data_sha256,
        faults=tuple(faults),
    )


def _fault_of(folder: Path, row: StudyRow) -> Fault | None:
    path, fault = folder / row.shard, partial(Fault, file=row.shard, study_id=row.study_id)
    if not path.is_file():
        return fault(problem="missing", detail="there is no such file")
    try:
        hu_SHW = read_slices(path)
        if sha256_of(path) != row.sha256:
            return fault(problem="corrupt", detail="it is not the file that was packed: another sha256")
    except UserError as error:
        # What is said of one shard names it and the mend, which here stand beside it and below.
        return fault(problem="corrupt", detail=str(error).removeprefix(f"{path} ").partition(";")[0])
    except OSError as error:
        return fault(problem="corrupt", detail=f"it can't be read: {error.strerror or error}")
    if hu_SHW.shape != (row.slices, row.rows, row.columns):
        return fault(
            problem="corrupt", detail=f"it holds {hu_SHW.shape} instead of {row.slices, row.rows, row.columns}"
        )
    return None


def _extra(folder: Path, shards: set[str]) -> Iterator[Fault]:
    expected = shards | {STUDIES, LEFT_OUT, JOURNAL}
    for path in sorted(folder.rglob("*")):
        file = path.relative_to(folder).as_posix()
        if path.is_file() and file not in expected:
            yield Fault(problem="extra", file=file, study_id="", detail="it belongs to no study; remove it")
