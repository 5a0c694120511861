"""Whose a tick is: the cluster's, a machine's, or one worker's."""

import socket

import pytest
from sqlalchemy import Engine

from ichd.app.clock import utc_now
from ichd.app.slots import Slot
from ichd.app.storage import Storage
from ichd.app.ticks import Rhythm
from ichd.settings import Settings
from ichd.store.statistics import Statistics
from ichd.vision.reader import Reader
from tests.databases import ONE_DATABASE
from tests.store.house import House

pytestmark = ONE_DATABASE
HERE = socket.gethostname()


def rhythm(house: House, slot: Slot) -> Rhythm:
    storage = Storage(engine=house.engine, spool=house.spool, studies=house.studies)
    return Rhythm(settings=Settings(), storage=storage, owner=slot.name, clock=utc_now, slot=slot)


def no_reader() -> Reader:
    raise AssertionError("nothing is due yet")


@pytest.mark.parametrize(
    ("slot", "seat"),
    [(Slot(), HERE), (Slot(number=1, of=2), f"{HERE}/worker-1"), (Slot(number=2, of=2), f"{HERE}/worker-2")],
    ids=["alone", "first", "second"],
)
def test_each_of_several_workers_tests_the_model_in_its_own_memory(
    house: House, engine: Engine, slot: Slot, seat: str
) -> None:
    test = rhythm(house, slot).self_test(no_reader)
    assert test is not None
    assert test.turn.name == f"self_test@{seat}"

    test._note_drift(0.01)
    assert Statistics(engine).latest("self_test_drift", since=house.now) == {seat: 0.01}
