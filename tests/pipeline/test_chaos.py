"""Deliveries through everything that a destination can do: in the end each object is there once."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ichd.domain.delivery import ObjectKind, Outgoing
from ichd.domain.job import JobKind, JobState, RetryPolicy
from ichd.domain.study import StudyState
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.pipeline.clock import utc_now
from ichd.store.listing import StudySummary
from tests.peers.dcmtk import running_storescp
from tests.peers.ports import free_port
from tests.pipeline.clinic import Clinic
from tests.pipeline.delivering import black_hole, courier, lanes, node, route

STUDIES = 50
KINDS = (ObjectKind.SR, ObjectKind.KO, ObjectKind.SC)
#: Soon again: what matters is how often, not how long.
IMPATIENT = RetryPolicy(first_s=0.2, ceiling_s=1.0, max_attempts=10_000)
PATIENCE_S = 240.0


@pytest.fixture
def clinic(tmp_path: Path, migrated_url: str) -> Clinic:
    """Its first study is read, and owed to nobody."""
    recipe = PhantomRecipe(seed=3, slices=12, rows=96, voxel_mm=3.0, bleeds=("subdural",))
    clinic = Clinic(tmp_path, write_series(render(recipe), tmp_path / "phantom"), url=migrated_url)
    clinic.read("nobody")
    return clinic


@pytest.fixture
def template(clinic: Clinic, tmp_path: Path) -> list[Outgoing]:
    """What is said of it, as it lies in the outbox."""
    with running_storescp(tmp_path / "first") as port:
        desk = courier(clinic, route(node(port, name="nobody"), *KINDS), clock=utc_now)
        desk.publish(clinic.claim(kinds=(JobKind.PUBLISH,)))
    kept = clinic.outbox.kept(1, 1, KINDS, destination="nobody")
    return [each for kind in KINDS for each in kept[kind]]


class Mortal:
    """A destination that is killed and started again on its port, over and over."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.lives = 0
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._live)

    def __enter__(self) -> "Mortal":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()

    def _live(self) -> None:
        while not self._enough.is_set():
            with running_storescp(self.folder, port=self.port):
                self.lives += 1
                self._enough.wait(1.0)
            self._enough.wait(0.5)


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Mortal]:
    with Mortal(tmp_path / "received") as mortal:
        yield mortal


def test_a_destination_that_dies_every_second_holds_each_object_once_in_the_end(
    clinic: Clinic, template: list[Outgoing], mortal: Mortal
) -> None:
    for number in range(STUDIES):
        clinic.copy(number, template, "pacs")
    with lanes(clinic, IMPATIENT, courier(clinic, route(node(mortal.port), *KINDS), clock=utc_now), "pacs"):
        wait_until_reported(clinic, STUDIES + 1)
    deliveries = [d.receipt for study in reported(clinic) for d in study.deliveries]
    assert mortal.lives > 2
    receipts = [uid for r in deliveries if r.destination == "pacs" for uid in r.sop_instance_uids]
    assert len(set(receipts)) == len(receipts) == STUDIES * len(KINDS)
    # dcmtk names a file by its SOP Instance UID, and writes one that comes again over itself.
    whole = {path.name.split(".", 1)[1] for path in mortal.folder.iterdir() if path.stat().st_size > 1000}
    assert whole == set(receipts)


def test_a_destination_that_hangs_keeps_no_other_from_its_reports(
    clinic: Clinic, template: list[Outgoing], tmp_path: Path
) -> None:
    for number in range(5):
        clinic.copy(number, template, "pacs", "dead")
    with black_hole() as hole, running_storescp(tmp_path / "received") as port:
        routes = (route(node(port), *KINDS), route(node(hole, name="dead", timeout_s=600.0), *KINDS))
        with lanes(clinic, IMPATIENT, courier(clinic, *routes, clock=utc_now), "pacs", "dead"):
            wait_until(lambda: states(clinic, "pacs") == {JobState.DONE})
            assert states(clinic, "dead") <= {JobState.LEASED, JobState.QUEUED}


def states(clinic: Clinic, destination: str) -> set[JobState]:
    """Of all deliveries to it."""
    return {job.state for s in clinic.studies.summaries(limit=1000) for job in s.jobs if job.destination == destination}


def reported(clinic: Clinic) -> list[StudySummary]:
    return clinic.studies.summaries(limit=1000, state=StudyState.REPORTED)


def wait_until_reported(clinic: Clinic, count: int) -> None:
    wait_until(lambda: len(reported(clinic)) == count)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
