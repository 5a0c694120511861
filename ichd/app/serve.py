"""`ichd serve`: all roles under one supervisor, the embedded default."""

import threading
from collections.abc import Sequence

from ichd.app.model import check_model
from ichd.app.storage import open_storage
from ichd.app.supervise import Role, supervise
from ichd.settings import Settings
from ichd.store.engine import create_if_empty

#: Every role that `serve` starts, in this order: images must find the door open first.
ROLES = ("listen", "worker", "web")
#: On top of the worker's own grace: the time to say goodbye.
_EXTRA_GRACE_S = 5.0


def run_supervisor(settings: Settings, command: Sequence[str], stop: threading.Event) -> None:
    """Run the roles until `stop` is set; `command` is how this program is called, settings included.

    A database without any table is a first start, and gets the schema; one with another schema is left to a person.
    What only a person can mend is looked for before anything starts: a listener that takes images which no worker will
    ever read is worse than none, because the sender believes them to be in good hands.

    Raises:
        UserError: the database has another schema, the spool is not this database's, the model can't be used, or a role
            can't run under these settings.
    """
    check_model(settings.model)
    create_if_empty(settings.database.url)
    open_storage(settings).engine.dispose()
    supervise(
        [Role(name=role, command=[*command, role, "--supervised"]) for role in ROLES],
        stop=stop,
        grace_s=settings.worker.grace_s + _EXTRA_GRACE_S,
    )
