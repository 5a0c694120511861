"""From settings to the archives that may be asked."""

from ichd.app.credentials import secret_of
from ichd.domain.errors import UserError
from ichd.intake.ask.sources import DimseSource, Source, WebSource
from ichd.settings import Settings, SourceSettings
from ichd.settings.base import host_of, port_of
from ichd.tls import ClientTls


def source_of(source: SourceSettings, settings: Settings) -> Source:
    """A source as intake knows it.

    Raises:
        UserError: a file that holds a secret of it can't be read.
    """
    tls = None if source.tls is None else ClientTls(**source.tls.model_dump())
    if source.kind == "dicomweb":
        return WebSource(
            name=source.name,
            url=source.url or "",
            token=secret_of(source.token, source.token_file),
            account=source.account,
            password=secret_of(source.password, source.password_file),
            tls=tls,
            timeout_s=source.timeout_s,
        )
    address = source.address or ""
    return DimseSource(
        name=source.name,
        host=host_of(address),
        port=port_of(address),
        ae_title=source.ae_title or "",
        calling_ae_title=settings.dicom.ae_title,
        retrieve=source.retrieve,
        tls=tls,
        timeout_s=source.timeout_s,
    )


def source_named(name: str, settings: Settings) -> Source:
    """The source of that name.

    Raises:
        UserError: the settings have none.
    """
    for source in settings.source:
        if source.name == name:
            return source_of(source, settings)
    known = ", ".join(source.name for source in settings.source)
    raise UserError(
        f"there is no source {name!r}; " + (f"use one of {known}" if known else "add a [[source]] to the settings")
    )


def sources_by_ae_title(settings: Settings) -> dict[str, DimseSource]:
    """Where to answer an AE that asks for storage commitment; of two sources with one AE title the first."""
    found = [source_of(source, settings) for source in reversed(settings.source) if source.kind == "dimse"]
    return {source.ae_title.strip(): source for source in found if isinstance(source, DimseSource)}


def counting_sources(settings: Settings) -> list[Source]:
    """Those that are asked how many images a study has."""
    return [source_of(source, settings) for source in settings.source if source.counts]
