"""What the daemon exports (`ichd export`): studies that readers have spoken about, and their images.

The folder holds `studies.jsonl`, a line a study, and `images/`. Training never opens the daemon's database: this folder
is all that passes between them, and can be carried to another machine.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from training.cases.folder import index_files
from training.cases.headers import OnProgress
from training.cases.index import Index
from training.cases.labels import Labels, completed
from training.cases.splits import SplitRule

STUDIES = "studies.jsonl"
_NO_TRUTH = "no reader says what is there"


def index_daemon(
    folder: Path,
    *,
    rule: SplitRule | None = None,
    processes: int | None = None,
    on_progress: OnProgress = lambda _done, _all: None,
) -> Index:
    """Index an export of the daemon; labels are the readers' words, of studies as wholes.

    Only classes that a reader named are labels: "disagreed" alone does not say which class was wrong, and "agreed"
    alone not that its reader looked for all six. Where readers contradict each other the study is left out.

    Raises:
        UserError: `folder` is no such export, or no study in it has a label.
    """
    studies = _read(folder / STUDIES)
    paths = sorted({folder.resolve() / name for study in studies for name in study["images"]})
    return index_files(
        paths,
        labels_of(studies),
        source={"layout": "daemon", "folder": str(folder.resolve()), "models": _models(studies)},
        rule=rule or SplitRule(),
        processes=processes,
        on_progress=on_progress,
    )


def labels_of(studies: Iterable[Mapping[str, Any]]) -> Labels:
    """One label a study, of the words of all its readers."""
    rows: list[dict[str, Any]] = []
    for study in studies:
        said: dict[str, set[int]] = {name: set() for name in CLASSES}
        for review in study["reviews"]:
            for name, there in review["truth"].items():
                if name in said:
                    said[name].add(int(there))
        split = [name for name, values in said.items() if len(values) > 1]
        fault = f"readers contradict each other: {', '.join(split)}" if split else None
        if not any(said.values()):
            fault = _NO_TRUTH
        values = {name: next(iter(values)) if len(values) == 1 else None for name, values in said.items()}
        rows.append({"key": study["study_uid"], **values, "fault": fault})
    schema = {"key": pl.String, **dict.fromkeys(CLASSES, pl.Int8), "fault": pl.String}
    table = completed(pl.DataFrame(rows, schema=schema))
    unknown = table.filter(pl.any_horizontal(pl.col(name).is_null() for name in CLASSES) & pl.col("fault").is_null())
    counts = {
        "rows": len(table),
        "labelled": table["fault"].null_count(),
        "with_unknown_classes": len(unknown),
        "faults": len(table) - table["fault"].null_count(),
    }
    return Labels(table=table, level="study", counts=counts)


def _read(path: Path) -> list[dict[str, Any]]:
    mend = "name a folder that `ichd export` has written"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        studies = [json.loads(line) for line in lines if line.strip()]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path} can't be read ({error}); {mend}") from error
    for number, study in enumerate(studies, 1):
        missing = {"study_uid", "images", "reviews"} - set(study)
        if missing:
            raise UserError(f"{path}, line {number} lacks {', '.join(sorted(missing))}; {mend}")
    if not studies:
        raise UserError(f"{path} names no study: no reader has spoken yet; see docs/feedback.md")
    return studies


def _models(studies: Iterable[Mapping[str, Any]]) -> list[str]:
    """Which models the readers' words were about."""
    return sorted({str(study["bundle_sha256"]) for study in studies if study.get("bundle_sha256")})
