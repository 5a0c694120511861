"""What a door counts is written down beside its work, and once more when it shuts."""

from datetime import UTC, datetime

from sqlalchemy import Engine

from ichd.app.metering import metering
from ichd.store.doors import read_doors
from ichd.store.statistics import Statistics

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_the_last_counts_are_there_when_the_door_is_shut(engine: Engine) -> None:
    counts = {"associations/open": 1.0}
    with metering(engine, "here/127.0.0.1:11112", lambda: dict(counts), lambda: NOW):
        counts["responses/c_store/0x0000"] = 28.0

    (door,) = read_doors(Statistics(engine), now=NOW)
    assert door.place == "here/127.0.0.1:11112"
    assert door.counts == {"associations/open": 1.0, "responses/c_store/0x0000": 28.0}
