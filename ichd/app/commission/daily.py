"""Commissioning by the clock: one phantom a time, another kind each day, and an alert where it does not come back."""

import threading
from datetime import datetime

import structlog

from ichd.app.commission.acceptance import Acceptance, Plan, commission
from ichd.app.commission.phantoms import chosen
from ichd.domain.errors import IchdError
from ichd.domain.reason import Reason
from ichd.settings import Settings
from ichd.store.commissioned import note_commission
from ichd.store.statistics import Statistics
from ichd.store.ticks import Trouble

log = structlog.get_logger(__name__)


def commission_by_the_clock(
    settings: Settings, statistics: Statistics, stop: threading.Event, *, now: datetime
) -> Trouble | None:
    """Take the phantom of the day along the route of `tick.commission_to`; what is wrong is an alert.

    A worker that stops in the middle leaves no word: the one that comes next begins anew.

    Raises:
        Transient: our own database does not answer.
    """
    to = settings.tick.commission_to
    if to is None:
        return None
    kinds = chosen("all")
    # The phantom tells by itself; a second model beside the live one would cost memory.
    plan = Plan(to=to, cases=(kinds[now.toordinal() % len(kinds)],), look_first=False)
    try:
        acceptance = commission(settings, plan, tell=lambda _: None, stopped=stop.is_set)
    except IchdError as error:
        note_commission(statistics, to, passed=False, took_s=None, now=now)
        return Trouble(reason=Reason.COMMISSION_FAILED, detail=str(error))
    if stop.is_set():
        return None
    log.info("commissioned", destination=to, passed=acceptance.passed, study=_study(acceptance))
    took_s = next((case.trip.archived_s for case in acceptance.cases), None)
    note_commission(statistics, to, passed=acceptance.passed, took_s=took_s, now=now)
    if not acceptance.passed:
        return Trouble(reason=Reason.COMMISSION_FAILED, detail=_what_is_wrong(acceptance))
    return None


def _what_is_wrong(acceptance: Acceptance) -> str:
    """The first thing that is."""
    for case in acceptance.cases:
        for point in case.points:
            if not point.ok:
                found = f"{case.trip.study.name}, {point.name.lower()}: {point.found}, not {point.expected}"
                return f"{found}. {point.note}" if point.note else found
    return "nothing was sent"


def _study(acceptance: Acceptance) -> str:
    return acceptance.cases[0].trip.study.study_uid if acceptance.cases else ""
