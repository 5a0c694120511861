"""Some of `tests/benchmarks/chaos.py` on each database: everything goes wrong, and in the end all of it holds."""

import os
from pathlib import Path

import pytest

from tests.benchmarks.besieged import may_mount
from tests.benchmarks.chaos import DATABASES, besiege
from tests.peers.postgresql import PostgresqlAbsent

#: The full run is `python tests/benchmarks/chaos.py`, a quarter of an hour on each database.
SECONDS = float(os.environ.get("CHAOS_SECONDS", "45"))
ALWAYS = ("kill_one", "kill_all", "destination_outage", "disk_full")
WITH_A_SERVER = ("database_restart", "database_crash", "partition", "connections_cut")


# Healed, it may take minutes on a loaded machine.
@pytest.mark.timeout(900)
@pytest.mark.skipif(not may_mount(), reason="only root may make a small disk")
@pytest.mark.parametrize("database", DATABASES)
def test_whatever_goes_wrong_nothing_is_lost_doubled_or_left_open(tmp_path: Path, database: str) -> None:
    try:
        verdict, happened = besiege(tmp_path, database, seconds=SECONDS, seed=7)
    except PostgresqlAbsent as absent:
        pytest.skip(str(absent))
    assert verdict.broken == {}
    # A day on which nothing bad happened proves nothing.
    for fault in ALWAYS + (WITH_A_SERVER if database == "postgresql" else ()):
        assert happened[f"fault_{fault}"] > 0, fault
    assert happened["phantoms"] > 0
    assert happened["acknowledged"] > 50
