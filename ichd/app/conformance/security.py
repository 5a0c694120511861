"""TLS profiles, who is let in, and the audit trail (PS3.15)."""

from ichd.app.conformance.document import Chapter, Table
from ichd.domain.audit import AuditEvent
from ichd.settings import Settings


def security(settings: Settings) -> Chapter:
    """What is encrypted, who must show what, what is written down."""
    return Chapter(title="Security", chapters=(_tls(settings), _entry(settings), _audit(settings)))


def _tls(settings: Settings) -> Chapter:
    dicom, web = settings.dicom, settings.web
    rows = [
        (
            "DIMSE, listener",
            "no" if dicom.tls is None else "BCP 195 (PS3.15 B.12): TLS 1.2 and 1.3",
            "-" if dicom.tls is None else ("required" if dicom.tls.client_ca else "not asked for"),
        ),
        (
            "DICOMweb, origin server",
            "BCP 195 (PS3.15 B.12): TLS 1.2 and 1.3" if web.certificate else ("by a proxy" if web.behind_tls else "no"),
            "not asked for" if web.certificate else "-",
        ),
        *(
            (f"to {kind} {each.name}", _client(each.tls is not None, each.url), _shows(each.tls))
            for kind, peers in (("destination", settings.destination), ("source", settings.source))
            for each in peers
        ),
    ]
    return Chapter(
        title="Secure transport",
        blocks=(
            "As a server, our cipher suites of TLS 1.2 have forward secrecy and authenticated encryption (ECDHE with "
            "AES-GCM or ChaCha20-Poly1305). Certificates that are renewed are taken without a restart.",
            Table(columns=("connection", "secure transport profile", "client certificate"), rows=rows),
        ),
    )


def _client(encrypted: bool, url: str | None) -> str:
    if encrypted or (url or "").startswith("https://"):
        return "BCP 195 (PS3.15 B.12): TLS 1.2 and 1.3"
    return "no"


def _shows(tls: object) -> str:
    return "shown" if getattr(tls, "certificate", None) else "-"


def _entry(settings: Settings) -> Chapter:
    dicom, web = settings.dicom, settings.web
    accounts = f"{len(web.account)} accounts, with a password or a token" if web.account else "none: loopback only"
    return Chapter(
        title="Who is let in",
        blocks=(
            (
                f"Associations: {'listed calling AE titles and addresses' if dicom.allowed_peers else 'anybody'}"
                f"{', with a certificate of a trusted authority' if dicom.tls and dicom.tls.client_ca else ''}.",
                f"DICOMweb and pages: {accounts}.",
                "User identity negotiation (PS3.7 D.3.3.7) is not supported.",
            ),
        ),
    )


def _audit(settings: Settings) -> Chapter:
    audit = settings.audit
    where = (
        "The collector of these settings is none: the trail stays in the database."
        if audit.syslog is None
        else f"They go to {audit.syslog} by syslog over {audit.transport} (RFC 5424)."
    )
    return Chapter(
        title="Audit trail",
        blocks=(
            f"Audit trail messages are those of PS3.15 A.5. {where}",
            Table(columns=("event",), rows=[(str(event),) for event in AuditEvent]),
        ),
    )
