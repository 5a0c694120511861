"""A store whose studies come and are read and delivered in time that is told."""

import heapq
import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine

from ichd.domain.delivery import Receipt
from ichd.domain.finding import Triage
from ichd.domain.job import JobKind
from ichd.domain.study import StudyState
from ichd.store.deliveries import Deliveries
from ichd.store.engine import migrate, open_database
from ichd.store.job_row import Job
from ichd.store.queue import Queue
from ichd.store.spool import Spool
from ichd.store.studies import Studies
from ichd.store.tables import StudyRow
from ichd.store.transaction import writing
from tests.benchmarks.network import Arrival
from tests.store.house import read_record

DESTINATIONS = ("pacs", "archive")
#: What a courier takes for one delivery.
DELIVERY_S = 0.5
_MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
#: Nobody has to extend a lease while time is told.
_LEASE_S = 1e6

Deed = Callable[[float], None]


@dataclass(kw_only=True)
class Day:
    """What became of the studies that came; times in seconds."""

    #: From complete to the last report of it, of first readings, by triage.
    latencies_s: dict[Triage, list[float]] = field(default_factory=lambda: defaultdict(list))
    #: From complete to the end of the reading, of first readings.
    readings_s: list[float] = field(default_factory=list)
    #: Share of their time in which workers read, from the first study to the last report.
    busy_share: float = 0.0
    #: By how much later than a job that still waited another came that was taken before it, at most.
    overtaken_s: float = 0.0
    #: Jobs that were claimed a second time.
    doubled: int = 0


class Ward:
    """Workers, each with a courier for each destination, around one database."""

    def __init__(self, folder: Path, *, workers: int, reading_s: float) -> None:
        url = f"sqlite:///{folder / f'{workers}-{reading_s:g}.db'}"
        migrate(url)
        self._engine = open_database(url)
        spool = Spool(folder / "spool")
        self._queue = Queue(self._engine)
        self._studies = Studies(self._engine, spool)
        self._deliveries = Deliveries(self._engine, spool)
        self._workers = workers
        self._reading_s = reading_s
        #: Hands that are free, by the lane that they work in; None is the readings'.
        self._free: dict[str | None, int] = dict.fromkeys((None, *DESTINATIONS), workers)
        #: Since when each job is owed that nobody has taken yet, in order; nobody asks in vain.
        self._waiting: dict[str | None, list[datetime]] = {lane: [] for lane in self._free}
        self._events: list[tuple[float, int, Deed]] = []
        self._numbers = itertools.count()
        self._arrivals: dict[str, Arrival] = {}
        self._reported: dict[str, int] = defaultdict(int)
        self._claimed: set[int] = set()
        self._busy_s = 0.0
        self._day = Day()

    def live(self, coming: Sequence[Arrival]) -> Day:
        """Let the studies come, until all of them are reported."""
        for number, arrival in enumerate(coming, start=1):
            self._at(arrival.at_s, lambda now_s, uid=f"1.2.840.{number}", a=arrival: self._complete(uid, a, now_s))  # type: ignore[misc]
        now_s = coming[0].at_s
        while self._events:
            now_s, _, deed = heapq.heappop(self._events)
            deed(now_s)
            for lane in self._free:
                self._set_to_work(lane, now_s)
        self._engine.dispose()
        self._day.busy_share = self._busy_s / (self._workers * (now_s - coming[0].at_s))
        return self._day

    def _complete(self, uid: str, arrival: Arrival, now_s: float) -> None:
        self._arrivals[uid] = arrival
        now = moment(now_s)
        self._waiting[None].append(now)
        admit(self._engine, self._queue, uid, now)

    def _set_to_work(self, lane: str | None, now_s: float) -> None:
        """Whoever is free takes the next job of a lane, until there is none."""
        kind = JobKind.ANALYSE if lane is None else JobKind.PUBLISH
        while self._free[lane] and self._waiting[lane]:
            owner = f"{lane}-{next(self._numbers)}"
            job = self._queue.claim(owner=owner, lease_s=_LEASE_S, now=moment(now_s), kinds=(kind,), destination=lane)
            if job is None:
                return
            self._day.doubled += job.id in self._claimed
            self._claimed.add(job.id)
            self._free[lane] -= 1
            self._day.overtaken_s = max(
                self._day.overtaken_s, (job.owed_since - self._waiting[lane][0]).total_seconds()
            )
            self._waiting[lane].remove(job.owed_since)
            if lane is None:
                self._read(job, now_s)
            else:
                self._at(now_s + DELIVERY_S, lambda then_s, job=job: self._delivered(job, then_s))  # type: ignore[misc]
                self._deliveries.begin(job, now=moment(now_s))

    def _read(self, job: Job, now_s: float) -> None:
        takes_s = self._reading_s * self._arrivals[job.study_uid].reading
        self._busy_s += takes_s
        self._studies.begin_analysis(job, now=moment(now_s))
        self._at(now_s + takes_s, lambda then_s: self._has_read(job, then_s))

    def _has_read(self, job: Job, now_s: float) -> None:
        self._free[None] += 1
        if job.revision == 1:
            self._day.readings_s.append(now_s - self._arrivals[job.study_uid].at_s)
        record = read_record(triage=self._arrivals[job.study_uid].triage)
        for destination in DESTINATIONS:
            self._waiting[destination].append(moment(now_s))
        self._studies.finish_analysis(job, record=record, destinations=DESTINATIONS, now=moment(now_s))

    def _delivered(self, job: Job, now_s: float) -> None:
        self._free[job.destination] += 1
        uid, arrival = job.study_uid, self._arrivals[job.study_uid]
        receipt = Receipt(
            destination=str(job.destination),
            sent_at=moment(now_s),
            sop_instance_uids=(f"2.25.{job.id}",),
            sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
            status="0x0000",
        )
        self._deliveries.delivered(job, receipt, now=moment(now_s))
        self._reported[uid] += 1
        if self._reported[uid] == len(DESTINATIONS):
            self._day.latencies_s[arrival.triage].append(now_s - arrival.at_s)
            if arrival.late_after_s is not None:
                self._at(now_s + arrival.late_after_s, lambda then_s: self._read_again(uid, then_s))

    def _read_again(self, uid: str, now_s: float) -> None:
        """A late slice came; the study is read once more, with the head start of what was found before."""
        self._waiting[None].append(moment(now_s))
        self._studies.reprocess(uid, now=moment(now_s))

    def _at(self, at_s: float, deed: Deed) -> None:
        heapq.heappush(self._events, (at_s, next(self._numbers), deed))


def admit(engine: Engine, queue: Queue, study_uid: str, now: datetime) -> None:
    """A study is complete, and its reading is owed."""
    with writing(engine) as session:
        study = StudyRow(
            study_instance_uid=study_uid,
            accession_number="",
            study_datetime="",
            state=StudyState.READY,
            received_at=now,
            last_instance_at=now,
            ready_at=now,
        )
        session.add(study)
        session.flush()
        queue.enqueue(session, kind=JobKind.ANALYSE, study_id=study.id, revision=1, triage=None, now=now)


def moment(seconds: float) -> datetime:
    """So many seconds after midnight."""
    return _MIDNIGHT + timedelta(seconds=seconds)
