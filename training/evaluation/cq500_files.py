"""What an evaluation on CQ500 leaves behind: the choice of series, the predictions, and all figures as JSON."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from training.cases.cq500 import Cq500
from training.cases.cq500_reads import CODES, PUBLISHED_POSITIVES, PUBLISHED_SCANS, Predictions
from training.evaluation.cq500 import CaseReading, SeriesLine, Table2
from training.evaluation.published import PUBLISHED

#: By its word on the command line ("daemon", "thin"), what came of choosing series so.
ByChoice = Mapping[str, Sequence[CaseReading]]

_SERIES_COLUMNS = (
    "choice", "name", "series_uid", "stack", "series_number", "description", "kernel", "images", "thickness_mm",
    "coverage_mm", "contrast", "read", "reason", "detail",
)  # fmt: skip


def write_cq500(out: Path, by_choice: ByChoice, predictions: Predictions | None, said: Mapping[str, Any]) -> None:
    """`cq500.json`, `series.csv` and `predictions.csv`, each whole or not there.

    Raises:
        UserError: the folder can't be written to.
    """
    series = (
        (choice, case.name, *_series_cells(line))
        for choice, cases in by_choice.items()
        for case in cases
        for line in case.series
    )
    predicted = (
        (choice, *_prediction_cells(case, predictions)) for choice, cases in by_choice.items() for case in cases
    )
    columns = (
        "choice", "name", "series_uid", "slices", *CLASSES, *(f"truth_{name}" for name in CLASSES),
        *(f"comparator_{name}" for name in CLASSES), "reason", "detail",
    )  # fmt: skip
    _write(out / "series.csv", _csv(_SERIES_COLUMNS, series))
    _write(out / "predictions.csv", _csv(columns, predicted))
    _write(out / "cq500.json", json.dumps(said, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def facts_of(data: Cq500) -> dict[str, Any]:
    """What was found of the data set, for the record: counts, checks and hashes."""
    return {
        "scans": len(data.scans),
        "reads": len(data.reads.rows),
        "cases": len(data.cases),
        "without_read": list(data.without_read),
        "without_scan": list(data.without_scan),
        "without_prediction": list(data.without_prediction) if data.predictions else None,
        "doubles": list(data.doubles),
        "contradictions": list(data.reads.contradictions),
        "positives": dict(data.reads.positives),
        "published_scans": PUBLISHED_SCANS,
        "published_positives": dict(PUBLISHED_POSITIVES),
        "as_published": data.reads.is_published,
        "reads_sha256": data.reads.sha256,
        "predictions_sha256": data.predictions.sha256 if data.predictions else None,
    }


def table_of(table: Table2) -> dict[str, Any]:
    """The table for the record, published columns beside ours."""
    return {
        "read": table.read,
        "unread": [{"name": u.name, "reason": u.reason, "detail": u.detail} for u in table.unread],
        "rows": [
            asdict(row) | {"code": CODES[row.name], "published": {p.name: p.auc[row.name] for p in PUBLISHED}}
            for row in table.rows
        ],
    }


def _series_cells(line: SeriesLine) -> tuple[object, ...]:
    return (
        line.series_uid, line.stack, line.series_number, line.description, line.kernel, line.images,
        f"{line.thickness_mm:g}", f"{line.coverage_mm:.1f}", int(line.contrast), int(line.read), line.reason,
        line.detail,
    )  # fmt: skip


def _prediction_cells(case: CaseReading, predictions: Predictions | None) -> tuple[object, ...]:
    nothing = [""] * len(CLASSES)
    theirs = predictions.p_C.get(case.name) if predictions else None
    return (
        case.name,
        case.chosen.series_uid if case.chosen else "",
        case.slices or "",
        *(nothing if case.p_C is None else [f"{p:.6g}" for p in case.p_C]),
        *(int(flag) for flag in case.truth_C),
        *(nothing if theirs is None else [f"{p:.6g}" for p in theirs]),
        case.reason,
        case.detail,
    )


def _csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(f"{path} can't be written ({error.strerror or error}); name another folder by --out") from error
