"""serve, listen, worker, web, migrate."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import structlog
import typer

from ichd.app.notify import Watcher
from ichd.app.slots import Slot
from ichd.app.stopping import stop_on_signals, stop_with_supervisor
from ichd.cli.invocation import invocation, settings_of
from ichd.domain.errors import IchdError
from ichd.settings import Settings
from ichd.telemetry import configure_logging

log = structlog.get_logger(__name__)

Supervised = Annotated[bool, typer.Option("--supervised", hidden=True, help="Stop when standard input closes.")]
Held = Annotated[bool, typer.Option("--held", hidden=True, help="Begin at a word from standard input.")]
Concurrency = Annotated[
    int | None,
    typer.Option("--concurrency", min=1, help="Workers side by side, a process each; else worker.concurrency."),
]
_LOOK_S = 0.05
#: From the supervisor, to each of several workers; one without it is alone, or their supervisor.
SlotOption = Annotated[str | None, typer.Option("--slot", hidden=True, help="NUMBER/OF of a worker among several.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(serve)
    app.command()(listen)
    app.command()(worker)
    app.command()(web)
    app.command()(migrate)


def serve(context: typer.Context) -> None:
    """All roles under one supervisor: listener, worker and status page."""
    from ichd.app.serve import run_supervisor

    settings, stop = _start(context)
    with _crashes_in_the_log("serve"):
        run_supervisor(settings, _this_command(invocation(context).config), stop, _watcher())


def listen(context: typer.Context, supervised: Supervised = False, held: Held = False) -> None:
    """The listener alone: takes images, stores them, queues their studies."""
    from ichd.app.listener import run_listener

    settings, stop = _start(context, supervised=supervised, held=held)
    with _crashes_in_the_log("listen"):
        run_listener(settings, stop, _watcher())


def worker(
    context: typer.Context, concurrency: Concurrency = None, slot: SlotOption = None, supervised: Supervised = False
) -> None:
    """Workers alone: read studies and deliver reports. Exit code 75 asks for a new one in its place."""
    settings = settings_of(context)
    count = concurrency or settings.worker.concurrency
    place = Slot.parse(slot) if slot else Slot()
    settings, stop = _start(context, supervised=supervised, process=place.name if place.of > 1 else None)
    with _crashes_in_the_log(place.name):
        if slot is None and count > 1:
            from ichd.app.serve import run_workers

            run_workers(settings, count, _this_command(invocation(context).config), stop, _watcher())
            return
        from ichd.app.start_worker import start_worker

        code = start_worker(settings, stop, slot=place, watcher=_watcher())
    if code:
        raise typer.Exit(code)


def web(context: typer.Context, supervised: Supervised = False) -> None:
    """The status page and DICOMweb alone."""
    from ichd.app.web import run_web

    settings, stop = _start(context, supervised=supervised)
    with _crashes_in_the_log("web"):
        run_web(settings, stop, _watcher())


def migrate(context: typer.Context) -> None:
    """Bring the database to the newest schema."""
    from ichd.store.engine import migrate as migrate_database

    settings = settings_of(context)
    configure_logging(settings.log.level, settings.log.format)
    revision = migrate_database(settings.database.url)
    typer.echo(f"database is at schema {revision}")


def _start(
    context: typer.Context, *, supervised: bool = False, held: bool = False, process: str | None = None
) -> tuple[Settings, threading.Event]:
    settings = settings_of(context)
    configure_logging(settings.log.level, settings.log.format, process=process)
    stop = threading.Event()
    stop_on_signals(stop)
    if supervised:
        go = threading.Event()
        stop_with_supervisor(stop, go)
        while held and not go.wait(_LOOK_S):
            if stop.is_set():
                raise typer.Exit
    return settings, stop


def _watcher() -> Watcher:
    return Watcher.of(os.environ)


@contextmanager
def _crashes_in_the_log(role: str) -> Iterator[None]:
    """A daemon has no terminal on which to run again with --debug: its log must say where a defect is."""
    try:
        yield
    except IchdError:
        raise
    except Exception:
        log.exception("role_crashed", role=role)
        raise


def _this_command(config: Path | None) -> list[str]:
    return [sys.executable, "-m", "ichd", *(["--config", str(config)] if config else [])]
