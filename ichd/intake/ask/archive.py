"""The right way to ask, by the kind of source."""

from collections.abc import Iterator
from contextlib import contextmanager

from ichd.intake.ask.dimse_find import DimseArchive
from ichd.intake.ask.rows import Archive
from ichd.intake.ask.sources import DimseSource, Source
from ichd.intake.ask.web import WebArchive, web_client


@contextmanager
def archive_of(source: Source) -> Iterator[Archive]:
    """An archive that can be asked within the block.

    Raises:
        SettingsError: the certificates of the source can't be used.
    """
    if isinstance(source, DimseSource):
        yield DimseArchive(source)
        return
    with web_client(source) as client:
        yield WebArchive(source, client)


def check_source(source: Source) -> str:
    """Whether the source is there: C-ECHO, or a query for one study; in words.

    Raises:
        SettingsError: its certificates can't be used.
        Transient, Permanent: it is not there, or does not let us in.
    """
    if isinstance(source, DimseSource):
        DimseArchive(source).echo()
        return f"{source.ae_title} answers C-ECHO at {source.host}:{source.port}"
    with web_client(source) as client:
        WebArchive(source, client).check()
    return f"{source.url} answers QIDO-RS"
