"""What is negotiated: the very tables that the listener answers by, and those that senders propose from."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pynetdicom.presentation import PresentationContext

from ichd.app.destinations import route_of
from ichd.app.listener import OBJECT_CLASSES, PROVIDED_CLASSES, SERVICE_CLASSES
from ichd.app.sources import source_of
from ichd.domain.delivery import proposed
from ichd.intake.announced import PERFORMED_STEP
from ichd.intake.ask import get
from ichd.intake.ask.association import service
from ichd.intake.ask.dimse_find import STUDY_ROOT_FIND
from ichd.intake.ask.dimse_find import VERIFICATION as ASKED_VERIFICATION
from ichd.intake.ask.move import STUDY_ROOT_MOVE
from ichd.intake.ask.sources import DimseSource
from ichd.intake.claim import ACCEPTED_SOP_CLASSES
from ichd.intake.commitment import PUSH_MODEL
from ichd.intake.dimse.negotiation import VERIFICATION, offered_contexts
from ichd.publish import commitment, echo, find
from ichd.publish.association import in_all_syntaxes
from ichd.settings import DestinationSettings, Settings, SourceSettings


@dataclass(frozen=True, kw_only=True)
class Context:
    """A presentation context: of a listener one that it accepts, of a sender one that it proposes."""

    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]
    #: Ours: "SCU", "SCP" or "SCU, SCP".
    role: str
    #: What it is there for.
    use: str


@dataclass(frozen=True, kw_only=True)
class Activity:
    """A real-world activity that opens an association (PS3.2)."""

    name: str
    #: Whom it is opened to, as AET@HOST:PORT.
    peer: str
    #: In the order in which they are proposed.
    contexts: tuple[Context, ...]


def accepted_contexts() -> tuple[Context, ...]:
    """All that the listener accepts, each transfer syntax in the order of its preference."""
    offered = offered_contexts((*SERVICE_CLASSES, *OBJECT_CLASSES))
    return tuple(
        Context(
            abstract_syntax=sop_class,
            transfer_syntaxes=syntaxes,
            role="SCU, SCP" if sop_class in PROVIDED_CLASSES else "SCP",
            use=_use(sop_class),
        )
        for sop_class, syntaxes in offered.items()
    )


def activities(settings: Settings) -> Iterator[Activity]:
    """All that these settings make us open associations for.

    Raises:
        UserError: a file that holds a secret of a destination or source can't be read.
    """
    for destination in settings.destination:
        if destination.kind == "dimse":
            yield from _to_destination(destination, settings)
    for source in settings.source:
        if source.kind == "dimse":
            yield from _to_source(source, settings)


def _use(sop_class: str) -> str:
    if sop_class == VERIFICATION:
        return "C-ECHO"
    if sop_class in ACCEPTED_SOP_CLASSES:
        return "C-STORE of images"
    if sop_class in OBJECT_CLASSES:
        return "C-STORE of a reader's word on a report"
    if sop_class in PROVIDED_CLASSES:
        return "N-ACTION as a provider; N-EVENT-REPORT of a destination that we asked"
    return "N-CREATE, N-SET of a step" if sop_class == PERFORMED_STEP else "N-CREATE of a notification"


def _to_destination(destination: DestinationSettings, settings: Settings) -> Iterator[Activity]:
    peer = f"{destination.ae_title}@{destination.address}"
    wanted = route_of(destination, settings).wanted
    reports = in_all_syntaxes(proposed(wanted))
    yield Activity(name=f"Send reports to {destination.name}", peer=peer, contexts=_proposed(reports, "C-STORE"))
    verification = in_all_syntaxes([echo.VERIFICATION])
    yield Activity(name=f"Verify {destination.name}", peer=peer, contexts=_proposed(verification, "C-ECHO"))
    if destination.confirm == "commitment":
        asked = in_all_syntaxes([commitment.PUSH_MODEL])
        yield Activity(
            name=f"Ask {destination.name} for storage commitment", peer=peer, contexts=_proposed(asked, "N-ACTION")
        )
    elif destination.confirm == "read_back":
        question = in_all_syntaxes([find.STUDY_ROOT_FIND])
        yield Activity(name=f"Read back from {destination.name}", peer=peer, contexts=_proposed(question, "C-FIND"))


def _to_source(settings: SourceSettings, of: Settings) -> Iterator[Activity]:
    source = source_of(settings, of)
    if not isinstance(source, DimseSource):
        return
    peer = f"{source.ae_title}@{source.host}:{source.port}"

    def activity(name: str, sop_class: str, use: str, role: str = "SCU") -> Activity:
        return Activity(name=name, peer=peer, contexts=_built([service(sop_class)], use, role))

    yield activity(f"Verify {source.name}", ASKED_VERIFICATION, "C-ECHO")
    yield activity(f"Query {source.name}", STUDY_ROOT_FIND, "C-FIND")
    if source.retrieve == "move":
        yield activity(f"Retrieve from {source.name}", STUDY_ROOT_MOVE, "C-MOVE to our AE title")
    else:
        first, *stored = get.contexts()
        got = (*_built([first], "C-GET", "SCU"), *_built(stored, "C-STORE of what C-GET asked for", "SCP"))
        yield Activity(name=f"Retrieve from {source.name}", peer=peer, contexts=got)
    yield activity(f"Report storage commitment to {source.name}", PUSH_MODEL, "N-EVENT-REPORT", "SCP")


def _proposed(pairs: Iterable[tuple[str, str]], use: str) -> tuple[Context, ...]:
    return tuple(
        Context(abstract_syntax=abstract, transfer_syntaxes=(transfer,), role="SCU", use=use)
        for abstract, transfer in pairs
    )


def _built(contexts: Sequence[PresentationContext], use: str, role: str) -> tuple[Context, ...]:
    return tuple(
        Context(
            abstract_syntax=str(each.abstract_syntax),
            transfer_syntaxes=tuple(map(str, each.transfer_syntax)),
            role=role,
            use=use,
        )
        for each in contexts
    )
