"""A report of ours, as a person reads it on a terminal."""

from collections.abc import Mapping

from ichd.domain.finding import Triage
from ichd.report.readable import ReadableClass, ReadableReport, ReadableUnread

_BAR_WIDTH = 20


def render_text(report: ReadableReport | ReadableUnread) -> str:
    """The report in lines, none of the finding's longer than a UID makes it."""
    lines = _unread_lines(report) if isinstance(report, ReadableUnread) else _finding_lines(report)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _unread_lines(report: ReadableUnread) -> list[str]:
    return [
        "Intracranial haemorrhage: NOT ANALYSED",
        f"Reason      {report.reason}",
        *_origin(report),
        "",
        *report.comments,
    ]


def _finding_lines(report: ReadableReport) -> list[str]:
    model = report.model
    return [
        f"Intracranial haemorrhage: {_VERDICT[report.triage]}",
        f"Model       {model.name} {model.version}, weights {model.weights_sha256[:12]}",
        *([f"            {model.statement}"] if model.statement else []),
        *([f"Status      {report.status}"] if report.status else []),
        f"Series read {report.series_instance_uid or '-'}",
        *_origin(report),
        "",
        f"{'kind':<18}{'presence':<14}{'probability':>11}  {'':<{_BAR_WIDTH}}  key slices (end of SOP Instance UID)",
        *(_row(c) for c in report.classes),
        "",
        *report.comments,
    ]


def _origin(report: ReadableReport | ReadableUnread) -> list[str]:
    return [
        f"Study       {report.study_instance_uid}",
        f"Accession   {report.accession_number or '-'}",
        f"Report      {report.sop_instance_uid}",
        *([f"Replaces    {report.predecessor}"] if report.predecessor else []),
        f"Created     {report.created_at.replace('T', ' ')} by ichd {report.software_version}",
    ]


_VERDICT: Mapping[Triage, str] = {
    Triage.URGENT: "URGENT",
    Triage.ROUTINE: "routine",
    Triage.INDETERMINATE: "INDETERMINATE, a person must look",
}


def _row(finding: ReadableClass) -> str:
    filled = round(finding.probability * _BAR_WIDTH)
    bar = "█" * filled + "·" * (_BAR_WIDTH - filled)
    slices = ", ".join(map(_key_slice, finding.key_slices, finding.key_frames)) or "-"
    return f"{finding.name:<18}{finding.presence:<14}{_percent(finding.probability):>11}  {bar}  {slices}"


def _key_slice(uid: str, frame: int | None) -> str:
    return f"…{uid[-8:]}" if frame is None else f"…{uid[-8:]} frame {frame}"


def _percent(probability: float) -> str:
    """One decimal, and never certainty that the model did not express."""
    if 0.0 < probability < 0.0005:
        return "<0.1 %"
    if 0.9995 <= probability < 1.0:
        return ">99.9 %"
    return f"{100 * probability:.1f} %"
