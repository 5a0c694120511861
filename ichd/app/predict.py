"""`ichd predict`: the model on files, no daemon, no database; one record a series.

Researchers look at single slices and partial scans too, so every axial CT series is read, down to one slice. What the
daemon would have refused carries the reason, and its triage is indeterminate.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ichd import __version__
from ichd.domain.errors import NotAnalysable, Refused, UserError
from ichd.domain.finding import Triage
from ichd.domain.reason import Reason
from ichd.domain.record import Record, ranked_record, record_of, skipped_record, unread_record
from ichd.domain.selection import Candidate, Ranked, skipped_by
from ichd.domain.stacks import Stack
from ichd.domain.study import InstanceFacts, SeriesFacts, SkippedSeries, StudyFacts, StudyState
from ichd.intake.header import read_facts
from ichd.pipeline.choice import Choice, Chosen, load_stack, unfold
from ichd.pipeline.reading import ReadingPolicy, read_scan
from ichd.vision.headness import require_head
from ichd.vision.quality import inspect, require_hounsfield
from ichd.vision.reader import Reader
from ichd.vision.scan import HeadScan

#: The state of a series that was read here: no report exists, so it is not "reported".
ANALYSED = "analysed"


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A file that no series has, and why."""

    path: Path
    reason: Reason
    detail: str


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """The images under some paths."""

    facts: tuple[InstanceFacts, ...]
    #: By SOP Instance UID.
    files: Mapping[str, Path]
    left_out: tuple[LeftOut, ...]


def predict(gathered: Gathered, reader: Reader, policy: ReadingPolicy) -> Iterator[Record]:
    """One record a series, in the order of the studies' and series' UIDs; of several stacks in it, of the best."""
    lenient = replace(policy.selection, min_positions=1, min_coverage_mm=0.0)
    for study in group(gathered.facts):
        unfolded = unfold(study, gathered.files)
        daemon = Choice(unfolded, gathered.files, policy.selection, head_only=policy.require_head)
        chosen = daemon.settle()
        said = _Daemon(ranking=daemon.ranking, chosen=chosen, head_only=policy.require_head)
        here = Choice(unfolded, gathered.files, lenient, head_only=False)
        # What the daemon chose stands for its series, whatever headers alone would choose.
        first = [chosen.candidate] if chosen else []
        for candidate in _best_of_each_series([*first, *here.candidates]):
            record = _read(study, candidate, gathered.files, reader, said)
            record["series_ranking"] = [ranked_record(line) for line in daemon.ranking]
            yield record


@dataclass(frozen=True, kw_only=True)
class _Daemon:
    """What the daemon would make of a study."""

    ranking: tuple[Ranked, ...]
    chosen: Chosen | None
    head_only: bool

    def says(self, stack: Stack, scan: HeadScan) -> SkippedSeries | None:
        """Why it would not read a stack; None for the one that it reads.

        A stack that ranks lower is not looked at by the daemon. Here it is, since it is read.
        """
        line = next(r for r in self.ranking if (r.series_instance_uid, r.stack) == _identity(stack))
        if line.refusal is None:
            return None
        if line.refusal.reason is Reason.RANKED_LOWER and self.head_only:
            try:
                require_hounsfield(scan)
                require_head(scan)
                inspect(scan).require()
            except NotAnalysable as error:
                return _skip(stack, error.reason, error.detail)
        return _skip(stack, line.refusal.reason, line.refusal.detail)

    def scan_of(self, stack: Stack) -> HeadScan | None:
        """The scan, where the daemon has loaded it already."""
        return self.chosen.scan if self.chosen and _identity(self.chosen.candidate.stack) == _identity(stack) else None


def _identity(stack: Stack) -> tuple[str, int | None]:
    return (stack.series_instance_uid, stack.number)


def _best_of_each_series(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The first of each series, by the UIDs of the series."""
    best: dict[str, Candidate] = {}
    for candidate in candidates:
        best.setdefault(candidate.stack.series_instance_uid, candidate)
    return [best[uid] for uid in sorted(best)]


def gather(paths: Sequence[Path]) -> Gathered:
    """Read the headers of all files under `paths`.

    The first of several files with the same SOP Instance UID counts, as in the daemon.

    Raises:
        UserError: a path does not exist, or nothing under the paths is an image.
    """
    facts: list[InstanceFacts] = []
    files: dict[str, Path] = {}
    left_out: list[LeftOut] = []
    for path in _walk(paths):
        try:
            header = read_facts(path)
        except Refused as refusal:
            left_out.append(LeftOut(path=path, reason=refusal.reason, detail=refusal.detail))
            continue
        first = files.setdefault(header.sop_instance_uid, path)
        if first is path:
            facts.append(header)
        elif path.read_bytes() != first.read_bytes():
            left_out.append(LeftOut(path=path, reason=Reason.CONFLICTING_DUPLICATE, detail=f"as {first.name}"))
    if not facts:
        damaged = next((f for f in left_out if f.reason is not Reason.NOT_DICOM), None)
        why = f"{damaged.path.name}: {damaged.reason.meaning}" if damaged else f"{len(left_out)} other files"
        raise UserError(f"no readable DICOM image in {', '.join(map(str, paths))} ({why}); name a CT series")
    return Gathered(facts=tuple(facts), files=files, left_out=tuple(left_out))


def group(facts: Iterable[InstanceFacts]) -> list[StudyFacts]:
    """Images by study and series, both sorted by UID."""
    studies: dict[str, dict[str, list[InstanceFacts]]] = {}
    for instance in facts:
        series = studies.setdefault(instance.study_instance_uid, {})
        series.setdefault(instance.series_instance_uid, []).append(instance)
    return [
        StudyFacts(
            study_instance_uid=study_uid,
            series=tuple(
                SeriesFacts(series_instance_uid=series_uid, instances=tuple(instances))
                for series_uid, instances in sorted(series.items())
            ),
        )
        for study_uid, series in sorted(studies.items())
    ]


def _walk(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            for folder, _, names in sorted(os.walk(path)):
                yield from (Path(folder) / name for name in sorted(names))
        elif path.is_file():
            yield path
        else:
            raise UserError(f"{path} does not exist; name a DICOM file or a folder of them")


def _unread(study: StudyFacts, skipped: SkippedSeries) -> Record:
    record = unread_record(
        study_uid=study.study_instance_uid,
        series_uid=skipped.series_instance_uid,
        state=StudyState.NOT_ANALYSED,
        reason=skipped.reason,
        detail=skipped.detail,
        software_version=__version__,
        skipped=(),
    )
    record["daemon_would_read"] = False
    return record


def _read(
    study: StudyFacts, candidate: Candidate, files: Mapping[str, Path], reader: Reader, daemon: _Daemon
) -> Record:
    stack, rule = candidate.stack, reader.engine.bundle.rule
    if candidate.refusal is not None:
        return _unread(study, _skip(stack, candidate.refusal.reason, candidate.refusal.detail))
    started = time.perf_counter()
    try:
        scan = daemon.scan_of(stack) or load_stack(stack, files, head_only=False)
    except NotAnalysable as error:
        return _unread(study, _skip(stack, error.reason, error.detail))
    timings_ms = {"decode": (time.perf_counter() - started) * 1e3}
    if daemon.chosen is not None and daemon.chosen.scan is scan:
        timings_ms = dict(daemon.chosen.timings_ms)
    finding = read_scan(scan, reader.read, rule, timings_ms=timings_ms)
    others = [s for s in skipped_by(daemon.ranking) if s.series_instance_uid != stack.series_instance_uid]
    record = record_of(finding, rule=rule, state=ANALYSED, skipped=others, software_version=__version__)
    refusal = daemon.says(stack, scan)
    record["daemon_would_read"] = refusal is None
    record["daemon_would_skip"] = refusal and skipped_record(refusal)
    if refusal is not None and refusal.reason is not Reason.RANKED_LOWER:
        record["triage"] = str(Triage.INDETERMINATE)
    return record


def _skip(stack: Stack, reason: Reason, detail: str) -> SkippedSeries:
    return SkippedSeries(series_instance_uid=stack.series_instance_uid, reason=reason, detail=detail)
