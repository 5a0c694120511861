"""What every command gets from the global options."""

from dataclasses import dataclass
from pathlib import Path

import typer

from ichd.settings import Settings, load_settings


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """The global options of one call."""

    config: Path | None
    debug: bool


def invocation(context: typer.Context) -> Invocation:
    """The global options, typed."""
    found = context.obj
    return found if isinstance(found, Invocation) else Invocation(config=None, debug=False)


def settings_of(context: typer.Context) -> Settings:
    """The settings that this call runs under."""
    return load_settings(invocation(context).config)
