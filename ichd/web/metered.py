"""Metric families of what others counted: doors in their own processes, stages of readings, drift of the input."""

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily

from ichd.store.commissioned import Commissioned
from ichd.store.doors import DoorCounts
from ichd.store.tally import Tally


def doors_of(doors: Sequence[DoorCounts]) -> Iterator[Metric]:
    """DIMSE statuses and associations, by the door that counted them; they begin with its process."""
    responses = CounterMetricFamily(
        "ichd_dimse_responses", "Answers to DIMSE requests.", labels=["door", "command", "status"]
    )
    ended = CounterMetricFamily("ichd_associations", "That ended, or were rejected.", labels=["door", "end"])
    open_ = GaugeMetricFamily("ichd_associations_open", "Associations at this moment.", labels=["door"])
    for door in doors:
        for name, count in sorted(door.counts.items()):
            match name.split("/"):
                case ["responses", command, status]:
                    responses.add_metric([door.place, command, status], count)
                case ["associations", "open"]:
                    open_.add_metric([door.place], count)
                case ["associations", end]:
                    ended.add_metric([door.place, end], count)
    yield responses
    yield ended
    yield open_


def stages_of(tally: Tally) -> Iterator[Metric]:
    """What each stage of a reading takes."""
    stages = SummaryMetricFamily("ichd_reading_stage_seconds", "Stages of a reading.", labels=["stage"])
    for stage, took_s in sorted(tally.stages_s.items()):
        stages.add_metric([stage], tally.readings, took_s)
    yield stages


def commission_of(destination: str, last: Commissioned | None) -> Iterator[Metric]:
    """How the phantom fared that takes the live route by the clock."""
    passed = GaugeMetricFamily("ichd_commission_passed", "Whether the last one passed.", labels=["destination"])
    ran = GaugeMetricFamily(
        "ichd_commission_last_run_timestamp_seconds", "When the last one went.", labels=["destination"]
    )
    took = GaugeMetricFamily(
        "ichd_commission_seconds", "Last image to the report at the archive.", labels=["destination"]
    )
    if last is not None:
        passed.add_metric([destination], float(last.passed))
        ran.add_metric([destination], last.at.timestamp())
        if last.took_s is not None:
            took.add_metric([destination], last.took_s)
    yield passed
    yield ran
    yield took


def drift_of(quantities: Mapping[str, float]) -> Iterator[Metric]:
    """How far the input lies from that of the first weeks."""
    drift = GaugeMetricFamily(
        "ichd_input_drift", "Population stability index of the last 7 days, less chance.", labels=["quantity"]
    )
    for quantity, value in sorted(quantities.items()):
        drift.add_metric([quantity], value)
    yield drift
