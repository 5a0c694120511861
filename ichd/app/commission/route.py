"""The way there and back: who gets the phantoms, who gets the reports, and how that one is asked."""

from collections.abc import Iterator
from dataclasses import dataclass

from ichd.app.destinations import sender_of
from ichd.app.sources import source_of
from ichd.domain.delivery import ObjectKind
from ichd.domain.errors import UserError
from ichd.intake.ask.sources import DimseSource, Source, WebSource
from ichd.publish.cstore import CStore
from ichd.publish.peer import DimsePeer
from ichd.publish.stow import Stow
from ichd.settings import DestinationSettings, Settings, SourceSettings
from ichd.tls import ClientTls


@dataclass(frozen=True, kw_only=True)
class LiveRoute:
    """From a sender to an archive that can be asked."""

    #: Who is sent the phantoms: our own listener, or an archive that routes them to us.
    entry: DimsePeer
    is_ours: bool
    destination: str
    #: The archive that gets the reports, as it is asked.
    archive: Source
    #: What it gets.
    wanted: tuple[ObjectKind, ...]

    @property
    def entry_in_words(self) -> str:
        """AET@HOST:PORT, and whose that is."""
        peer = self.entry
        return f"{peer.ae_title}@{peer.host}:{peer.port}" + (", our own listener" if self.is_ours else "")

    @property
    def archive_in_words(self) -> str:
        """How it is asked."""
        archive = self.archive
        if isinstance(archive, WebSource):
            return f"{archive.name}, by QIDO-RS and WADO-RS"
        return f"{archive.ae_title}@{archive.host}:{archive.port}, by C-FIND and C-GET"


def live_route(settings: Settings, name: str, *, via: DimsePeer | None = None) -> LiveRoute:
    """The route to the destination of that name; `via` stands in for our own listener.

    Raises:
        UserError: there is no such destination, it can't be asked for what it has, or it gets no report; or a file
            that holds a secret of it can't be read.
    """
    destination = _destination(settings, name)
    wanted = tuple(map(ObjectKind, destination.sends))
    if ObjectKind.SR not in wanted:
        raise UserError(f"destination {name} gets no Structured Report; add sr to what it is sent")
    return LiveRoute(
        entry=via or own_listener(settings),
        is_ours=via is None,
        destination=name,
        archive=_archive(destination, settings),
        wanted=wanted,
    )


def own_listener(settings: Settings) -> DimsePeer:
    """Our listener as a peer; one with TLS is shown its own certificate, which it must trust if it asks for one."""
    dicom = settings.dicom
    tls = None
    if dicom.tls is not None:
        tls = ClientTls(
            ca=dicom.tls.certificate, certificate=dicom.tls.certificate, key=dicom.tls.key, check_hostname=False
        )
    return DimsePeer(
        name="listener",
        host=dicom.local_host,
        port=dicom.port,
        ae_title=dicom.ae_title,
        calling_ae_title=dicom.ae_title,
        timeout_s=30.0,
        tls=tls,
    )


def _destination(settings: Settings, name: str) -> DestinationSettings:
    for destination in settings.destination:
        if destination.name == name:
            if destination.kind not in {"dimse", "stow"}:
                raise UserError(f"destination {name} is of kind {destination.kind}, which keeps no reports to ask for")
            return destination
    known = ", ".join(each.name for each in settings.destination if each.kind in {"dimse", "stow"})
    mend = f"use one of {known}" if known else "add a [[destination]] of kind dimse or stow"
    raise UserError(f"there is no destination {name!r}; {mend}")


def _archive(destination: DestinationSettings, settings: Settings) -> Source:
    """A source of the same name, AE or server; else the destination itself, asked where reports are sent to."""
    for source in _alike(destination, settings):
        return source_of(source, settings)
    sender = sender_of(destination, settings)
    if isinstance(sender, CStore):
        peer = sender.peer
        return DimseSource(
            name=peer.name,
            host=peer.host,
            port=peer.port,
            ae_title=peer.ae_title,
            calling_ae_title=peer.calling_ae_title,
            tls=peer.tls,
            timeout_s=peer.timeout_s,
        )
    if isinstance(sender, Stow):
        web = sender.peer
        return WebSource(
            name=web.name,
            url=web.url,
            token=web.token,
            account=web.account,
            password=web.password,
            tls=web.tls,
            timeout_s=web.timeout_s,
        )
    raise UserError(f"destination {destination.name} can't be asked for what it has")


def _alike(destination: DestinationSettings, settings: Settings) -> Iterator[SourceSettings]:
    yield from (each for each in settings.source if each.name == destination.name)
    same = (destination.address, destination.ae_title) if destination.kind == "dimse" else (None, None)
    for source in settings.source:
        if destination.kind == "dimse" and (source.address, source.ae_title) == same:
            yield source
        if destination.kind == "stow" and source.url is not None and source.url == destination.url:
            yield source
