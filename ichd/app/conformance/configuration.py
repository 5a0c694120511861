"""All settings with their present values; of a secret only whether it is set."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from ichd.app.conformance.document import Chapter, Table
from ichd.app.trail import named_values
from ichd.settings import Settings

_SECRETS = frozenset({"token", "password", "secret", "access_key", "secret_key"})


def configuration(settings: Settings) -> Chapter:
    """A table a section."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for name, value in _shown(settings):
        section = name.partition("[")[0].partition(".")[0]
        sections.setdefault(section, []).append((f"`{name}`", value))
    return Chapter(
        title="Configuration parameters",
        blocks=("Present values; what is secret is not shown. Each is explained in the reference of the settings.",),
        chapters=[
            Chapter(title=section, blocks=(Table(columns=("parameter", "value"), rows=rows),))
            for section, rows in sections.items()
        ],
    )


def _shown(settings: Settings) -> Iterator[tuple[str, str]]:
    for name, value in named_values(settings.model_dump(mode="json")):
        key = name.rpartition(".")[2]
        if key in _SECRETS:
            yield name, "-" if value is None else "(set)"
        elif key == "url" and value is not None:
            yield name, _without_secrets(str(value))
        else:
            yield name, _text(value)


def _without_secrets(url: str) -> str:
    """A database's without its password; of a web address scheme and host; a folder as it is."""
    if url.startswith(("http://", "https://")):
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return url


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "; ".join(map(_text, value)) or "-"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(inner)}" for key, inner in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)
