"""The live model reads a stored phantom: a weight that changes in memory is an alert, and it ends when it is mended."""

import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from ichd.domain.reason import Reason
from ichd.phantom import Phantom, PhantomRecipe, render, write_series
from ichd.pipeline import self_test as module
from ichd.pipeline import stored_phantom
from ichd.pipeline.self_test import SelfTest
from ichd.pipeline.stored_phantom import StoredPhantom
from ichd.pipeline.turns import Tick, Turn
from ichd.store.baselines import Baselines
from ichd.store.ticks import Ticks, Trouble, tick_states
from ichd.vision.bundle import Bundle
from ichd.vision.engines.eager import EagerEngine
from ichd.vision.reader import Reader
from tests.pipeline.conftest import untrained
from tests.store.house import House

#: As small as one can be: what it shows is not in question here.
RECIPE = PhantomRecipe(seed=3, bleeds=("subdural",), slices=10, rows=64, voxel_mm=4.0, tilt_deg=0.0, thickness_mm=8.0)
TOLERANCE = 0.02


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> StoredPhantom:
    phantom = StoredPhantom(tmp_path_factory.mktemp("cache"), RECIPE)
    phantom.make()
    return phantom


@pytest.fixture
def live(tmp_path: Path) -> Reader:
    return untrained(tmp_path / "bundle", field_of_view_mm=None)


class Bench:
    """One worker's self-test, always due."""

    def __init__(self, house: House, live: Reader, phantom: StoredPhantom, *, place: str = "here") -> None:
        self.house = house
        self.place = place
        self.drifts: list[float] = []
        self.references: list[str] = []
        tick = Tick(name="self_test", every=timedelta(hours=24), run=lambda: None, of_place=True)
        turn = Turn(tick, Ticks(house.engine, owner=place), lambda: datetime.now(UTC), place=place)
        self.test = SelfTest(
            turn,
            phantom,
            Baselines(house.engine),
            reader=lambda: live,
            reference=self._reference,
            tolerance=TOLERANCE,
            note_drift=self.drifts.append,
            clock=lambda: datetime.now(UTC),
        )

    def _reference(self, bundle: Bundle) -> Reader:
        self.references.append(bundle.identity.name)
        return Reader(EagerEngine(bundle, device="cpu", threads=1))

    def run(self) -> Trouble | None:
        """A whole test, due now."""
        with self.house.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE tick SET due_at = '2020-01-01 00:00:00.000000'")
        self.test.turn._asks_at = 0.0
        pieces = 0
        while self.test.step():
            pieces += 1
        assert pieces > RECIPE.slices, "a slice at a time, so that a job waits for one"
        (state,) = (state for state in tick_states(self.house.engine) if state.machine == self.place)
        return state.trouble


@pytest.fixture
def bench(house: House, live: Reader, phantom: StoredPhantom) -> Bench:
    return Bench(house, live, phantom)


def tamper(live: Reader, by: float) -> None:
    """As a bit that flips in memory would."""
    assert isinstance(live.engine, EagerEngine)
    with torch.no_grad():
        for parameter in live.engine._network.parameters():
            parameter.mul_(by)


def test_a_model_that_changes_in_memory_is_an_alert_until_it_is_mended(bench: Bench, live: Reader) -> None:
    assert bench.run() is None
    assert bench.references == ["untrained"], "the first answer is compared with torch in fp32"
    assert bench.run() is None
    assert bench.references == ["untrained"], "later ones with the first"

    tamper(live, 1.5)
    trouble = bench.run()
    assert trouble is not None
    assert trouble.reason is Reason.SELF_TEST_DRIFTED
    assert "from its first answer" in trouble.detail

    tamper(live, 1 / 1.5)
    assert bench.run() is None
    assert [drift > TOLERANCE for drift in bench.drifts] == [False, False, True, False]


def test_of_two_workers_on_a_machine_the_one_whose_memory_is_damaged_is_named(
    house: House, live: Reader, phantom: StoredPhantom, tmp_path: Path
) -> None:
    neighbour = untrained(tmp_path / "bundle", field_of_view_mm=None)
    first = Bench(house, live, phantom, place="here/worker-1")
    second = Bench(house, neighbour, phantom, place="here/worker-2")
    assert first.run() is None
    assert second.run() is None
    assert second.references == [], "both answer as one baseline says"

    tamper(neighbour, 1.5)
    assert first.run() is None
    assert second.run() is not None
    troubled = [state.machine for state in tick_states(house.engine) if state.trouble]
    assert troubled == ["here/worker-2"]


def test_a_model_that_is_wrong_from_the_start_makes_no_baseline(
    bench: Bench, live: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_TOLERANCE", TOLERANCE)
    tamper(live, 1.5)
    trouble = bench.run()
    assert trouble is not None
    assert "torch in fp32 at its first answer" in trouble.detail

    tamper(live, 1 / 1.5)
    assert bench.run() is None
    assert bench.references == ["untrained"] * 2


def test_what_is_no_number_is_an_alert(bench: Bench, live: Reader) -> None:
    assert bench.run() is None
    tamper(live, float("nan"))
    trouble = bench.run()
    assert trouble is not None
    assert trouble.reason is Reason.SELF_TEST_DRIFTED
    assert bench.drifts[-1] == 1.0


def test_nothing_is_done_while_it_is_not_due(bench: Bench) -> None:
    assert bench.run() is None
    assert not bench.test.step()


def test_a_worker_that_is_never_idle_is_helped_out(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.test.catch_up()
    assert tick_states(bench.house.engine) == [], "one that has just been idle needs no help"
    monkeypatch.setattr(module, "_BUSY_S", 0.0)
    for _ in range(10 * RECIPE.slices):
        bench.test.catch_up()
    assert bench.drifts == [0.0]


def test_a_damaged_phantom_is_rendered_again(tmp_path: Path) -> None:
    phantom = StoredPhantom(tmp_path, RECIPE)
    phantom.make()
    assert phantom.is_ready()
    before = phantom.checksum
    victim = next(tmp_path.rglob("*.dcm"))
    victim.write_bytes(victim.read_bytes()[:-1] + b"\x7f")

    assert not phantom.is_ready()
    assert phantom._making is not None
    phantom._making.join(60)

    assert phantom.is_ready()
    assert phantom.checksum == before


def test_of_several_workers_one_renders_the_phantom_and_the_others_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered = []

    def slowly(recipe: PhantomRecipe) -> Phantom:
        rendered.append(recipe)
        time.sleep(0.2)
        return render(recipe)

    monkeypatch.setattr(stored_phantom, "render", slowly)
    with ThreadPoolExecutor(4) as workers:
        list(workers.map(lambda _: StoredPhantom(tmp_path, RECIPE).make(), range(4)))

    assert rendered == [RECIPE]
    assert StoredPhantom(tmp_path, RECIPE).is_ready()


def test_what_a_killed_process_left_half_made_is_removed_by_the_next(tmp_path: Path) -> None:
    killed = multiprocessing.get_context("spawn").Process(target=_dies_after_three_files, args=(tmp_path,))
    killed.start()
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL
    assert len(list(tmp_path.rglob("*.part/*.dcm"))) == 3

    StoredPhantom(tmp_path, RECIPE).make()

    assert StoredPhantom(tmp_path, RECIPE).is_ready()
    assert list(tmp_path.rglob("*.part")) == []


def _dies_after_three_files(folder: Path) -> None:
    def write_some(phantom: Phantom, into: Path) -> list[Path]:
        files = write_series(phantom, into)
        for file in files[3:]:
            file.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
        return files

    with patch.object(stored_phantom, "write_series", write_some):
        StoredPhantom(folder, RECIPE).make()
