"""DICOMweb (PS3.18): as an origin server what our own router serves, as a user agent what the settings name."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import APIRouter
from fastapi.routing import APIRoute
from pydicom.uid import UID
from sqlalchemy import create_engine

from ichd.app.conformance.document import Block, Chapter, Table
from ichd.intake.claim import ACCEPTED_SOP_CLASSES
from ichd.intake.feedback.key_objects import KEY_OBJECT_SELECTION
from ichd.intake.stow.media import JSON, XML
from ichd.intake.syntax import TRANSFER_SYNTAXES
from ichd.settings import Settings
from ichd.store.catalogue import Catalogue
from ichd.store.spool import Spool
from ichd.web.dicomweb import dicomweb_router
from ichd.web.dicomweb.accept import DEFAULT_SYNTAX
from ichd.web.dicomweb.attributes import CATALOGUED, READ, RETURNED, Level, up_to
from ichd.web.dicomweb.frames import MEDIA_TYPES
from ichd.web.dicomweb.query import MOST_RESULTS
from ichd.web.dicomweb.rendered import PICTURES


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A resource of the origin server."""

    method: str
    path: str


def resources() -> tuple[Resource, ...]:
    """All of QIDO-RS and WADO-RS, off the router that serves them; and STOW-RS."""
    # The router asks nothing of its catalogue before the first request comes.
    router = dicomweb_router(Catalogue(create_engine("sqlite://"), Spool(Path("spool"))))
    return (*_routes(router), *(Resource(method="POST", path=f"{router.prefix}/studies{rest}") for rest in _STORED_TO))


_STORED_TO = ("", "/{study_uid}")


def web_services(settings: Settings, served: Sequence[Resource]) -> Chapter:
    """Origin server and user agents."""
    return Chapter(
        title="DICOMweb services", chapters=(_store(settings), _search(), _retrieve(served), *_user_agents(settings))
    )


def _store(settings: Settings) -> Chapter:
    classes = [(UID(uid).name, uid) for uid in (*ACCEPTED_SOP_CLASSES, KEY_OBJECT_SELECTION)]
    return Chapter(
        title="Origin server: STOW-RS",
        blocks=(
            f'Instances as `multipart/related; type="application/dicom"`, at most {settings.web.max_request_mb} MiB a '
            f"request and {settings.dicom.max_instance_mb} MiB a data set. The answer is `{JSON}` or `{XML}`. Metadata "
            "with bulk data, and instances in other media types, are not taken. Transfer syntaxes are those of the "
            f"listener ({len(TRANSFER_SYNTAXES)}).",
            Table(columns=("SOP class", "UID"), rows=classes),
        ),
    )


def _search() -> Chapter:
    rows = [
        (
            level.name.title(),
            ", ".join(sorted(up_to(level, CATALOGUED))),
            ", ".join(sorted(up_to(level, READ))) or "-",
            ", ".join(RETURNED[level]),
        )
        for level in Level
    ]
    return Chapter(
        title="Origin server: QIDO-RS",
        blocks=(
            f"The answer is `application/dicom+json`. `limit`, `offset` and `includefield` are supported, fuzzy "
            f"matching is not; a search over all studies gives at most {MOST_RESULTS} results at once.",
            Table(columns=("level", "matched by", "matched by reading a file", "returned, beside UIDs"), rows=rows),
        ),
    )


def _retrieve(served: Sequence[Resource]) -> Chapter:
    compressed = [(UID(uid).name, uid, media) for uid, media in MEDIA_TYPES.items()]
    return Chapter(
        title="Origin server: WADO-RS",
        blocks=(
            Table(columns=("method", "resource"), rows=[(each.method, f"`{each.path}`") for each in served]),
            f"Instances are given in {UID(DEFAULT_SYNTAX).name} where the client names no transfer syntax, and as they "
            f"were stored for `transfer-syntax=*`. Pictures are {' or '.join(PICTURES)}.",
            Table(caption="Frames as stored", columns=("transfer syntax", "UID", "media type"), rows=compressed),
        ),
    )


def _user_agents(settings: Settings) -> list[Chapter]:
    rows = [
        (each.name, _host(each.url), "STOW-RS" + (", QIDO-RS" if each.confirm == "read_back" else ""))
        for each in settings.destination
        if each.kind == "stow"
    ]
    rows += [(each.name, _host(each.url), "QIDO-RS, WADO-RS") for each in settings.source if each.kind == "dicomweb"]
    said: Block = (
        Table(columns=("peer", "server", "services"), rows=rows)
        if rows
        else "These settings name no DICOMweb destination and no DICOMweb source."
    )
    return [Chapter(title="User agent", blocks=(said,))]


def _host(url: str | None) -> str:
    """What else stands in a URL may be a secret."""
    parts = urlsplit(url or "")
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")


def _routes(router: APIRouter) -> list[Resource]:
    return [
        Resource(method=method, path=route.path)
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in sorted(route.methods or ())
    ]
