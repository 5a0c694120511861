"""`/metrics` for Prometheus: the queue, the studies, the ways out, the clockwork; docs/metrics.md lists each.

All of it comes from the database at the moment of the scrape, by queries that cost the same with a million finished
studies as with ten (`ichd.store.census`, `ichd.store.tally`). Counters begin with the process, as Prometheus expects.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import Engine

from ichd.domain.errors import IchdError, Transient
from ichd.domain.finding import ModelIdentity
from ichd.domain.job import JobKind
from ichd.domain.study import StudyState
from ichd.store.census import OPEN_JOBS, UNFINISHED, Census, Crowd, take_census
from ichd.store.commissioned import last_commission
from ichd.store.days import DRIFT
from ichd.store.doors import read_doors
from ichd.store.statistics import Statistics
from ichd.store.tally import Tally
from ichd.store.ticks import TickState, tick_states
from ichd.web.metered import commission_of, doors_of, drift_of, stages_of

#: Several servers may scrape, and a person beside them.
_CACHED_S = 2.0
#: Upper bounds of the latency histogram, s.
LATENCY_BOUNDS_S = (0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
#: A figure of a machine that was not renewed for so long is one of the past.
_DISK_CURRENT = timedelta(hours=2)
_CERTIFICATES_CURRENT = timedelta(days=1)
_DRIFT_CURRENT = timedelta(days=31)
_INPUT_CURRENT = timedelta(days=2)
_COMMISSION_CURRENT = timedelta(days=31)


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What is told of this installation."""

    version: str
    #: Asked anew each time; raises an IchdError where there is none.
    model: Callable[[], ModelIdentity]
    #: Of the settings: one that never failed, and was never owed anything, is told of as well.
    destinations: Collection[str]
    clock: Callable[[], datetime]
    #: The destination to which a phantom goes by the clock; None where none does.
    commissioned: str | None = None
    #: Since when the model is in force; None where it was never promoted.
    model_since: Callable[[], datetime | None] = lambda: None


def metrics_router(engine: Engine, watched: Watched) -> APIRouter:
    """The one route; whom it answers is decided at the gate."""
    router = APIRouter(tags=["health"])
    registry = CollectorRegistry()
    registry.register(Figures(engine, watched))

    @router.get("/metrics", summary="Figures for Prometheus")
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router


class Figures:
    """Collects for prometheus_client; scrapes within two seconds get the same."""

    def __init__(self, engine: Engine, watched: Watched) -> None:
        self._engine = engine
        self._watched = watched
        self._statistics = Statistics(engine)
        self._tally = Tally(engine)
        self._lock = threading.Lock()
        self._latencies = [0] * (len(LATENCY_BOUNDS_S) + 1)
        self._latency_sum_s = 0.0
        self._told: list[Metric] = []
        self._told_at = float("-inf")

    def describe(self) -> list[Metric]:
        """Nothing: the database need not be there when the route is made."""
        return []

    def collect(self) -> Iterator[Metric]:
        """As prometheus_client calls it."""
        with self._lock:
            if time.monotonic() - self._told_at >= _CACHED_S:
                self._told = list(self._ours())
                self._told_at = time.monotonic()
            told = self._told
        yield from told

    def _ours(self) -> Iterator[Metric]:
        yield _info("ichd_build_info", "The program.", {"version": self._watched.version})
        yield from self._model()
        began = time.perf_counter()
        try:
            found = list(self._from_database())
        except Transient:
            yield _gauge("ichd_database_up", "Whether the database answers.", 0)
            return
        yield _gauge("ichd_database_up", "Whether the database answers.", 1)
        yield _gauge("ichd_scrape_duration_seconds", "What the queries took.", time.perf_counter() - began)
        yield from found

    def _model(self) -> Iterator[Metric]:
        try:
            model = self._watched.model()
        except IchdError:
            return
        labels = {"model": model.name, "version": model.version, "weights": model.weights_sha256[:12]}
        yield _info("ichd_model_info", "The model in force.", labels)

    def _from_database(self) -> Iterator[Metric]:
        now = self._watched.clock()
        self._tally.count(now=now)
        self._add_latencies()
        yield from _standing(take_census(self._engine), self._watched.destinations, now)
        yield from self._counters()
        yield from _clockwork(tick_states(self._engine))
        yield from self._figures_of_machines(now)
        yield from doors_of(read_doors(self._statistics, now=now))
        yield from stages_of(self._tally)
        yield from drift_of(self._statistics.latest(DRIFT, since=now - _INPUT_CURRENT))
        if (to := self._watched.commissioned) is not None:
            since = now - _COMMISSION_CURRENT
            yield from commission_of(to, last_commission(self._statistics, to, since=since))

    def _add_latencies(self) -> None:
        for latency_s in self._tally.latencies_s:
            place = next((i for i, bound in enumerate(LATENCY_BOUNDS_S) if latency_s <= bound), len(LATENCY_BOUNDS_S))
            self._latencies[place] += 1
            self._latency_sum_s += max(latency_s, 0.0)

    def _counters(self) -> Iterator[Metric]:
        tally = self._tally
        yield _counter("ichd_studies_received", "Studies whose first image came.", tally.studies_received)
        finished = CounterMetricFamily("ichd_studies_finished", "Studies that ended.", labels=["state"])
        for state in (StudyState.REPORTED, StudyState.NOT_ANALYSED, StudyState.FAILED):
            finished.add_metric([state.value], tally.studies_finished[state])
        yield finished
        within, buckets = 0, []
        for bound, count in zip((*map(str, LATENCY_BOUNDS_S), "+Inf"), self._latencies, strict=True):
            within += count
            buckets.append((bound, within))
        latency = HistogramMetricFamily("ichd_study_latency_seconds", "Last image to report, of reported studies.")
        latency.add_metric([], buckets, self._latency_sum_s)
        yield latency
        taken = CounterMetricFamily("ichd_deliveries", "Reports that a destination took.", labels=["destination"])
        for destination in sorted({*tally.deliveries, *self._watched.destinations}):
            taken.add_metric([destination], tally.deliveries[destination])
        yield taken
        yield _counter("ichd_received_images", "Images that were stored.", tally.images)
        yield _counter("ichd_received_bytes", "Their bytes.", tally.image_bytes)
        refused = CounterMetricFamily("ichd_refused_images", "Turned away at the door.", labels=["reason"])
        for reason, count in sorted(tally.refusals.items()):
            refused.add_metric([reason.value], count)
        yield refused

    def _figures_of_machines(self, now: datetime) -> Iterator[Metric]:
        drift = GaugeMetricFamily("ichd_self_test_drift", "Largest change of a probability.", labels=["machine"])
        for machine, value in self._statistics.latest("self_test_drift", since=now - _DRIFT_CURRENT).items():
            drift.add_metric([machine], value)
        yield drift
        disk = GaugeMetricFamily("ichd_disk_used_ratio", "Used share of the spool's disk.", labels=["machine"])
        for machine, value in self._statistics.latest("disk_used", since=now - _DISK_CURRENT).items():
            disk.add_metric([machine], value)
        yield disk
        ends = GaugeMetricFamily(
            "ichd_certificate_expiry_timestamp_seconds", "End of validity.", labels=["certificate", "machine"]
        )
        for name, value in self._statistics.latest("certificate_end", since=now - _CERTIFICATES_CURRENT).items():
            machine, _, certificate = name.partition("/")
            ends.add_metric([certificate, machine], value)
        yield ends


def _standing(census: Census, destinations: Collection[str], now: datetime) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("ichd_jobs", "Jobs that are not done.", labels=["kind", "state"])
    for (kind, state), crowd in census.jobs.items():
        jobs.add_metric([kind.value, state.value], crowd.count)
    yield jobs
    oldest = GaugeMetricFamily("ichd_oldest_job_age_seconds", "Of the oldest queued job.", labels=["kind"])
    for kind in JobKind:
        oldest.add_metric([kind.value], _age_s(census.jobs[kind, OPEN_JOBS[0]], now))
    yield oldest
    studies = GaugeMetricFamily("ichd_studies", "Studies that are not finished, or failed.", labels=["state"])
    for study_state, crowd in census.studies.items():
        studies.add_metric([study_state.value], crowd.count)
    yield studies
    ages = GaugeMetricFamily("ichd_oldest_study_age_seconds", "Since the first image of it.", labels=["state"])
    for study_state in UNFINISHED:
        ages.add_metric([study_state.value], _age_s(census.studies[study_state], now))
    yield ages
    # The counter of those that were taken has the same name but for its _total: both are about deliveries.
    owed = GaugeMetricFamily("ichd_deliveries", "Reports that are owed, or given up.", labels=["destination", "state"])
    known = {*destinations, *census.failures, *(destination for destination, _ in census.deliveries)}
    for destination in sorted(known):
        for state in OPEN_JOBS:
            owed.add_metric([destination, state.value], census.deliveries.get((destination, state), 0))
    yield owed
    failures = GaugeMetricFamily("ichd_destination_failures", "Failed attempts in a row.", labels=["destination"])
    for destination in sorted(known):
        failures.add_metric([destination], census.failures.get(destination, 0))
    yield failures
    if census.last_image_at is not None:
        arrival = census.last_image_at.timestamp()
        yield _gauge("ichd_last_image_timestamp_seconds", "Arrival of the newest image.", arrival)
    pending = GaugeMetricFamily("ichd_uploads_pending", "Files that the bucket lacks.", labels=["machine"])
    waits = GaugeMetricFamily("ichd_oldest_upload_age_seconds", "Of the oldest of them.", labels=["machine"])
    for machine, crowd in sorted(census.uploads.items()):
        pending.add_metric([machine], crowd.count)
        waits.add_metric([machine], _age_s(crowd, now))
    yield pending
    yield waits
    yield _gauge("ichd_removals_pending", "Objects of dropped images in the bucket.", census.removals.count)
    yield _gauge("ichd_oldest_removal_age_seconds", "Of the oldest of them.", _age_s(census.removals, now))


def _clockwork(states: Collection[TickState]) -> Iterator[Metric]:
    names = ["tick", "machine"]
    ran = GaugeMetricFamily("ichd_tick_last_run_timestamp_seconds", "End of the last run.", labels=names)
    due = GaugeMetricFamily("ichd_tick_due_timestamp_seconds", "When it is due.", labels=names)
    trouble = GaugeMetricFamily("ichd_tick_trouble", "The last run found trouble.", labels=[*names, "reason"])
    for state in states:
        labels = [state.name, state.machine]
        due.add_metric(labels, state.due_at.timestamp())
        if state.ran_at is not None:
            ran.add_metric(labels, state.ran_at.timestamp())
        if state.trouble is not None:
            trouble.add_metric([*labels, state.trouble.reason.value], 1)
    yield ran
    yield due
    yield trouble


def _age_s(crowd: Crowd, now: datetime) -> float:
    return 0.0 if crowd.since is None else max(0.0, (now - crowd.since).total_seconds())


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(name, meaning, value=value)


def _counter(name: str, meaning: str, value: float) -> Metric:
    return CounterMetricFamily(name, meaning, value=value)


def _info(name: str, meaning: str, labels: dict[str, str]) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=list(labels))
    family.add_metric(list(labels.values()), 1)
    return family
