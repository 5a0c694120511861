"""Workers that really wait for the queue of a server and really sleep over a study, in time that runs faster."""

import threading
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from ichd.domain.job import JobKind, RetryPolicy
from ichd.pipeline.worker import Worker, WorkerPolicy
from ichd.store.engine import migrate, open_database
from ichd.store.queue import Job, Queue
from ichd.store.spool import Spool
from ichd.store.studies import Studies
from tests.benchmarks.network import Arrival
from tests.benchmarks.ward import admit, moment
from tests.store.house import read_record

_POLICY = WorkerPolicy(poll_s=0.02, lease_s=600.0, grace_s=5.0, retry=RetryPolicy())


class Shift:
    """Worker threads of one process on one database."""

    def __init__(self, url: str, folder: Path, *, workers: int, reading_s: float, speed: float) -> None:
        """`speed` is how many seconds pass in a real one."""
        migrate(url)
        self._engine = open_database(url)
        self._queue = Queue(self._engine)
        self._studies = Studies(self._engine, Spool(folder))
        self._workers = workers
        self._reading_s = reading_s
        self._speed = speed
        self._midnight = 0.0
        self._arrivals: dict[str, Arrival] = {}
        #: Seconds from complete to the end of the reading.
        self._latencies_s: list[float] = []

    def live(self, coming: Sequence[Arrival]) -> list[float]:
        """Let the studies come, until all are read; seconds from complete to the end of each reading."""
        stop = threading.Event()
        self._midnight = time.monotonic() - coming[0].at_s / self._speed
        threads = [threading.Thread(target=self._worker(n).run, args=(stop,)) for n in range(self._workers)]
        for thread in threads:
            thread.start()
        try:
            for number, arrival in enumerate(coming, start=1):
                self._arrivals[uid := f"1.2.840.{number}"] = arrival
                time.sleep(max(0.0, (arrival.at_s - self._now_s()) / self._speed))
                admit(self._engine, self._queue, uid, self._clock())
            while len(self._latencies_s) < len(coming):
                time.sleep(0.05)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
            self._engine.dispose()
        return self._latencies_s

    def _worker(self, number: int) -> Worker:
        return Worker(
            owner=f"worker-{number}",
            queue=self._queue,
            studies=self._studies,
            steps={JobKind.ANALYSE: self._read},
            policy=_POLICY,
            clock=self._clock,
        )

    def _read(self, job: Job) -> None:
        arrival = self._arrivals[job.study_uid]
        self._studies.begin_analysis(job, now=self._clock())
        time.sleep(self._reading_s * arrival.reading / self._speed)
        record = read_record(triage=arrival.triage)
        self._studies.finish_analysis(job, record=record, destinations=(), now=self._clock())
        self._latencies_s.append(self._now_s() - arrival.at_s)

    def _now_s(self) -> float:
        return (time.monotonic() - self._midnight) * self._speed

    def _clock(self) -> datetime:
        return moment(self._now_s())
