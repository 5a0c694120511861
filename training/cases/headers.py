"""Headers of many DICOM files to columns: one row a file, whether or not it can be read.

Pixels are not decoded. The bytes that hold them are counted, which finds what was cut short.
"""

import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import polars as pl
from pydicom import config

from ichd.domain.errors import NotAnalysable, Transient, UserError
from ichd.domain.reason import Reason
from ichd.vision.parsed import ParsedFile, is_encapsulated, parse
from ichd.vision.pixels import has_decoder
from ichd.vision.slices import SliceHeader, headers_of
from training.cases.facts import facts_of, facts_to_text

OnProgress = Callable[[int, int], None]

#: What a header gives; the index's columns of the same names, and three that only ordering and choice need.
HEADER_SCHEMA: dict[str, pl.DataType] = {
    "path": pl.String(),
    "image_id": pl.String(),
    "study_id": pl.String(),
    "series_id": pl.String(),
    "patient_id": pl.String(),
    "rows": pl.Int32(),
    "columns": pl.Int32(),
    "row_spacing_mm": pl.Float64(),
    "column_spacing_mm": pl.Float64(),
    "encoding": pl.String(),
    "thickness_mm": pl.Float64(),
    "manufacturer": pl.String(),
    "left_out": pl.String(),
    #: LPS, mm, centre of the first pixel; and the directions of rows and columns.
    "pixel_position": pl.Array(pl.Float64(), 3),
    "orientation": pl.Array(pl.Float64(), 6),
    #: `training.cases.facts`; null where nobody chooses among series.
    "facts": pl.String(),
}

#: Files of one task: large enough that a frame's overhead is nothing, small enough that a bar moves.
_FILES_A_TASK = 200
#: Below so many files the start of processes costs more than they save.
_ALONE_BELOW = 4000

_WORDS = {
    Reason.FILE_DAMAGED: "not a whole DICOM file",
    Reason.MISSING_GEOMETRY: "missing geometry",
    Reason.NO_HOUNSFIELD_UNITS: "no Hounsfield units",
    Reason.PIXELS_UNREADABLE: "pixels can't be read",
    Reason.MULTI_FRAME: "several frames in one file; export them one by one",
}


def read_header_table(
    paths: Sequence[Path],
    *,
    with_facts: bool = False,
    processes: int | None = None,
    on_progress: OnProgress = lambda _done, _all: None,
) -> pl.DataFrame:
    """The headers of `paths` with the columns of `HEADER_SCHEMA`, in the order of `paths`.

    `processes` None is one a core where there is enough to do. Memory is what the columns need, some 400 bytes an
    image: no Python object of a header outlives its batch.

    Raises:
        UserError: a process was killed while it read.
    """
    count = processes or (1 if len(paths) < _ALONE_BELOW else len(os.sched_getaffinity(0)))
    names = [str(path) for path in paths]
    tasks = [names[start : start + _FILES_A_TASK] for start in range(0, len(names), _FILES_A_TASK)]
    tables, done = [], 0
    on_progress(0, len(paths))
    for table in _tables(tasks, with_facts=with_facts, processes=count):
        tables.append(table)
        done += len(table)
        on_progress(done, len(paths))
    return pl.concat(tables, rechunk=True) if tables else pl.DataFrame(schema=HEADER_SCHEMA)


def _tables(tasks: Sequence[Sequence[str]], *, with_facts: bool, processes: int) -> Iterator[pl.DataFrame]:
    wanted = [with_facts] * len(tasks)
    if processes == 1:
        yield from map(_read_task, tasks, wanted)
        return
    # Processes, not threads: nearly all the time is pydicom's, in Python. Spawned, because polars' threads don't
    # survive a fork.
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            yield from pool.map(_read_task, tasks, wanted)
        except BrokenProcessPool as error:
            raise UserError("a process that reads headers was killed; free memory, or use --processes 1") from error
        finally:
            pool.shutdown(cancel_futures=True)


def _read_task(paths: Sequence[str], with_facts: bool) -> pl.DataFrame:
    # Identifiers as "ID_0123abcd" are no UIDs, and pydicom would warn of each; what else it warns of quotes headers.
    with config.disable_value_validation(), warnings.catch_warnings(action="ignore"):
        rows = [read_row(Path(path), with_facts=with_facts) for path in paths]
    return pl.DataFrame(rows, schema=HEADER_SCHEMA, orient="row")


def read_row(path: Path, *, with_facts: bool = False) -> dict[str, Any]:
    """One file as a row of `HEADER_SCHEMA`; what can't be read has its reason under `left_out`."""
    row: dict[str, Any] = dict.fromkeys(HEADER_SCHEMA) | {"path": str(path)}
    try:
        file = parse(path)
        row |= _identity(file)
        missing = [name for name in ("SOPInstanceUID", "StudyInstanceUID") if not file.attributes.text(name)]
        if missing:
            return row | {"left_out": f"no identifiers: {', '.join(missing)}"}
        if file.attributes.text("Modality").upper() != "CT":
            return row | {"left_out": f"not CT: Modality {file.attributes.text('Modality') or 'is missing'}"}
        (header,) = headers_of(file, (None,))
    except NotAnalysable as reason:
        return row | {"left_out": _in_words(reason, path)}
    except Transient as trouble:
        return row | {"left_out": f"the file can't be read: {trouble.detail.rpartition(': ')[2]}"}
    row |= {
        "rows": header.rows,
        "columns": header.columns,
        "row_spacing_mm": header.pixel_spacing_mm[0],
        "column_spacing_mm": header.pixel_spacing_mm[1],
        "encoding": encoding_of(header),
        "thickness_mm": header.slice_thickness_mm,
        "pixel_position": header.position,
        "orientation": header.orientation,
        "left_out": _pixels_missing(header),
    }
    return row | {"facts": facts_to_text(facts_of(file))} if with_facts else row


def encoding_of(header: SliceHeader) -> str:
    """How HU are stored, as "16-bit signed -1024"."""
    sign = "signed" if header.signed else "unsigned"
    return f"{header.bits_stored}-bit {sign} {header.intercept:g}"


def _identity(file: ParsedFile) -> dict[str, str | None]:
    tags = {
        "image_id": "SOPInstanceUID",
        "study_id": "StudyInstanceUID",
        "series_id": "SeriesInstanceUID",
        "patient_id": "PatientID",
        "manufacturer": "Manufacturer",
    }
    return {column: file.attributes.text(tag) or None for column, tag in tags.items()}


def _pixels_missing(header: SliceHeader) -> str | None:
    """Why the pixels can't be there, by what the header promises and the file holds."""
    if header.pixels is None or header.pixels.length == 0:
        return "no pixel data"
    if not has_decoder(header.syntax):
        return f"no decoder: {header.syntax.name or 'no transfer syntax'}"
    if is_encapsulated(header.syntax) or header.pixels.length is None:
        return None
    needed = header.rows * header.columns * header.bits_allocated // 8 * header.pixels.number_of_frames
    held = header.pixels.length
    return f"pixel data too short: {held} of {needed} bytes" if held < needed else None


def _in_words(reason: NotAnalysable, path: Path) -> str:
    """The reason, and its figures without the file's name, which the row has already."""
    words = _WORDS.get(reason.reason, reason.reason.meaning)
    figures = reason.detail.removeprefix(path.name).lstrip(": ")
    if reason.reason in {Reason.MULTI_FRAME, Reason.FILE_DAMAGED}:
        # "is no whole DICOM file: InvalidDicomError", "has 3 frames, none is named".
        figures = figures.rpartition(": ")[2].removeprefix("has ")
    return f"{words}: {figures}" if figures else words
