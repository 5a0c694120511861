"""`ichd serve`: all roles under one supervisor, the embedded default; and several workers under one."""

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from ichd.app.notify import Watcher
from ichd.app.slots import Slot
from ichd.app.supervise import Role, supervise
from ichd.domain.errors import IchdError
from ichd.settings import Settings

#: On top of the worker's own grace: the time to say goodbye.
_EXTRA_GRACE_S = 5.0
#: Images must find the door open first; a listener that is not up by then will be some time.
_DOOR_ALONE_S = 5.0


def run_supervisor(settings: Settings, command: Sequence[str], stop: threading.Event, watcher: Watcher) -> None:
    """Run the roles until `stop` is set; `command` is how this program is called, settings included.

    A database without any table is a first start, and gets the schema; one with another schema is left to a person.
    What only a person can mend is looked for before anything starts: a listener that takes images which no worker will
    ever read is worse than none, because the sender believes them to be in good hands. The weights alone are hashed
    beside the first start: scanners wait at the door meanwhile, and what was damaged closes it again in a moment.

    Raises:
        UserError: the database has another schema, the spool is not this database's, the model can't be used, or a role
            can't run under these settings.
    """
    door = _role("listen", command, "--held")
    door.held = True
    with ExitStack() as started:
        # Whatever goes wrong from here on, and wherever: no child is left behind. One that was stopped stays so.
        started.callback(door.cancel)
        # It takes as long to load as our checks do, and there are two processors.
        door.start()
        # Loaded here, and not before the child: they take half of the time until a scanner is answered.
        from ichd.app.model import check_model
        from ichd.app.storage import open_storage
        from ichd.store.engine import create_if_empty

        check_model(settings.model, weights=False)
        create_if_empty(settings.database.url)
        open_storage(settings).engine.dispose()
        beside = _Beside(lambda: check_model(settings.model))
        door.release()
        supervise(
            [door, *_workers(settings.worker.concurrency, command), _role("web", command)],
            stop=stop,
            grace_s=settings.worker.grace_s + _EXTRA_GRACE_S,
            watcher=watcher,
            trouble=beside.trouble,
            first_alone_s=_DOOR_ALONE_S,
        )


def run_workers(
    settings: Settings, count: int, command: Sequence[str], stop: threading.Event, watcher: Watcher
) -> None:
    """Run `count` workers side by side until `stop` is set.

    Raises:
        UserError: as `run_supervisor`.
    """
    from ichd.app.model import check_model
    from ichd.app.storage import open_storage

    check_model(settings.model)
    open_storage(settings).engine.dispose()
    grace_s = settings.worker.grace_s + _EXTRA_GRACE_S
    supervise(_workers(count, command), stop=stop, grace_s=grace_s, watcher=watcher)


def _workers(count: int, command: Sequence[str]) -> list[Role]:
    slots = [Slot(number=number, of=count) for number in range(1, count + 1)]
    return [_role("worker", command, "--slot", str(slot), name=slot.name) for slot in slots]


def _role(role: str, command: Sequence[str], *options: str, name: str | None = None) -> Role:
    return Role(name=name or role, command=[*command, role, "--supervised", *options])


class _Beside:
    """A check that runs while the roles start."""

    def __init__(self, check: Callable[[], object]) -> None:
        self._check = check
        self._found: IchdError | None = None
        threading.Thread(target=self._run, name="check", daemon=True).start()

    def trouble(self) -> IchdError | None:
        """What it found, once it has."""
        return self._found

    def _run(self) -> None:
        try:
            self._check()
        except IchdError as error:
            self._found = error
