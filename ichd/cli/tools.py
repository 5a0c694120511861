"""Every command but the daemon's own: what people call, and no role."""

import typer

from ichd.cli import (
    accounts,
    audit,
    backup,
    bucket,
    calibration,
    cases,
    evaluation,
    images,
    integration,
    learning,
    models,
    pull,
    reports,
    retention,
    studies,
    system,
)

tools = typer.Typer(add_completion=False, rich_markup_mode=None)
for commands in (
    accounts,
    studies,
    retention,
    bucket,
    audit,
    images,
    integration,
    reports,
    pull,
    models,
    cases,
    learning,
    evaluation,
    calibration,
    backup,
    system,
):
    commands.register(tools)
