"""What happens by the clock: one thing that fails keeps no other from its turn."""

import threading
from datetime import UTC, datetime, timedelta

from ichd.domain.completeness import CompletenessPolicy
from ichd.domain.errors import Transient
from ichd.domain.job import RetryPolicy
from ichd.domain.reason import Reason
from ichd.pipeline.ticks import FORGET_AFTER, TickPolicy, start_ticks
from tests.store.house import House


def test_a_sweep_that_fails_keeps_no_other_from_tidying_up(house: House) -> None:
    # The first sweep after a start is due a minute and a half later: this clock began long enough ago.
    now = datetime.now(UTC) - timedelta(hours=1)
    house.arrivals.refuse(
        Reason.TRUNCATED,
        detail="",
        calling_ae_title="CT1",
        address="192.0.2.1",
        sop_class_uid=None,
        sop_instance_uid=None,
        now=now - FORGET_AFTER - timedelta(days=1),
    )
    tried, swept = threading.Event(), threading.Event()

    def failing(_now: datetime) -> int:
        tried.set()
        raise Transient(Reason.STORE_UNAVAILABLE, "spool: Not a directory")

    def sound(_now: datetime) -> int:
        swept.set()
        return 0

    scheduler = start_ticks(
        house.studies,
        TickPolicy(completeness=CompletenessPolicy(), retry=RetryPolicy(), lease_s=15.0),
        lambda: now,
        study_ready=lambda: None,
        sweeps={"failing": failing, "sound": sound},
        destinations=frozenset(),
    )
    try:
        assert tried.wait(20)
        assert swept.wait(20)
        pause = threading.Event()
        assert any(not house.arrivals.refusals() or pause.wait(0.1) for _ in range(200)), "old words are forgotten"
    finally:
        scheduler.shutdown(wait=True)
