"""The reference pages that follow from the code: `python docs/render.py` rewrites them, a test compares them."""

from pathlib import Path

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from ichd.app.conformance.rendering import as_markdown
from ichd.app.conformance.statement import statement_of
from ichd.domain.reason import Reason
from ichd.settings import (
    AccountSettings,
    AllowedPeer,
    DestinationSettings,
    Settings,
    SourceSettings,
    TlsClientSettings,
    TlsSettings,
)

HERE = Path(__file__).parent

#: Tables inside of sections, and lists of tables.
INNER: dict[str, type[BaseModel]] = {
    "[[destination]]": DestinationSettings,
    "[[source]]": SourceSettings,
    "source.tls": TlsClientSettings,
    "dicom.allowed_peers": AllowedPeer,
    "dicom.tls": TlsSettings,
    "[[web.account]]": AccountSettings,
}


def settings_page() -> str:
    """docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "`ichd.toml` is found by `--config`, `ICHD_CONFIG`, `./ichd.toml`, `/etc/ichd/ichd.toml`. Each key can be set",
        "as `ICHD_SECTION__KEY` in the environment, or as a file `SECTION__KEY` in `$CREDENTIALS_DIRECTORY`. Unknown",
        "keys are errors. With no file at all, everything below has its default.",
    ]
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            lines += ["", f"## [{name}]", "", _sentence(section), "", *_table(section)]
    for heading, inner in INNER.items():
        lines += ["", f"## {heading}", "", _sentence(inner), "", *_table(inner)]
    return "\n".join(lines) + "\n"


def _sentence(section: type[BaseModel]) -> str:
    return " ".join((section.__doc__ or "").split())


def _table(section: type[BaseModel]) -> list[str]:
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for key, field in section.model_fields.items():
        default = "required" if field.default is PydanticUndefined else f"`{_toml(field.default)}`"
        rows.append(f"| `{key}` | {default} | {field.description} |")
    return rows


def _toml(value: object) -> str:
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(v) for v in value)}]"
    return str(value)


def reasons_page() -> str:
    """docs/reasons.md."""
    rows = [f"| `{reason}` | {reason.meaning} |" for reason in Reason]
    return (
        "# Reasons\n\n"
        "What did not take the usual way ends with one of these codes: in `ichd status`, on the status page, in the\n"
        "log, and (for a refused image) in the Error Comment of the C-STORE response. The codes are stable.\n\n"
        "| code | meaning, and the mend |\n|---|---|\n" + "\n".join(rows) + "\n"
    )


def conformance_page() -> str:
    """docs/conformance.md: the statement of an installation that sets nothing, under what leads to one's own."""
    return (
        "<!-- Written by docs/render.py. -->\n"
        "This is the statement of an installation with no settings at all; `ichd conformance` writes that of yours,\n"
        "with its destinations and sources, as Markdown, as a page (`--format html`) or as JSON.\n\n"
        + as_markdown(statement_of(Settings.model_construct()))
    )


PAGES = {"settings.md": settings_page, "reasons.md": reasons_page, "conformance.md": conformance_page}

if __name__ == "__main__":
    for name, render in PAGES.items():
        (HERE / name).write_text(render())
