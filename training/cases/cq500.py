"""CQ500 on disk: which scans there are, and which of them the readers and the comparator know.

The public download holds a folder or a zip a study, as `CQ500CT0 CQ500CT0/Unknown Study/CT Plain/CT000000.dcm`, and
beside them `reads.csv` and `prediction_probabilities.csv` (`training.cases.cq500_reads`). The CSVs say `CQ500-CT-0`.
"""

import os
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ichd.domain.errors import UserError
from training.cases.cq500_reads import Predictions, Read, Reads, read_predictions, read_reads, study_number

READS_NAME = "reads.csv"
PREDICTIONS_NAME = "prediction_probabilities.csv"

_NAME = re.compile(r"CQ500[-_ ]?CT[-_ ]?(\d+)", re.IGNORECASE)


class DamagedArchive(Exception):
    """A zip that can't be unpacked; says why."""


@dataclass(frozen=True, kw_only=True)
class Scan:
    """The images of one study."""

    #: As "CQ500-CT-0".
    name: str
    #: A folder, or a zip of one.
    path: Path

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Where its files lie for the time being; a zip is unpacked to a temporary folder, one study at a time.

        Raises:
            DamagedArchive: the zip is cut short, or its content does not fit its checksums.
            UserError: there is no room to unpack it.
        """
        if self.path.is_dir():
            yield self.path
            return
        with tempfile.TemporaryDirectory(prefix="ichd-cq500-") as place:
            _unpack(self.path, Path(place))
            yield Path(place)


@dataclass(frozen=True, kw_only=True)
class Cq500:
    """The data set as it lies in one folder; every study by its name, in the order of the numbers."""

    scans: tuple[Scan, ...]
    reads: Reads
    #: None where the download lacks them.
    predictions: Predictions | None
    #: Names that stand both as a folder and as a zip, or twice: the first is taken, folders before zips.
    doubles: tuple[str, ...] = ()

    @property
    def cases(self) -> tuple[tuple[Scan, Read], ...]:
        """Scans whose truth is known."""
        by_name = {read.name: read for read in self.reads.rows}
        return tuple((scan, by_name[scan.name]) for scan in self.scans if scan.name in by_name)

    @property
    def without_read(self) -> tuple[str, ...]:
        """Scans that no reader read."""
        return _less([s.name for s in self.scans], [r.name for r in self.reads.rows])

    @property
    def without_scan(self) -> tuple[str, ...]:
        """Reads of scans that are not here."""
        return _less([r.name for r in self.reads.rows], [s.name for s in self.scans])

    @property
    def without_prediction(self) -> tuple[str, ...]:
        """Studies with scan and read that the comparator says nothing of."""
        return _less([scan.name for scan, _ in self.cases], self.predictions.p_C if self.predictions else ())


def find_cq500(folder: Path) -> Cq500:
    """What a download holds.

    Raises:
        UserError: the folder holds no study, or no `reads.csv` that can be read, or not one study in common.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; name the one that CQ500 was downloaded to")
    scans, doubles = _scans_under(folder)
    if not scans:
        raise UserError(
            f"{folder} holds no study of CQ500: folders or zips named as CQ500CT0 or CQ500-CT-0 are looked for; "
            "name the folder that they lie in"
        )
    reads = read_reads(_beside(folder, READS_NAME, "it is part of the download and holds the truth"))
    predictions = folder / PREDICTIONS_NAME
    found = Cq500(
        scans=scans,
        reads=reads,
        predictions=read_predictions(predictions) if predictions.is_file() else None,
        doubles=doubles,
    )
    if not found.cases:
        raise UserError(
            f"none of {len(scans)} scans in {folder} has a row in {READS_NAME}, whose first is {reads.rows[0].name}; "
            "put the scans and the reads of the same download together"
        )
    return found


def _scans_under(folder: Path) -> tuple[tuple[Scan, ...], tuple[str, ...]]:
    """The outermost folder or zip of each name: below `CQ500CT0` nothing else is a study."""
    found: dict[str, Path] = {}
    doubles: set[str] = set()
    for place, folders, files in os.walk(folder):
        folders.sort()
        here = [(n, name) for n in folders if (name := _study_of(n))]
        here += [(n, name) for n in sorted(files) if n.lower().endswith(".zip") and (name := _study_of(n))]
        for entry, name in here:
            if name in found:
                doubles.add(name)
            found.setdefault(name, Path(place) / entry)
        folders[:] = [n for n in folders if _study_of(n) is None]
    ordered = sorted(found, key=study_number)
    return tuple(Scan(name=n, path=found[n]) for n in ordered), tuple(sorted(doubles, key=study_number))


def _study_of(entry: str) -> str | None:
    """The study of a folder or zip: `CQ500CT0 CQ500CT0`, `CQ500-CT-0.zip`; None where it is another's."""
    found = _NAME.match(entry)
    return f"CQ500-CT-{int(found[1])}" if found else None


def _unpack(archive: Path, place: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as opened:
            # Members that would leave the folder lose their "..": zipfile sees to that.
            opened.extractall(place)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        # NotImplementedError: a compression that Python lacks. RuntimeError: a password is wanted.
        raise DamagedArchive(str(error) or type(error).__name__) from error
    except OSError as error:
        raise UserError(
            f"{archive.name} can't be unpacked to {place} ({error.strerror or error}); "
            "make room, or point TMPDIR at a larger disk"
        ) from error


def _beside(folder: Path, name: str, why: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise UserError(f"{path} is missing; {why}: put it beside the studies")
    return path


def _less(names: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    there = set(known)
    return tuple(name for name in names if name not in there)
