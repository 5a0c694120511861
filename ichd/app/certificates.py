"""Which certificates the settings name, and which of them end soon."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

from ichd.domain.errors import SettingsError
from ichd.domain.reason import Reason
from ichd.settings import Settings
from ichd.store.ticks import Trouble
from ichd.tls import certificate_end


def certificate_files(settings: Settings) -> dict[str, Path]:
    """PEM files by the name that alerts give them, ours for others to trust."""
    return dict(_named(settings))


def ends_of(files: Mapping[str, Path]) -> tuple[dict[str, datetime], dict[str, str]]:
    """When each ends, and what is wrong with those that don't say.

    A file that is not there is left out: each role has its own, and may have a machine of its own. A role that misses
    its file does not start, or says so with each delivery.
    """
    ends: dict[str, datetime] = {}
    faults: dict[str, str] = {}
    for name, path in files.items():
        try:
            end = certificate_end(path)
        except SettingsError as error:
            faults[name] = str(error)
        else:
            if end is not None:
                ends[name] = end
    return ends, faults


def trouble_of(
    ends: Mapping[str, datetime], faults: Mapping[str, str], *, within: timedelta, now: datetime
) -> Trouble | None:
    """Those that end within a time, the first to end first, and those that can't be used at all."""
    due = sorted((end, name) for name, end in ends.items() if end - now <= within)
    words = [f"{name} {'ended' if end <= now else 'ends'} on {end:%Y-%m-%d}" for end, name in due]
    words += [f"{name}: {fault}" for name, fault in sorted(faults.items())]
    return Trouble(reason=Reason.CERTIFICATE_EXPIRING, detail="; ".join(words)) if words else None


def _named(settings: Settings) -> Iterator[tuple[str, Path]]:
    if settings.dicom.tls is not None:
        yield "dicom.tls", settings.dicom.tls.certificate
    if settings.web.certificate is not None:
        yield "web", settings.web.certificate
    for kind, named in (("destination", settings.destination), ("source", settings.source)):
        for each in named:
            if each.tls is not None and each.tls.certificate is not None:
                yield f"{kind} {each.name}", each.tls.certificate
    if settings.audit.certificate is not None:
        yield "audit", settings.audit.certificate
