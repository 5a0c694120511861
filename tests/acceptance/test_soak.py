"""A while of `tests/benchmarks/soak.py`: aborts, repeats, late slices, lies and kills, and nothing lost."""

import os
from pathlib import Path

from tests.benchmarks.soak import GROWTH_MB, soak

#: As short as every bad thing still happens; a longer day is SOAK_TEST_SECONDS=1200.
SECONDS = float(os.environ.get("SOAK_TEST_SECONDS", "50"))
ACKNOWLEDGED = 100


def test_nothing_that_was_acknowledged_is_lost_on_a_bad_day(tmp_path: Path) -> None:
    figures = soak(tmp_path, seconds=SECONDS, seed=2)
    assert figures["lost"] == 0
    assert figures["files"] == figures["rows"] > 0
    assert figures["growth_mb"] < GROWTH_MB
    # A day on which nothing bad happened proves nothing.
    for deed in ("kills", "send_and_break_off", "send_again", "send_late_slice", "send_over_the_web", "receiver_away"):
        assert figures[deed] > 0, deed
    assert figures["acknowledged"] > ACKNOWLEDGED
