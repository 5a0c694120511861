"""audit."""

from typing import TYPE_CHECKING, Annotated

import typer

from ichd.cli.invocation import settings_of
from ichd.cli.output import AsJson, console, print_json, table
from ichd.domain.audit import AuditEntry, AuditEvent, AuditOutcome
from ichd.domain.errors import UserError
from ichd.telemetry import configure_logging

if TYPE_CHECKING:
    from ichd.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(audit)


def audit(
    context: typer.Context,
    since: Annotated[str | None, typer.Option("--since", metavar="1d", help="Only since: 30m, 2h, 1d.")] = None,
    event: Annotated[AuditEvent | None, typer.Option("--event", help="Only what happened of this kind.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="The newest so many.")] = 50,
    as_json: AsJson = False,
    as_xml: Annotated[bool, typer.Option("--xml", help="Print DICOM audit messages, one a line.")] = False,
) -> None:
    """The audit trail: who was refused, what came and went, settings changed, log-ins; the newest last."""
    from ichd.app.checks import open_existing
    from ichd.app.clock import ago, clock_of
    from ichd.store.audit import Audit

    if as_json and as_xml:
        raise UserError("--json and --xml exclude each other; leave one out")
    settings = settings_of(context)
    configure_logging("warning", settings.log.format)
    engine = open_existing(settings).engine
    start = None if since is None else ago(since, clock_of(engine)())
    trail = Audit(engine)
    entries = trail.read(limit=limit, event=event, since=start, newest_first=True)[::-1]
    if as_json:
        print_json([_shape(entry) for entry in entries])
    elif as_xml:
        _print_messages(entries, settings)
    elif entries:
        console().print(table(None, ("at", "event", "outcome", "who", "what"), map(_row, entries)))
    else:
        typer.echo("the audit trail has nothing of that kind")


def _print_messages(entries: list[AuditEntry], settings: "Settings") -> None:
    from ichd.app.audit import audit_source
    from ichd.publish.audit_message import render

    source = audit_source(settings)
    for entry in entries:
        typer.echo(render(entry, source).decode())


def _shape(entry: AuditEntry) -> dict[str, object]:
    return {
        "id": entry.id,
        "at": entry.at.isoformat(),
        "event": entry.event,
        "outcome": _outcome(entry),
        "actor": entry.actor,
        "address": entry.address,
        "subject": dict(entry.subject),
    }


def _row(entry: AuditEntry) -> tuple[str, ...]:
    return (
        entry.at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        # In words, which fold where a terminal is narrow.
        entry.event.replace("_", " "),
        _outcome(entry).replace("_", " "),
        _harmless(" at ".join(part for part in (entry.actor, entry.address) if part)),
        _harmless(_what(entry)),
    )


def _harmless(words: str) -> str:
    """A stranger may call himself by an escape sequence, which would speak to the terminal of who looks for him."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in words)


def _outcome(entry: AuditEntry) -> str:
    return AuditOutcome(entry.outcome).name.lower()


def _what(entry: AuditEntry) -> str:
    subject = entry.subject
    match entry.event:
        case AuditEvent.APPLICATION_STARTED | AuditEvent.APPLICATION_STOPPED:
            return f"{subject['role']} on {subject['host']}, version {subject['version']}"
        case AuditEvent.ASSOCIATION_REFUSED:
            return f"{subject['reason']} ({subject['detail']})" if subject.get("detail") else subject["reason"]
        case AuditEvent.INSTANCES_STORED:
            return f"{subject['instances']} new in study {subject['study_instance_uid']}"
        case AuditEvent.IMAGES_DROPPED:
            return f"{subject['instances']} of study {subject['study_instance_uid']}, by {subject['why']}"
        case AuditEvent.RESULTS_SENT:
            what = f"to {subject['destination']}, study {subject['study_instance_uid']}"
            return f"{what}: {subject['reason']}" if "reason" in subject else what
        case AuditEvent.SETTINGS_CHANGED:
            return ", ".join(subject["changed"]) or "seen for the first time"
        case AuditEvent.MODEL_CHANGED:
            return f"{subject['did']}: {subject['model']} after {subject['before']}; gate: {subject['gate']}"
        case AuditEvent.STUDY_RETRIED:
            return f"{subject['jobs']} of study {subject['study_instance_uid']}"
        case AuditEvent.STUDY_REPROCESSED:
            return f"study {subject['study_instance_uid']} as revision {subject['revision']}"
        case AuditEvent.STUDY_FORGOTTEN:
            return f"study {subject['study_instance_uid']} with {subject['instances']} images"
        case AuditEvent.PATIENT_SHOWN:
            return f"who is examined in study {subject['study_instance_uid']}"
        case AuditEvent.LOG_IN | AuditEvent.LOG_OUT:
            return ", ".join(f"{name} {value}" for name, value in subject.items()) or "-"
