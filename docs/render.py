"""The reference pages that follow from the code: `python docs/render.py` rewrites them, a test compares them."""

from collections.abc import Iterator
from pathlib import Path

import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from typer.main import get_command

from ichd.app.conformance.rendering import as_markdown
from ichd.app.conformance.statement import statement_of
from ichd.cli.main import app
from ichd.domain.note import Remark
from ichd.domain.reason import Reason
from ichd.settings import (
    AccountSettings,
    AllowedPeer,
    DestinationSettings,
    OidcSettings,
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
    "[web.oidc]": OidcSettings,
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
    reasons = [f"| `{reason}` | {reason.meaning} |" for reason in Reason]
    remarks = [f"| `{remark}` | {remark.meaning} |" for remark in Remark]
    return "\n".join(
        [
            "# Reasons",
            "",
            "What did not take the usual way ends with one of these codes: in `ichd status`, on the status page, in",
            "the log, and (for a refused image) in the Error Comment of the C-STORE response. The codes are stable.",
            "",
            "| code | meaning, and the mend |",
            "|---|---|",
            *reasons,
            "",
            "## Notes on the input",
            "",
            "What was noticed about the images of a study that was read stands beside its finding under one of",
            "these codes, with numbers. How the pixels are looked at, and which notes keep a study from being called",
            "routine, is in [input quality](input-quality.md); what headers and geometry say, in",
            "[series choice](series-choice.md).",
            "",
            "| code | meaning |",
            "|---|---|",
            *remarks,
            "",
        ]
    )


def commands_page() -> str:
    """docs/commands.md."""
    lines = [
        "# Commands",
        "",
        "What each command does is in its `--help`, of which this page is a copy. `--json` prints data as JSON.",
        "",
        "These may stand anywhere on the line:",
        "",
        *_parameters(get_command(app)),
        "",
        "| exit code | meaning |",
        "|---|---|",
        "| 0 | done |",
        "| 1 | it could not be done; the sentence on standard error says why |",
        "| 2 | the command line, the settings or the input must be mended |",
    ]
    for name, command in leaves(get_command(app), "ichd"):
        lines += ["", f"## {name}", *_paragraphs(command.help or "")]
        if table := _parameters(command):
            lines += ["", *table]
    return "\n".join(lines) + "\n"


def leaves(command: object, name: str) -> Iterator[tuple[str, typer.core.TyperCommand]]:
    """Every command that does something, with its whole name."""
    if not isinstance(command, typer.core.TyperGroup):
        yield name, command  # type: ignore[misc]
        return
    # Asked for by name: a group may load its commands when they are wanted.
    context = typer.Context(command)
    for inner in command.list_commands(context):
        yield from leaves(command.get_command(context, inner), f"{name} {inner}")


def _paragraphs(help_text: str) -> Iterator[str]:
    for paragraph in help_text.split("\n\n"):
        yield ""
        yield " ".join(paragraph.split())


def _parameters(command: object) -> list[str]:
    shown = [each for each in command.params if not getattr(each, "hidden", False)]  # type: ignore[attr-defined]
    rows = ["| argument or option | default | meaning |", "|---|---|---|"]
    for each in shown:
        option = isinstance(each, typer.core.TyperOption)
        name = ", ".join([*each.opts, *each.secondary_opts]) if option else (each.metavar or str(each.name).upper())
        name += " ..." if each.nargs == -1 or getattr(each, "multiple", False) else ""
        rows.append(f"| `{name}` | {_default(each)} | {_cell(each.help)} |")
    return rows if shown else []


def _default(parameter: typer.core.TyperOption | typer.core.TyperArgument) -> str:
    if parameter.required:
        return "required"
    value = parameter.default
    if value is None or value is False or value == () or callable(value):
        return ""
    return f"`{getattr(value, 'value', value)}`"


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def conformance_page() -> str:
    """docs/conformance.md: the statement of an installation that sets nothing, under what leads to one's own."""
    return (
        "<!-- Written by docs/render.py. -->\n"
        "This is the statement of an installation with no settings at all; `ichd conformance` writes that of yours,\n"
        "with its destinations and sources, as Markdown, as a page (`--format html`) or as JSON. What is not DICOM\n"
        "stands in [IHE AI Results](ihe-air.md) and [delivery](delivery.md).\n\n"
        + as_markdown(statement_of(Settings.model_construct()))
    )


PAGES = {
    "settings.md": settings_page,
    "reasons.md": reasons_page,
    "commands.md": commands_page,
    "conformance.md": conformance_page,
}

if __name__ == "__main__":
    for name, render in PAGES.items():
        (HERE / name).write_text(render())
