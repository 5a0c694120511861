"""What commands tell the audit trail, and who takes it; what the roles tell is in `ichd.app.trail`."""

import socket

from ichd.app.checks import require_database
from ichd.app.clock import clock_of
from ichd.app.trail import user_name
from ichd.domain.audit import AuditEvent, AuditOutcome
from ichd.domain.errors import IchdError
from ichd.domain.finding import ModelIdentity
from ichd.publish.audit_message import AuditSource
from ichd.publish.syslog import Collector
from ichd.settings import Settings
from ichd.settings.base import host_of, port_of
from ichd.store.audit import Audit
from ichd.store.engine import check_schema, open_database


def record_model_change(
    settings: Settings, *, did: str, model: ModelIdentity, before: ModelIdentity, gate: str
) -> str | None:
    """Tell the trail that another model is in force, and why it could not be told; the change holds all the same."""
    try:
        require_database(settings.database.url)
        engine = open_database(settings.database.url)
        try:
            check_schema(engine)
            Audit(engine).record(
                at=clock_of(engine)(),
                event=AuditEvent.MODEL_CHANGED,
                outcome=AuditOutcome.SUCCESS,
                actor=user_name(),
                subject={
                    "did": did,
                    "model": f"{model.name} {model.version}",
                    "weights_sha256": model.weights_sha256,
                    "bundle_sha256": model.bundle_sha256,
                    "before": f"{before.name} {before.version}",
                    "gate": gate,
                },
            )
        finally:
            engine.dispose()
    except IchdError as error:
        return str(error)
    return None


def collector_of(settings: Settings) -> Collector | None:
    """Who takes the trail."""
    audit = settings.audit
    if audit.syslog is None:
        return None
    return Collector(
        host=host_of(audit.syslog),
        port=port_of(audit.syslog),
        transport=audit.transport,
        ca=audit.ca,
        certificate=audit.certificate,
        key=audit.key,
    )


def audit_source(settings: Settings) -> AuditSource:
    """Who we are in audit messages."""
    return AuditSource(host=socket.gethostname(), ae_title=settings.dicom.ae_title)
