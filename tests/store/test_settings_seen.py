"""Settings that changed between two starts."""

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from sqlalchemy import Engine

from ichd.domain.audit import AuditEvent
from ichd.store.audit import Audit
from ichd.store.settings_seen import record_settings
from tests.store.house import NOON


class Machine:
    """Starts under settings that the test names."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._audit = Audit(engine)
        self.meeting: threading.Barrier | None = None

    def start(self, host: str = "here", **settings: str) -> list[str]:
        return record_settings(
            self._engine,
            lambda salt: self._fingerprints(salt, settings),
            host=host,
            user="daemon",
            version="1",
            now=NOON,
        )

    def _fingerprints(self, salt: str, settings: Mapping[str, str]) -> Mapping[str, str]:
        if self.meeting is not None:
            with suppress(threading.BrokenBarrierError):
                self.meeting.wait()
        return {name: salt + value for name, value in settings.items()}

    def told(self) -> list[list[str]]:
        entries = self._audit.read(limit=50, event=AuditEvent.SETTINGS_CHANGED)
        return [entry.subject["changed"] for entry in entries]


@pytest.fixture
def machine(engine: Engine) -> Machine:
    return Machine(engine)


def test_the_first_settings_are_written_down_and_the_same_ones_are_not(machine: Machine) -> None:
    assert machine.start(port="1", host_name="a") == []
    assert machine.start(port="1", host_name="a") == []
    assert machine.told() == [[]]


def test_what_changed_came_or_went_is_named(machine: Machine) -> None:
    machine.start(kept="1", other="1", gone="1")
    assert machine.start(kept="1", other="2", new="1") == ["gone", "new", "other"]
    assert machine.start(kept="1", other="2", new="1") == []
    assert machine.told() == [[], ["gone", "new", "other"]]


def test_two_machines_have_settings_of_their_own(machine: Machine) -> None:
    machine.start("one", device="cpu")
    assert machine.start("two", device="cuda") == ["device"]
    for _ in range(2):
        assert machine.start("one", device="cpu") == []
        assert machine.start("two", device="cuda") == []


def test_a_container_with_a_new_name_is_compared_with_the_last_one(machine: Machine) -> None:
    machine.start("3f2a", port="1")
    assert machine.start("77c1", port="1") == []
    assert machine.start("77c1", port="2") == ["port"]
    assert machine.start("9e0b", port="3") == ["port"]
    assert machine.told() == [[], ["port"], ["port"]]


def test_roles_that_start_together_tell_of_a_change_once(machine: Machine) -> None:
    machine.start(port="1")
    # Roles that don't wait for one another meet while each compares.
    machine.meeting = threading.Barrier(3, timeout=0.3)
    with ThreadPoolExecutor(3) as pool:
        told = list(pool.map(lambda _: machine.start(port="2"), range(3)))
    assert sorted(told) == [[], [], ["port"]]
    assert machine.told() == [[], ["port"]]


def test_fingerprints_are_for_comparing_only(engine: Engine, machine: Machine) -> None:
    machine.start(port="1")
    (entry,) = Audit(engine).read(limit=1)
    assert entry.subject == {"host": "here", "version": "1", "changed": []}
