"""What every command gets from the global options, and checks that several commands share."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from ichd.domain.errors import UserError
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


def refuse_unknown(option: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Check the values of an option that may be repeated.

    Raises:
        UserError: one is none of the known ones, which the message lists.
    """
    for value in given:
        if value not in known:
            raise UserError(f"{option} {value} is unknown; use one of {', '.join(known)}")
