"""`ichd predict`: the model on files, no daemon, no database; one record a series.

Researchers look at single slices and partial scans too, so every axial CT series is read, down to one slice. What the
daemon would have refused carries the reason, and its triage is indeterminate.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ichd import __version__
from ichd.domain.errors import NotAnalysable, Refused, UserError
from ichd.domain.finding import Triage
from ichd.domain.reason import Reason
from ichd.domain.record import Record, record_of, skipped_record, unread_record
from ichd.domain.selection import SelectionPolicy, refusal_of, select_series
from ichd.domain.study import InstanceFacts, SeriesFacts, SkippedSeries, StudyFacts, StudyState
from ichd.intake.header import read_facts
from ichd.pipeline.reading import ReadingPolicy, load_series, read_scan
from ichd.vision.headness import require_head
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
    """One record a series, in the order of the studies' and series' UIDs."""
    lenient = SelectionPolicy(
        max_degrees_from_axial=policy.selection.max_degrees_from_axial,
        min_positions=1,
        min_coverage_mm=0.0,
        max_slices=policy.selection.max_slices,
    )
    for study in group(gathered.facts):
        selection = select_series(study, lenient)
        for skipped in selection.skipped:
            yield _unread(study, skipped)
        for series in selection.candidates:
            yield _read(study, series, gathered.files, reader, policy, selection.skipped)


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
    return unread_record(
        study_uid=study.study_instance_uid,
        series_uid=skipped.series_instance_uid,
        state=StudyState.NOT_ANALYSED,
        reason=skipped.reason,
        detail=skipped.detail,
        skipped=(),
    )


def _read(
    study: StudyFacts,
    series: SeriesFacts,
    files: Mapping[str, Path],
    reader: Reader,
    policy: ReadingPolicy,
    skipped: Sequence[SkippedSeries],
) -> Record:
    rule = reader.engine.bundle.rule
    started = time.perf_counter()
    try:
        scan = load_series(series, files)
    except NotAnalysable as error:
        return _unread(study, _skip(series, error.reason, error.detail))
    finding = read_scan(scan, reader.read, rule, decode_ms=(time.perf_counter() - started) * 1e3)
    record = record_of(finding, rule=rule, state=ANALYSED, skipped=skipped, software_version=__version__)
    refusal = _what_the_daemon_would_say(series, scan, policy)
    record["daemon_would_skip"] = refusal and skipped_record(refusal)
    if refusal is not None:
        record["triage"] = str(Triage.INDETERMINATE)
    return record


def _what_the_daemon_would_say(series: SeriesFacts, scan: HeadScan, policy: ReadingPolicy) -> SkippedSeries | None:
    refusal = refusal_of(series, policy.selection)
    if refusal is not None:
        return _skip(series, refusal.reason, refusal.detail)
    if policy.require_head:
        try:
            require_head(scan)
        except NotAnalysable as error:
            return _skip(series, error.reason, error.detail)
    return None


def _skip(series: SeriesFacts, reason: Reason, detail: str) -> SkippedSeries:
    return SkippedSeries(series_instance_uid=series.series_instance_uid, reason=reason, detail=detail)
