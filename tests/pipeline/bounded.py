"""A worker process with tight bounds, to be ended by them: `python -m tests.pipeline.bounded DATABASE SPOOL MODE`.

Two studies are there: of one a delivery is in hand when the other's reading goes past its bounds.
"""

import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from ichd.domain.job import JobKind, RetryPolicy
from ichd.pipeline.clock import utc_now
from ichd.pipeline.couriers import Couriers
from ichd.pipeline.vigil import Vigil, resident_mb
from ichd.pipeline.worker import Worker, WorkerPolicy
from ichd.store.deliveries import Deliveries
from ichd.store.engine import open_database
from ichd.store.queue import Job, Queue
from ichd.store.spool import Spool
from ichd.store.studies import Studies
from tests.store.house import house_on

READ, DELIVERED = "1.2.1", "1.2.2"


def main(database: str, folder: Path, mode: str) -> None:
    engine = open_database(database)
    spool = Spool(folder)
    queue, studies, deliveries = Queue(engine), Studies(engine, spool), Deliveries(engine, spool)
    house = house_on(engine, spool)
    house.ready(study=DELIVERED)
    house.analyse("pacs")
    house.ready(study=READ)

    resident = resident_mb()
    assert resident is not None
    ceiling = round(resident) + 60
    stop, delivering = threading.Event(), threading.Event()
    vigil = Vigil(queue, utc_now, memory_mb=ceiling if mode == "memory" else None)

    def read(job: Job) -> None:
        studies.begin_analysis(job, now=utc_now())
        delivering.wait(50)
        if mode == "grace":
            stop.set()
        hoard = [b"x" * (1 << 20) for _ in range(2 * ceiling if mode == "memory" else 0)]
        time.sleep(300)
        hoard.clear()

    def deliver(job: Job) -> None:
        deliveries.begin(job, now=utc_now())
        delivering.set()
        time.sleep(300)

    policy = WorkerPolicy(
        poll_s=0.01,
        lease_s=60.0,
        grace_s=1.0 if mode == "grace" else 60.0,
        retry=RetryPolicy(),
        time_limit_s=3.0 if mode == "time" else 300.0,
    )
    common = {"queue": queue, "studies": studies, "clock": utc_now, "vigil": vigil}
    lane = Worker(
        owner="courier",
        steps={JobKind.PUBLISH: deliver},
        # Its own time is not up.
        policy=replace(policy, time_limit_s=300.0),
        destination="pacs",
        **common,  # type: ignore[arg-type]
    )
    couriers = Couriers({"pacs": lane}, {"pacs": threading.Event()}, stop)
    couriers.start()
    Worker(owner="reader", steps={JobKind.ANALYSE: read}, policy=policy, **common).run(stop)  # type: ignore[arg-type]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
