"""How destinations do, and what doors say of themselves; on both databases."""

from datetime import timedelta

from sqlalchemy import Engine

from ichd.domain.delivery import Proof
from ichd.domain.reason import Reason
from ichd.store.doors import CURRENT, DoorCounts, read_doors, write_door
from ichd.store.outlets import Outlet, outlets
from ichd.store.statistics import HOUR, Statistics
from tests.store.house import NOON, House


def test_a_destination_says_what_it_took_last_and_what_stands_in_the_way(house: House) -> None:
    for number in (1, 2):
        house.ready(study=f"1.2.840.{number}")
        house.analyse("pacs", "ris")
    house.wait(5)
    sent_at = house.now
    taken = {house.deliver().destination, house.deliver().destination}
    for _ in range(2):
        job = house.claim()
        retry = house.now + timedelta(minutes=5)
        house.studies.failed(job, Reason.PEER_UNREACHABLE, "10.0.0.7:104", retry_at=retry, now=house.now)

    found = {outlet.name: outlet for outlet in outlets(house.engine, ["pacs", "never used"])}

    assert taken == {"pacs", "ris"}
    assert list(found) == ["never used", "pacs", "ris"]
    assert found["never used"] == Outlet(name="never used")
    for name in taken:
        assert name is not None
        assert found[name].last_success_at == sent_at
        assert found[name].proofs == {Proof.SENT: 1}
        assert found[name].owed == 1
        assert found[name].failures == 1
        assert found[name].reason is Reason.PEER_UNREACHABLE
        assert found[name].detail == "10.0.0.7:104"


def test_one_that_took_its_last_report_long_ago_says_the_hour(engine: Engine) -> None:
    Statistics(engine).record({"deliveries_ok/pacs": 3}, at=NOON - 90 * HOUR)
    assert outlets(engine, ["pacs"])[0].last_success_at == NOON - 90 * HOUR


def test_a_door_is_told_of_as_long_as_it_says_something(engine: Engine) -> None:
    statistics = Statistics(engine)
    place = "ct-room/::1:11112"
    write_door(statistics, DoorCounts(place=place, counts={"responses/c_store/0x0000": 7}), now=NOON)
    write_door(statistics, DoorCounts(place=place, counts={"responses/c_store/0x0000": 9}), now=NOON + HOUR)

    (door,) = read_doors(statistics, now=NOON + HOUR)
    assert (door.place, dict(door.counts)) == (place, {"responses/c_store/0x0000": 9})
    assert read_doors(statistics, now=NOON + HOUR + CURRENT + timedelta(seconds=1)) == []
