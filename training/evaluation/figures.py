"""The figures of an evaluation, as values that JSON can hold: all names that a file of them has."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from ichd.domain.errors import UserError
from training.measures.interval import Interval
from training.measures.log_loss import LogLoss
from training.measures.operating import AtPrevalence, OperatingPoint
from training.measures.roc import Comparison
from training.measures.subgroups import Subgroup


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What was read."""

    scans: int
    patients: int
    slices: int
    #: More than slices where thin ones were averaged.
    images: int
    #: With any haemorrhage, where that is known.
    bleeding_scans: int
    bleeding_slices: int
    #: Of slices, by class, that nobody gave.
    unknown_labels: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class ClassFigures:
    """One class at one level. Figures are None where only one side exists."""

    #: With a known label.
    rows: int
    positives: int
    #: DeLong's interval: of independent rows.
    auc: Interval | None
    #: The same area, its interval by resampling patients: the one to quote of slices.
    auc_by_patient: Interval | None
    log_loss: float | None
    brier: float | None
    #: Expected calibration error, 15 bins of equal mass and of equal width.
    ece_mass: float | None
    ece_width: float | None


@dataclass(frozen=True, kw_only=True)
class Level:
    """All classes, by slice or by scan."""

    log_loss: LogLoss | None
    #: Of the weighted log loss, by resampling patients.
    log_loss_interval: Interval | None
    by_class: Mapping[str, ClassFigures]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A threshold of the bundle in front of these scans."""

    name: str
    #: What a score that reaches the threshold is: "present", or no longer "absent".
    call: Literal["present", "not absent"]
    point: OperatingPoint
    at: tuple[AtPrevalence, ...]


@dataclass(frozen=True, kw_only=True)
class WorstCase:
    """A label that the model was far from."""

    study_id: str
    #: None of a whole scan.
    image_id: str | None
    z_mm: float | None
    name: str
    said: float
    present: bool
    loss: float


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How well a model reads scans that it has not learnt from."""

    form: Literal["ichd evaluation 1"] = "ichd evaluation 1"
    counts: Counts
    slices: Level
    scans: Level
    #: Slices of patients that stand in no other split; None where all do, or where that is not known.
    log_loss_unshared: LogLoss | None
    operations: tuple[Operation, ...]
    #: By scan.
    subgroups: tuple[Subgroup, ...]
    worst_slices: tuple[WorstCase, ...]
    worst_scans: tuple[WorstCase, ...]
    #: Of the bootstrap.
    rounds: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Two models on the same scans, by class; None where only one side exists."""

    scans: int
    by_class: Mapping[str, Comparison | None]
    #: First less second, of slices, by resampling patients: below 0, the first is better.
    log_loss: Interval | None


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Which model read what."""

    model: str
    version: str
    weights_sha256: str
    statement: str
    training_data: str
    #: As "openvino on cpu in bf16".
    engine: str
    data: str
    #: Of the packed data's manifest; empty where there is none.
    data_sha256: str
    split: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that a report page and its JSON say."""

    form: Literal["ichd report 1"] = "ichd report 1"
    subject: Subject
    evaluation: Evaluation
    against: Subject | None = None
    difference: Difference | None = None
    #: Reading alone, seconds a scan.
    seconds_a_scan: float | None = None
    #: The same with the mirror image, where that was asked for.
    seconds_a_scan_flipped: float | None = None
    #: What a reader must know before believing the figures, a sentence each.
    caveats: tuple[str, ...] = ()


_REPORT = TypeAdapter(Report)


def write_report(path: Path, report: Report) -> None:
    """As JSON, whole or not at all.

    Raises:
        OSError: the disk is full, or the folder can't be written to.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(_REPORT.dump_json(report, indent=2) + b"\n")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def report_to_python(report: Report) -> dict[str, Any]:
    """The same as plain values."""
    plain: dict[str, Any] = _REPORT.dump_python(report, mode="json")
    return plain


def read_report(path: Path) -> Report:
    """What `write_report` wrote.

    Raises:
        UserError: there is none, or it is one of another version.
    """
    try:
        return _REPORT.validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; `ichd eval rsna --out DIR` writes one") from error
    except ValidationError as error:
        raise UserError(f"{path} is no report of this version; run `ichd eval rsna` again") from error
