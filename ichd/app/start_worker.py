"""The start of a worker: to load torch and to make the model ready is long, and may be given up at any moment of it."""

import threading
from functools import partial
from pathlib import Path

from ichd.app.notify import NOBODY, Watcher
from ichd.app.slots import Slot
from ichd.app.stopping import ended_at_once
from ichd.domain.ending import Ending
from ichd.settings import Settings
from ichd.vision.engines.cache import discard_unfinished


def start_worker(settings: Settings, stop: threading.Event, *, slot: Slot, watcher: Watcher = NOBODY) -> Ending:
    """Make a worker ready and let it work until `stop` is set, or until this process is to be replaced.

    Returns the exit code, which says so. A worker that is not ready yet ends this process with it.

    Raises:
        UserError: the model can't be used, or the database or the spool; the message names the mend.
        Permanent: the bundle is damaged.
        Transient: the database or the spool does not answer.
        WorkerHarmed: a step met a defect; the supervisor starts another worker.
    """
    with ended_at_once(stop, partial(discard_unfinished, Path(settings.model.cache))):
        # Within the block, because it loads torch.
        from ichd.app.worker import open_worker, run_worker

        bench = open_worker(settings, slot)
    return run_worker(bench, stop, watcher)
