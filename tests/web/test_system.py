"""`/system` and `/api/system`: what they say is what was counted, for whom, and how it looks with nothing in it."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from ichd.domain.errors import UserError
from ichd.domain.histogram import duration_bin, duration_of
from ichd.domain.role import Role
from ichd.store.days import DAY, count_day, day_of
from ichd.store.engine import migrate, open_database
from ichd.store.statistics import HOUR, Statistics
from ichd.web.metrics import Watched
from ichd.web.pages import Pages
from ichd.web.system import system_room
from ichd.web.system.span import Span, steps_of
from ichd.web.visitor import Visitor, admit
from tests.web.conftest import NOW, client_of
from tests.web.worklist_of_all_states import DEMO

MIDNIGHT = day_of(NOW)


def well() -> str:
    return "as ever"


def ill() -> str:
    raise UserError("set spool.high_watermark")


def client(engine: Engine, *, role: Role = Role.ADMIN) -> TestClient:
    """A visitor of the two routes alone."""
    watched = Watched(version="1.0", model=lambda: DEMO, destinations=["pacs"], clock=lambda: NOW)
    pages = Pages(site_version="1.0", listener="ICHD@here:11112", model=lambda: DEMO, clock=lambda: NOW)
    app = FastAPI()
    app.include_router(system_room(engine, watched, {"database": well, "disk": ill})(pages))

    async def asked(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            admit(scope, Visitor(account="anna", role=role))
        await app(scope, receive, send)

    return TestClient(asked)


def told(engine: Engine, span: str = "24h", *, role: Role = Role.ADMIN) -> dict[str, Any]:
    answer = client(engine, role=role).get("/api/system", params={"range": span})
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture
def counted(engine: Engine) -> Engine:
    """Two hours of the day before `NOW`, counted by hand below."""
    statistics = Statistics(engine)
    first, second = NOW - 5 * HOUR, NOW - 4 * HOUR
    fast, slow = duration_bin(3.0), duration_bin(40.0)
    hours = {
        first: {"studies_received": 6, "studies_reported": 4, "studies_failed": 1, f"latency_bin/{fast}": 4},
        second: {"studies_received": 2, "studies_reported": 2, "studies_failed": 0, f"latency_bin/{slow}": 2},
    }
    for hour, figures in hours.items():
        statistics.record(figures | {"deliveries_ok/pacs": 3, "queue_peak/analyse": hour.hour}, at=hour)
    statistics.record({"triage/urgent": 1, "triage/routine": 3, "any_bin/00": 3, "any_bin/18": 1}, at=first)
    statistics.record({"words/urgent/right": 8, "words/urgent/wrong": 2, "words/routine/right": 5}, at=first)
    statistics.record({"input_kernel/<script>": 4, "input_remark/motion": 1, "read_by/m 1 abc": 4}, at=first)
    statistics.record({"self_test_drift/ct-1": 0.004}, at=NOW - 2 * HOUR)
    statistics.record({"disk_used/ct-1": 0.25}, at=NOW)
    count_day(engine, MIDNIGHT)
    return engine


def test_traffic_is_what_was_counted(counted: Engine) -> None:
    traffic = told(counted)["traffic"]
    at = {begin: place for place, begin in enumerate(traffic["begins"])}
    first, second = (at[(NOW - n * HOUR).isoformat()] for n in (5, 4))

    assert len(at) == 24
    assert traffic["studies_per_hour"]["received"][first] == 6
    assert traffic["studies_per_hour"]["failed"] == [{first: 1, second: 0}.get(place) for place in range(24)], (
        "where nothing was counted nothing is claimed"
    )
    assert traffic["studies"] == {"received": 8, "reported": 6, "not_analysed": 0, "failed": 1}
    assert traffic["latency_s"]["p95"][first] == duration_of(duration_bin(3.0))
    assert traffic["latency_of_range_s"]["p50"] == pytest.approx(3.0, rel=0.045)
    assert traffic["latency_of_range_s"]["p95"] == pytest.approx(40.0, rel=0.045)
    assert traffic["queue_peak"]["analyse"][second] == (NOW - 4 * HOUR).hour
    assert traffic["delivered"]["pacs"][first] == 3
    assert told(counted)["disk_used"] == {"ct-1": 0.25}


def test_longer_spans_say_the_same_in_longer_steps(counted: Engine) -> None:
    """07:00 and 08:00 lie in one step of six hours; of the present day twelve hours are over."""
    week, quarter = (told(counted, span)["traffic"] for span in ("7d", "90d"))

    assert [value for value in week["studies_per_hour"]["received"] if value is not None] == [8 / 6]
    assert quarter["studies_per_hour"]["received"][-1] == 8 / 12
    assert week["studies"] == quarter["studies"] == told(counted)["traffic"]["studies"]
    assert quarter["latency_of_range_s"] == week["latency_of_range_s"]
    assert quarter["queue_peak"]["analyse"][-1] == (NOW - 4 * HOUR).hour


def test_constancy_is_what_was_counted(counted: Engine) -> None:
    found = told(counted)
    days = found["days"]

    assert len(days["begins"]) == 90
    assert (days["triage_share"]["urgent"][-1], days["triage_share"]["routine"][-1]) == (0.25, 0.75)
    assert (days["any_below"]["50%"][-1], days["any_below"]["90%"][-1]) == (0.025, 0.925)
    assert days["self_test_drift"] == {"ct-1": [None] * 89 + [0.004]}
    assert days["ppv"]["now"] == {
        "right": 8,
        "of": 10,
        "share": 0.8,
        "low": pytest.approx(0.4902, abs=1e-4),
        "high": pytest.approx(0.9433, abs=1e-4),
    }
    assert days["npv"]["now"]["of"] == 5
    assert days["findings_with_words"] == {"urgent": 10, "routine": 5, "indeterminate": 0}
    assert days["input"]["kernel"]["shares"] == [
        {"name": "<script>", "share_of_first_28_days": None, "share_of_7_days": 1.0}
    ]
    assert days["input"]["kernel"]["level"] is None
    assert days["input_notes"] == [{"code": "motion", "share_of_90_days": 0.25, "share_of_7_days": 0.25}]
    assert found["models"] == [{"name": "m 1 abc", "first_day": "2026-11-24", "last_day": "2026-11-24", "studies": 4}]


def test_words_stay_in_the_ppv_for_four_weeks(engine: Engine) -> None:
    statistics = Statistics(engine)
    for age, right, wrong in ((40, 1, 9), (27, 3, 1), (0, 1, 1)):
        day = MIDNIGHT - age * DAY
        statistics.record({"words/urgent/right": right, "words/urgent/wrong": wrong}, at=day + HOUR)
        count_day(engine, day)

    ppv = told(engine)["days"]["ppv"]
    assert ppv["words"][-1] == 6
    assert ppv["share"][-1] == pytest.approx(4 / 6)
    assert ppv["share"][89 - 28] == pytest.approx(1 / 10)
    assert ppv["words"][89 - 27] == 14


def test_the_page_says_it_all_in_words(counted: Engine) -> None:
    page = client(counted).get("/system").text

    assert "PPV 80 % (95 %: 49 % to 94 %; 8 of 10 in 28 days)." in page
    assert "They choose of which" in page
    assert "reported: 4" in page, "a tooltip tells the values of its hour"
    assert "&lt;script&gt;" in page
    assert "<script>4" not in page
    assert 'aria-current="page">System' in page
    assert re.search(r'href="/system\?range=24h" aria-current="true"', page)
    assert "style=" not in page
    assert "onclick" not in page


def test_without_figures_each_plot_says_why(engine: Engine) -> None:
    page = client(engine).get("/system").text

    assert page.count('<figure class="plot"') == 12
    assert '<svg class="axes"' not in page
    for sentence in (
        "Nothing was counted in this time yet.",
        "No study was reported in this time.",
        "No destination took a report in this time.",
        "No self-test has run in this time.",
        "No reader has said in these 90 days",
        "Not to be told yet: it takes 28 days",
        "No machine has said in the last two hours",
    ):
        assert sentence in page


def test_a_viewer_sees_what_is_wrong_and_an_admin_how_to_mend_it(engine: Engine) -> None:
    viewer, admin = (client(engine, role=role).get("/system").text for role in (Role.VIEWER, Role.ADMIN))

    assert "The disk is nearly full: images are refused." in viewer
    assert "The database answers." in viewer
    assert "set spool.high_watermark" not in viewer
    assert "set spool.high_watermark" in admin
    assert told(engine, role=Role.VIEWER)["checks"] == {"database": {"ok": True}, "disk": {"ok": False}}
    assert told(engine)["checks"]["disk"] == {"ok": False, "detail": "set spool.high_watermark"}


def test_a_span_that_is_none_is_refused(engine: Engine) -> None:
    assert client(engine).get("/api/system", params={"range": "1y"}).status_code == 422


def test_steps_end_with_the_present_one() -> None:
    for span in Span:
        steps = steps_of(span, NOW + timedelta(minutes=7))
        assert len(steps.begins) == span.steps
        assert steps.begins[-1] <= NOW < steps.until
        assert steps.since.astimezone(UTC).minute == 0


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[TestClient]:
    migrate(f"sqlite:///{tmp_path / 'ichd.db'}")
    open_database(f"sqlite:///{tmp_path / 'ichd.db'}").dispose()
    with client_of(tmp_path) as found:
        yield found


def test_the_room_is_in_the_application_with_its_headers(hospital: TestClient) -> None:
    answer = hospital.get("/system")

    assert answer.status_code == 200
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert datetime.fromisoformat(hospital.get("/api/system").json()["at"]) == NOW
    assert '<a href="/system">System</a>' in hospital.get("/").text
