"""A bundle in front of a split of RSNA's data, or of any that is packed like it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from ichd.domain.errors import UserError
from ichd.vision.engines.engine import Engine
from ichd.vision.manifest import Manifest
from training.evaluation.figures import Difference, Evaluation, Report, Subject, write_report
from training.evaluation.page import write_page
from training.evaluation.result import ROUNDS, SHARED, compare, evaluate
from training.evaluation.submission import Submission, write_submission
from training.packed.reading import ScanReading, read_studies
from training.packed.study import PackedStudy

#: Scans read without their mirror image to say what the mirror costs.
_TIMED = 8
#: Fewer positives than this, and an AUC is an anecdote.
_FEW = 30

#: What a model already knows of a split.
_SEEN = {
    "train": "the model may have learnt from these scans",
    "valid": "weights or thresholds may have been chosen on these scans",
}

OnScan = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class PackedSplit:
    """The scans to read, and where they come from."""

    studies: tuple[PackedStudy, ...]
    name: str
    #: As people know it: the folder.
    source: str
    data_sha256: str


@dataclass(frozen=True, kw_only=True)
class SplitReading:
    """A bundle's readings of a split, and what they took."""

    subject: Subject
    readings: tuple[ScanReading, ...]
    #: Of reading alone, the engine warm.
    seconds_a_scan: float
    #: With the mirror image; None where it was not asked for.
    seconds_a_scan_flipped: float | None


def read_split(
    engine: Engine,
    split: PackedSplit,
    *,
    everyone: Sequence[PackedStudy] = (),
    flip: bool = False,
    on_scan: OnScan = lambda _done, _all: None,
) -> SplitReading:
    """Read every scan of a split.

    `everyone`, all studies of the data, says which patients stand in another split, too. With `flip`, a few scans are
    read without it as well, so that its cost is a measured one.

    Raises:
        UserError: the split is empty, or a shard is missing or damaged.
    """
    if not split.studies:
        raise UserError(f"{split.source} has no study in the split {split.name!r}; name another")
    engine.warm_up()
    started = perf_counter()
    readings = tuple(read_studies(engine, split.studies, flip=flip, on_scan=on_scan))
    seconds = (perf_counter() - started) / len(readings)
    plain = _seconds_a_scan(engine, split.studies[:_TIMED]) if flip else seconds
    return SplitReading(
        subject=_subject(engine, split),
        readings=mark_shared(readings, split.name, everyone),
        seconds_a_scan=plain,
        seconds_a_scan_flipped=seconds if flip else None,
    )


def mark_shared(
    readings: Sequence[ScanReading], split: str, everyone: Sequence[PackedStudy]
) -> tuple[ScanReading, ...]:
    """The readings, each with the group `SHARED`, where some patients stand in another split, too; else as they are."""
    elsewhere = {study.patient_id for study in everyone if study.split != split}
    if not any(one.patient_id in elsewhere for one in readings):
        return tuple(readings)
    return tuple(
        replace(one, groups={**one.groups, SHARED: "yes" if one.patient_id in elsewhere else "no"}) for one in readings
    )


def report_on(
    engine: Engine,
    read: SplitReading,
    *,
    other: SplitReading | None = None,
    seed: int = 0,
    rounds: int = ROUNDS,
) -> Report:
    """Every figure of a reading, and, beside another bundle's, who is better."""
    manifest = engine.bundle.manifest
    evaluation = evaluate(read.readings, thresholds=manifest.thresholds, seed=seed, rounds=rounds)
    difference = None if other is None else compare(read.readings, other.readings, seed=seed, rounds=rounds)
    return Report(
        subject=read.subject,
        evaluation=evaluation,
        against=None if other is None else other.subject,
        difference=difference,
        seconds_a_scan=read.seconds_a_scan,
        seconds_a_scan_flipped=read.seconds_a_scan_flipped,
        caveats=tuple(_caveats(engine, read.subject, evaluation, difference)),
    )


def make_folder(folder: Path) -> None:
    """Make the folder of a report before hours are spent on what goes into it.

    Raises:
        UserError: it can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} can't be a folder ({error.strerror or error}); name another with --out") from error


def write_all(
    folder: Path, report: Report, read: SplitReading, *, wanted: Sequence[str] | None = None
) -> tuple[dict[str, Path], Submission]:
    """`evaluation.html`, `evaluation.json` and `submission.csv` into a folder; returns their paths by what they are.

    Raises:
        UserError: the disk is full, or the folder can't be written to.
    """
    paths = {"page": folder / "evaluation.html", "figures": folder / "evaluation.json"}
    make_folder(folder)
    try:
        write_report(paths["figures"], report)
        write_page(paths["page"], report, read.readings)
    except OSError as error:
        raise UserError(
            f"{folder} can't be written to ({error.strerror or error}); make room, or name another with --out"
        ) from error
    submission = write_submission(folder / "submission.csv", read.readings, wanted)
    return paths | {"submission": submission.path}, submission


def _seconds_a_scan(engine: Engine, studies: Sequence[PackedStudy]) -> float:
    started = perf_counter()
    for _ in read_studies(engine, studies):
        pass
    return (perf_counter() - started) / len(studies)


def _subject(engine: Engine, split: PackedSplit) -> Subject:
    manifest = engine.bundle.manifest
    return Subject(
        model=manifest.name,
        version=manifest.version,
        weights_sha256=manifest.weights.sha256,
        statement=manifest.statement,
        training_data=manifest.training_data,
        engine=engine.name,
        data=split.source,
        data_sha256=split.data_sha256,
        split=split.name,
    )


def _seen(manifest: Manifest, subject: Subject) -> str | None:
    """What the model already knows of the scans, as far as its bundle or the split's name tells."""
    run = manifest.metrics.get("run.data")
    if isinstance(run, dict) and (run.get("data_sha256"), run.get("selection")) == (subject.data_sha256, subject.split):
        return "Its epoch and its thresholds were chosen on these very scans"
    fitted = [manifest.metrics.get(f"scan_calibration.{key}") for key in ("data_sha256", "split")]
    if fitted == [subject.data_sha256, subject.split]:
        return "Its calibration and its thresholds were fitted on these very scans"
    if subject.split in _SEEN:
        return f"The split is “{subject.split}”: {_SEEN[subject.split]}"
    return None


def _caveats(engine: Engine, subject: Subject, evaluation: Evaluation, difference: Difference | None) -> list[str]:
    manifest, counts = engine.bundle.manifest, evaluation.counts
    said = []
    if manifest.demonstration or "synthetic" in f"{manifest.statement} {manifest.training_data}".lower():
        said.append(
            f"The model is a demonstration ({manifest.statement or manifest.training_data}): "
            "nothing here says how it reads patients."
        )
    seen = _seen(manifest, subject)
    if seen is not None:
        said.append(f"{seen}, so that these figures flatter. Judge it on scans that it has not seen.")
    few = [name for name, one in evaluation.scans.by_class.items() if 0 < one.positives < _FEW]
    if few:
        said.append(f"Fewer than {_FEW} scans are positive for {', '.join(few)}: read the intervals, not the figures.")
    absent = [name for name, one in evaluation.scans.by_class.items() if not one.positives]
    if absent:
        said.append(f"No scan is positive for {', '.join(absent)}: nothing is known of it.")
    if any(counts.unknown_labels.values()):
        said.append("Some slice labels are not known; each class is judged on those that are.")
    shared = [one for one in evaluation.subgroups if one.kind == SHARED and one.name == "yes"]
    if shared:
        scans = "1 scan is" if shared[0].rows == 1 else f"{shared[0].rows} scans are"
        said.append(
            f"{scans} of patients that stand in another split, too: figures may flatter; "
            "those without them stand beside."
        )
    share = counts.bleeding_scans / counts.scans
    said.append(
        f"{100 * share:.0f} % of these scans bleed. PPV and NPV hold for this share alone; "
        "take those at your site's prevalence."
    )
    said.append(
        "Intervals hold chance in the choice of these patients, and nothing else: not another scanner, "
        "another hospital, or labels that are wrong."
    )
    if difference is not None:
        said.append("Six classes are compared: with two equal models, one p below 0.05 among six comes in a quarter.")
    return said
