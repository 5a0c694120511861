"""Couriers: a lane for each destination, so that one that hangs holds up neither the readings nor the others."""

import threading
from collections.abc import Mapping

from ichd.pipeline.worker import Worker, WorkerHarmed

_LOOK_S = 0.2


class Couriers:
    """A thread for each destination, from `start` to `join`; all end when `stop` is set."""

    def __init__(
        self, lanes: Mapping[str, Worker], bells: Mapping[str, threading.Event], stop: threading.Event
    ) -> None:
        """`lanes` and their `bells` by the name of the destination."""
        self._stop = stop
        self._bells = bells
        self._harm: WorkerHarmed | None = None
        self._threads = [
            (lane, threading.Thread(target=self._run, args=(lane,), name=f"courier-{name}", daemon=True))
            for name, lane in lanes.items()
        ]

    def start(self) -> None:
        """Begin to deliver."""
        for _, thread in self._threads:
            thread.start()

    def ring(self, destination: str | None = None) -> None:
        """There is something to deliver: to one destination, which may be another machine's, or to any."""
        for name, bell in self._bells.items():
            if destination in {None, name}:
                bell.set()

    def join(self) -> None:
        """Wait until each lane has finished or given back its job, which takes the grace period at most.

        One that hangs past its time limit is not waited for.

        Raises:
            WorkerHarmed: a lane met a defect, which is why all have stopped.
        """
        for lane, thread in self._threads:
            while thread.is_alive() and not lane.is_lost:
                thread.join(_LOOK_S)
        if self._harm is not None:
            raise self._harm

    def _run(self, lane: Worker) -> None:
        ended_well = False
        try:
            lane.run(self._stop)
            ended_well = True
        except WorkerHarmed as harm:
            self._harm = harm
        finally:
            if not ended_well:
                # What a defect left behind in this process must not touch the readings; a lane must not be missing.
                self._harm = self._harm or WorkerHarmed("a courier's lane ended by itself; the log says why")
                self._stop.set()
