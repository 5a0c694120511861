"""`GET /api/system`: the figures of the page as JSON. The shape only grows."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ichd.domain.finding import ModelIdentity
from ichd.domain.proportion import Proportion
from ichd.store.outlets import Outlet
from ichd.web.health import Verdict
from ichd.web.system.constancy import Agreement, Constancy, Quantity, Share
from ichd.web.system.figures import Figures
from ichd.web.system.traffic import Traffic


def system_shape(
    figures: Figures, model: ModelIdentity | None, verdicts: Mapping[str, Verdict], *, tells_all: bool
) -> dict[str, Any]:
    """Everything; details that may name accounts, addresses or settings only where `tells_all`."""
    return {
        "at": figures.now.isoformat(),
        "checks": {
            name: {"ok": verdict.ok} | ({"detail": verdict.detail} if tells_all else {})
            for name, verdict in verdicts.items()
        },
        "model": None
        if model is None
        else {
            "name": model.name,
            "version": model.version,
            "weights_sha256": model.weights_sha256,
            "promoted_at": _moment(figures.model_since),
        },
        "models": [
            {
                "name": each.name,
                "first_day": f"{each.first_at:%Y-%m-%d}",
                "last_day": f"{each.last_at:%Y-%m-%d}",
                "studies": each.studies,
            }
            for each in figures.models
        ],
        "queue": {
            f"{kind.value}_{state.value}": crowd.count for (kind, state), crowd in sorted(figures.census.jobs.items())
        },
        "destinations": [_outlet(outlet, tells_all=tells_all) for outlet in figures.outlets],
        "disk_used": dict(figures.disks),
        "traffic": _traffic(figures.traffic),
        "days": _days(figures.constancy),
    }


def _outlet(outlet: Outlet, *, tells_all: bool) -> dict[str, Any]:
    return {
        "destination": outlet.name,
        "last_success_at": _moment(outlet.last_success_at),
        "owed": outlet.owed,
        "dead": outlet.dead,
        "failures_in_a_row": outlet.failures,
        "proofs": {proof.value: count for proof, count in sorted(outlet.proofs.items())},
        "reason": outlet.reason and outlet.reason.value,
    } | ({"detail": outlet.detail} if tells_all else {})


def _traffic(traffic: Traffic) -> dict[str, Any]:
    return {
        "range": traffic.span.value,
        "step_s": traffic.steps.step.total_seconds(),
        "begins": _moments(traffic.steps.begins),
        "queue_peak": dict(traffic.queue_peak),
        "longest_wait_s": dict(traffic.longest_wait_s),
        "studies_per_hour": {name.removeprefix("studies_"): course for name, course in traffic.per_hour.items()},
        "studies": {name.removeprefix("studies_"): total for name, total in traffic.totals.items()},
        "latency_s": {f"p{percent}": course for percent, course in traffic.latency_s.items()},
        "latency_of_range_s": {f"p{percent}": value for percent, value in traffic.latency_of_span_s.items()},
        "delivered": dict(traffic.delivered),
        "given_up": dict(traffic.given_up),
        "owed_peak": dict(traffic.owed_peak),
        "disk_used": dict(traffic.disk_used),
    }


def _days(constancy: Constancy) -> dict[str, Any]:
    return {
        "begins": _moments(constancy.days.begins),
        "self_test_drift": dict(constancy.self_test),
        "scans": constancy.scans,
        "triage_share": dict(constancy.triage),
        "any_below": {f"{percent}%": course for percent, course in constancy.deciles.items()},
        "input": {quantity.name: _quantity(quantity) for quantity in constancy.inputs},
        "input_notes": [
            {"code": share.name, "share_of_90_days": share.at_first, "share_of_7_days": share.lately}
            for share in constancy.remarks
        ],
        "ppv": _agreement(constancy.ppv),
        "npv": _agreement(constancy.npv),
        "findings_with_words": dict(constancy.words),
        "scans_read": constancy.read,
    }


def _quantity(quantity: Quantity) -> dict[str, Any]:
    return {
        "drift": quantity.drift,
        "now": quantity.now,
        "level": quantity.level and quantity.level.value,
        "shares": [_share(share) for share in quantity.shares],
    }


def _share(share: Share) -> dict[str, Any]:
    return {"name": share.name, "share_of_first_28_days": share.at_first, "share_of_7_days": share.lately}


def _agreement(agreement: Agreement) -> dict[str, Any]:
    return {
        "share": [each and each.share for each in agreement.course],
        "words": [each.of if each else 0 for each in agreement.course],
        "now": _proportion(agreement.now),
    }


def _proportion(found: Proportion | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"right": found.hits, "of": found.of, "share": found.share, "low": found.low, "high": found.high}


def _moments(moments: Sequence[datetime]) -> list[str]:
    return [moment.isoformat() for moment in moments]


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
