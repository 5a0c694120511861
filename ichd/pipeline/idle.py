"""What a worker does while no job waits: small pieces of work that nobody waits for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from ichd.domain.errors import Transient
from ichd.pipeline.clock import Clock
from ichd.telemetry import Survived

log = structlog.get_logger(__name__)

#: Does one piece and says whether there was one. A job that comes meanwhile waits for it, so a piece takes no
#: longer than one slice does; only the decoding of a scan for its heat maps is of all its slices
#: (docs/heat-maps.md has the times).
Piece = Callable[[], bool]

#: A database or a disk that is away is asked again after this long.
_REST_AFTER_TROUBLE = timedelta(seconds=10)
#: A defect comes again with the same input; jobs must not share the processor with it.
_REST_AFTER_DEFECT = timedelta(minutes=5)


@dataclass
class _Task:
    name: str
    piece: Piece
    rests_until: datetime | None = None
    postponed: bool = False


class IdleWork:
    """Several kinds of it, the more urgent first: one is taken up when those before it have nothing to do.

    What goes wrong in one is logged and makes it rest; it never ends the worker, whose jobs are none the worse.
    """

    def __init__(self, tasks: Mapping[str, Piece], clock: Clock) -> None:
        """`tasks` by the name that the log gives them."""
        self._tasks = [_Task(name=name, piece=piece) for name, piece in tasks.items()]
        self._clock = clock

    def step(self) -> bool:
        """Do the next piece; False where there is none."""
        return any(self._step(task) for task in self._tasks)

    def _step(self, task: _Task) -> bool:
        if task.rests_until is not None and self._clock() < task.rests_until:
            return False
        task.rests_until = None
        did = False
        try:
            with Survived("idle_work_failed", but_for=(Transient,), work=task.name) as survived:
                did = task.piece()
        except Transient as error:
            # Said once: a database may be away for a night.
            if not task.postponed:
                log.warning("idle_work_postponed", work=task.name, reason=error.reason, detail=error.detail)
            task.postponed = True
            task.rests_until = self._clock() + _REST_AFTER_TROUBLE
            return False
        task.postponed = False
        if survived.defect is not None:
            task.rests_until = self._clock() + _REST_AFTER_DEFECT
        return did
