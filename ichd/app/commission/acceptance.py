"""A commissioning from its checks to its verdict."""

import hashlib
import json
import socket
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ichd import __version__
from ichd.app.checks import open_existing
from ichd.app.clock import utc_now
from ichd.app.commission.phantoms import make_study
from ichd.app.commission.points import Point, points_of
from ichd.app.commission.route import LiveRoute, live_route
from ichd.app.commission.trip import Traveller, Trip
from ichd.app.doctor import Check, examine
from ichd.app.model import check_model
from ichd.app.trail import named_values, user_name
from ichd.domain.finding import ModelIdentity
from ichd.publish.peer import DimsePeer
from ichd.settings import Settings

#: Last words of settings of which the digest says only whether they are set.
_SECRETS = frozenset({"token", "password", "secret", "access_key", "secret_key"})


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be done."""

    #: A destination of the settings.
    to: str
    #: Kinds of bleeds, None of a healthy head.
    cases: Sequence[str | None]
    #: Who is sent the phantoms in place of our own listener.
    via: DimsePeer | None = None
    #: How long a report may take to be listed, from the last image on.
    timeout_s: float = 300.0
    #: Where the phantoms stay; nowhere where it is None.
    keep_in: Path | None = None
    #: Look first at all that `ichd doctor` does.
    look_first: bool = True


@dataclass(frozen=True, kw_only=True)
class Case:
    """One phantom with all that was checked of it."""

    trip: Trip
    points: tuple[Point, ...]

    @property
    def passed(self) -> bool:
        """Every point is right."""
        return bool(self.points) and all(point.ok for point in self.points)


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """What came of it."""

    route: LiveRoute
    model: ModelIdentity
    began_at: datetime
    ended_at: datetime
    checks: tuple[Check, ...]
    #: Of `checks`, those that the route does not depend on.
    beside_the_route: frozenset[str]
    cases: tuple[Case, ...]
    timeout_s: float
    settings_sha256: str
    #: Where the phantoms lie; None where they are gone.
    kept_in: Path | None
    host: str
    user: str
    ae_title: str
    version: str = __version__

    @property
    def checks_passed(self) -> bool:
        """Everything that the route depends on is well."""
        return all(check.ok for check in self.checks if check.name not in self.beside_the_route)

    @property
    def passed(self) -> bool:
        """All checks of the route, and all cases."""
        return self.checks_passed and bool(self.cases) and all(case.passed for case in self.cases)

    @property
    def patient_id(self) -> str:
        """Under which the phantoms are to be found; empty where none was sent."""
        return self.cases[0].trip.study.patient_id if self.cases else ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "passed": self.passed,
            "began_at": self.began_at.isoformat(),
            "ended_at": self.ended_at.isoformat(),
            "version": self.version,
            "ae_title": self.ae_title,
            "host": self.host,
            "user": self.user,
            "destination": self.route.destination,
            "sent_to": self.route.entry_in_words,
            "asked": self.route.archive_in_words,
            "settings_sha256": self.settings_sha256,
            "timeout_s": self.timeout_s,
            "patient_id": self.patient_id,
            "model": {
                "name": self.model.name,
                "version": self.model.version,
                "weights_sha256": self.model.weights_sha256,
                "bundle_sha256": self.model.bundle_sha256,
                "statement": self.model.statement,
            },
            "checks": [
                {"name": c.name, "ok": c.ok, "detail": c.detail, "of_the_route": c.name not in self.beside_the_route}
                for c in self.checks
            ],
            "cases": [_case_shape(case) for case in self.cases],
        }


def commission(
    settings: Settings, plan: Plan, *, tell: Callable[[str], None], stopped: Callable[[], bool] = lambda: False
) -> Acceptance:
    """Check, send, wait, ask, judge; `tell` hears what happens. What goes wrong on the way is in the result.

    Raises:
        UserError: the route can't be: no such destination, no database, no model.
        Transient: our own database does not answer.
    """
    route, model, began_at = live_route(settings, plan.to, via=plan.via), check_model(settings.model), utc_now()
    tell("looking at what the route depends on")
    checks = tuple(examine(settings)) if plan.look_first else ()
    beside = frozenset(check.name for check in checks if not _is_of_the_route(check.name, route))
    cases: list[Case] = []
    if all(check.ok for check in checks if check.name not in beside):
        cases = _cases(settings, plan, route, model, began_at=began_at, tell=tell, stopped=stopped)
    return Acceptance(
        route=route,
        model=model,
        began_at=began_at,
        ended_at=utc_now(),
        checks=checks,
        beside_the_route=beside,
        cases=tuple(cases),
        timeout_s=plan.timeout_s,
        settings_sha256=settings_digest(settings),
        kept_in=plan.keep_in,
        host=socket.gethostname(),
        user=user_name(),
        ae_title=settings.dicom.ae_title,
    )


def settings_digest(settings: Settings) -> str:
    """SHA-256 of all settings but the secrets: equal digests, equal settings."""
    shown = {
        name: value if name.rpartition(".")[2] not in _SECRETS else value is not None
        for name, value in named_values(settings.model_dump(mode="json"))
    }
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()


def _cases(
    settings: Settings,
    plan: Plan,
    route: LiveRoute,
    model: ModelIdentity,
    *,
    began_at: datetime,
    tell: Callable[[str], None],
    stopped: Callable[[], bool],
) -> list[Case]:
    storage = open_existing(settings)
    traveller = Traveller(route, storage, timeout_s=plan.timeout_s, stopped=stopped)
    cases: list[Case] = []
    with tempfile.TemporaryDirectory(prefix="ichd-commission-") as aside:
        root = plan.keep_in or Path(aside)
        for number, bleed in enumerate(plan.cases, start=1):
            if stopped():
                break
            name = bleed or "healthy"
            tell(f"{number} of {len(plan.cases)}, {name}: rendering")
            study = make_study(bleed, root / f"{number}-{name}", number=number, now=began_at)
            tell(f"{number} of {len(plan.cases)}, {name}: sent, waiting for its report")
            trip = traveller.take(study)
            case = Case(trip=trip, points=points_of(trip, model, timeout_s=plan.timeout_s))
            tell(f"{number} of {len(plan.cases)}, {name}: {'passed' if case.passed else 'FAILED'}")
            cases.append(case)
    storage.engine.dispose()
    return cases


def _is_of_the_route(check: str, route: LiveRoute) -> bool:
    """Other destinations, sources and doors may be away: nothing of this route passes there."""
    if check.startswith(("destination ", "source ")):
        return check in {f"destination {route.destination}", f"source {route.archive.name}"}
    return check not in {"audit trail", "feedback", "web certificate", "web accounts", "ticks", "commissioning"}


def _case_shape(case: Case) -> dict[str, Any]:
    trip = case.trip
    return {
        "case": trip.study.name,
        "passed": case.passed,
        "study_uid": trip.study.study_uid,
        "accession_number": trip.study.accession_number,
        "images": len(trip.study.images),
        "began_at": trip.began_at.isoformat(),
        "sent_s": trip.sent_s,
        "complete_s": trip.complete_s,
        "reported_s": trip.reported_s,
        "archived_s": trip.archived_s,
        "report_uid": trip.listed.sop_instance_uid if trip.listed else None,
        "handed_back": trip.handed_back,
        "trouble": trip.trouble,
        "points": [
            {"name": p.name, "expected": p.expected, "found": p.found, "ok": p.ok, "note": p.note} for p in case.points
        ],
    }
