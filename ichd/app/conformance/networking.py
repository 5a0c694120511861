"""The AE specifications: association policies, and presentation contexts accepted and proposed."""

from collections.abc import Sequence

from pydicom.uid import UID

from ichd.app.conformance.document import Block, Chapter, Table
from ichd.app.conformance.facts import Activity, Context
from ichd.intake.ask.transport import MAX_PDU
from ichd.intake.dimse.associate import APPLICATION_CONTEXT
from ichd.intake.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from ichd.intake.status import STATUS
from ichd.publish.pdu import OUR_MAX_PDU
from ichd.settings import DestinationSettings, Settings

#: Of storage (PS3.4 table B.2-1).
_SUCCESS_ROW = ("0x0000", "success", "The image is on disk and in the database; or it was there already, bit for bit.")
_PROOF = {"no": "the response to C-STORE", "commitment": "storage commitment", "read_back": "C-FIND"}
_CONTEXT_COLUMNS = ("abstract syntax", "UID", "transfer syntaxes, preferred first", "role", "for")


def networking(settings: Settings, accepted: Sequence[Context], opened: Sequence[Activity]) -> Chapter:
    """Both parts of the AE."""
    return Chapter(title="Networking", chapters=(_listener(settings, accepted), _initiator(settings, opened)))


def communication(settings: Settings) -> Chapter:
    """TCP/IP, ports and physical medium (PS3.8)."""
    dicom, web = settings.dicom, settings.web
    rows = [
        ("DIMSE", f"{dicom.host}:{dicom.port}", "TLS" if dicom.tls else "plain"),
        ("DICOMweb", f"{web.host}:{web.port}", "https" if web.certificate else "http"),
    ]
    if settings.feedback.hl7_port is not None:
        rows.append(("HL7 v2 over MLLP", f"port {settings.feedback.hl7_port}", "plain"))
    return Chapter(
        title="Communication details",
        blocks=(
            "DICOM Upper Layer over TCP/IP (PS3.8), IPv4 and IPv6, on whatever physical medium the system has.",
            Table(columns=("protocol", "listens on", "encryption"), rows=rows),
        ),
    )


def _listener(settings: Settings, accepted: Sequence[Context]) -> Chapter:
    dicom = settings.dicom
    return Chapter(
        title=f"The listener, AE title {dicom.ae_title}",
        chapters=(
            Chapter(title="Association policies", blocks=(_policies(settings),)),
            Chapter(title="Accepted presentation contexts", blocks=_contexts(accepted)),
            Chapter(title="Storage: statuses", blocks=(_statuses(),)),
            Chapter(
                title="Storage commitment and announcements",
                blocks=(
                    "Storage commitment (Push Model) is provided for images: committed is what is in the database and "
                    "whose bytes were read again. N-ACTION is accepted of an AE that is a `[[source]]`; the answer "
                    "(N-EVENT-REPORT) goes there on an association that we open, in the role of the SCP.",
                    "Instance Availability Notification and Modality Performed Procedure Step are taken as evidence "
                    "of how many images a study has. Nothing else is kept of them.",
                ),
            ),
        ),
    )


def _policies(settings: Settings) -> Table:
    dicom = settings.dicom
    callers = [f"{each.ae_title or 'any AE title'} at {each.address or 'any address'}" for each in dicom.allowed_peers]
    return Table(
        columns=("policy", "value"),
        rows=(
            ("Application context", APPLICATION_CONTEXT),
            ("Calling AE titles and addresses", "; ".join(callers) or "anybody"),
            ("Called AE title", f"must be {dicom.ae_title}" if dicom.require_called_ae_title else "any"),
            ("Maximum length of a received PDU", f"{dicom.max_pdu} bytes; a longer one ends the association"),
            ("Simultaneous associations", f"{dicom.max_associations}, {dicom.max_associations_per_address} an address"),
            ("Simultaneous connections", f"{dicom.max_connections}, {dicom.max_connections_per_address} an address"),
            ("Largest data set", f"{dicom.max_instance_mb} MiB"),
            ("Most in one association", f"{dicom.max_association_mb} MiB"),
            ("Time for an association request", f"{dicom.association_timeout_s:g} s"),
            ("Silence that ends a connection", f"{dicom.network_timeout_s:g} s"),
            ("Asynchronous operations", "not negotiated: one operation at a time"),
            ("SOP class extended negotiation, user identity", "not supported; left unanswered"),
            *_implementation(),
        ),
    )


def _implementation() -> tuple[tuple[str, str], ...]:
    return (
        ("Implementation Class UID", IMPLEMENTATION_CLASS_UID),
        ("Implementation Version Name", IMPLEMENTATION_VERSION_NAME),
    )


def _statuses() -> Table:
    rows = [(f"0x{status:04X}", str(reason), reason.meaning) for reason, status in STATUS.items()]
    return Table(columns=("status", "error comment begins with", "meaning"), rows=[_SUCCESS_ROW, *rows])


def _initiator(settings: Settings, opened: Sequence[Activity]) -> Chapter:
    blocks: list[Block] = [
        Table(
            columns=("policy", "value"),
            rows=(
                ("Maximum length of a received PDU", f"{OUR_MAX_PDU} bytes as a sender, {MAX_PDU} as one who asks"),
                ("Associations", "one to a destination and one to a source at a time, for each worker or command"),
                ("Retries", "by the queue, with growing pauses; an association that fails is not repeated by itself"),
                ("Asynchronous operations", "not negotiated: one operation at a time"),
                *_implementation(),
            ),
        )
    ]
    if not opened:
        blocks.append("These settings name no DIMSE destination and no DIMSE source: none is opened by itself.")
    blocks.append(
        "`ichd send` opens one to whom it is told, and proposes each file's SOP class and transfer syntax. "
        "`ichd commission` sends CT images, asks the archive by Study Root FIND, and by Study Root GET for single "
        "objects, of whose SOP class it is then the SCP."
    )
    chapters = [Chapter(title=each.name, blocks=(f"To `{each.peer}`.", *_contexts(each.contexts))) for each in opened]
    ladders = [each for each in settings.destination if each.kind == "dimse" and "sr" in each.sends]
    if ladders:
        blocks.append(
            "Each encoding of a class is proposed in a context of its own. A report goes in the first form that the "
            "peer accepts: Comprehensive 3D SR, Comprehensive SR, Enhanced SR, else a picture of it. A failure status "
            "0xA7xx or 0x0213 is tried again; 0x0122 means the next form; any other failure ends the delivery. "
            "Warnings (0xBxxx, 0x0001, 0x0107, 0x0116) count as stored."
        )
        blocks.append(_ladders(ladders))
    return Chapter(title=f"The initiator, AE title {settings.dicom.ae_title}", blocks=blocks, chapters=chapters)


def _ladders(destinations: Sequence[DestinationSettings]) -> Table:
    return Table(
        caption="What each destination gets",
        columns=("destination", "objects", "of studies that were not read", "proof", "given up after"),
        rows=[
            (
                each.name,
                ", ".join(each.sends),
                "a short report" if each.not_analysed else "nothing",
                _PROOF[each.confirm],
                f"{each.give_up_after_h:g} h",
            )
            for each in destinations
        ],
    )


def _contexts(contexts: Sequence[Context]) -> tuple[Block, ...]:
    """One table where few transfer syntaxes are concerned; a long list of them has a table of its own."""
    lists: dict[tuple[str, ...], list[Context]] = {}
    for context in _joined(contexts):
        lists.setdefault(context.transfer_syntaxes, []).append(context)
    long_lists = [syntaxes for syntaxes in lists if len(syntaxes) > _FEW]
    names = {syntaxes: _in_a_cell(syntaxes) for syntaxes in lists if len(syntaxes) <= _FEW}
    names |= {syntaxes: f"list {place}" for place, syntaxes in enumerate(long_lists, start=1)}
    rows = [
        (UID(each.abstract_syntax).name, each.abstract_syntax, names[each.transfer_syntaxes], each.role, each.use)
        for each in _joined(contexts)
    ]
    long_ones = (
        Table(
            caption=f"Transfer syntaxes of {names[syntaxes]}",
            columns=("transfer syntax", "UID"),
            rows=[(UID(uid).name, uid) for uid in syntaxes],
        )
        for syntaxes in long_lists
    )
    return Table(columns=_CONTEXT_COLUMNS, rows=rows), *long_ones


#: Transfer syntaxes that a cell holds.
_FEW = 3


def _in_a_cell(syntaxes: Sequence[str]) -> str:
    return "; ".join(UID(uid).name for uid in syntaxes)


def _joined(contexts: Sequence[Context]) -> list[Context]:
    """Contexts of one class and role as one line."""
    together: dict[tuple[str, str, str], list[str]] = {}
    for each in contexts:
        together.setdefault((each.abstract_syntax, each.role, each.use), []).extend(each.transfer_syntaxes)
    return [
        Context(abstract_syntax=abstract, role=role, use=use, transfer_syntaxes=tuple(syntaxes))
        for (abstract, role, use), syntaxes in together.items()
    ]
