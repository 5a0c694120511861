"""`/metrics`: what Prometheus reads, for whom, and that the page in the manual lists it."""

import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine

from ichd.domain.errors import Transient
from ichd.domain.reason import Reason
from ichd.store.arrivals import Arrivals
from ichd.store.catalogue import Catalogue
from ichd.store.commissioned import note_commission
from ichd.store.doors import DoorCounts, write_door
from ichd.store.engine import open_database
from ichd.store.heatmaps import HeatMaps
from ichd.store.history import History
from ichd.store.reviews import Reviews
from ichd.store.spool import Spool
from ichd.store.statistics import Statistics
from ichd.store.studies import Studies
from ichd.store.ticks import Ticks, Trouble
from ichd.web import Entry, Site, create_app
from ichd.web import metrics as module
from ichd.web.access.accounts import Accounts
from ichd.web.access.secret import hash_password
from ichd.web.metrics import Watched, metrics_router
from tests.deploy.tools import needed
from tests.web.conftest import NOW, Filled
from tests.web.worklist_of_all_states import DEMO

PAGE = Path(__file__).resolve().parents[2] / "docs/metrics.md"


def browser(folder: Path, engine: Engine, *, entry: Entry | None = None, address: str = "127.0.0.1") -> TestClient:
    spool = Spool(folder / "spool")
    watched = Watched(
        version="1.0", model=lambda: DEMO, destinations=["pacs", "quiet"], clock=lambda: NOW, commissioned="pacs"
    )
    app = create_app(
        studies=Studies(engine, spool),
        arrivals=Arrivals(engine),
        catalogue=Catalogue(engine, spool),
        heat_maps=HeatMaps(engine, spool),
        reviews=Reviews(engine),
        history=History(engine, spool),
        site=Site(version="1.0", listener="ICHD@127.0.0.1:11112", model=lambda: DEMO),
        checks={"database": lambda: "reachable"},
        clock=lambda: NOW,
        entry=entry,
        doors=[metrics_router(engine, watched)],
    )
    return TestClient(app, base_url="http://127.0.0.1:8642", client=(address, 50000))


@pytest.fixture(scope="module")
def engine(filled: Filled) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{filled.folder / 'ichd.db'}")
    ticks = Ticks(engine, owner="w")
    every, lease = timedelta(hours=1), timedelta(seconds=15)
    for name, trouble in (("strand", None), ("self_test@ct-1", Trouble(reason=Reason.SELF_TEST_DRIFTED, detail="0.3"))):
        ticks.claim(name, every=every, lease=lease, now=NOW)
        ticks.done(name, trouble, due_at=NOW + every, now=NOW)
    statistics = Statistics(engine)
    statistics.record({"disk_used/ct-1": 0.25, "self_test_drift/ct-1": 0.3}, at=NOW)
    statistics.record({"input_drift/kernel": 0.3}, at=NOW - timedelta(hours=12))
    counts = {"responses/c_store/0xa900": 3, "associations/released": 5, "associations/open": 1}
    write_door(statistics, DoorCounts(place="ct-1/127.0.0.1:11112", counts=counts), now=NOW - timedelta(minutes=1))
    note_commission(statistics, "pacs", passed=True, took_s=7.5, now=NOW - timedelta(days=1))
    note_commission(statistics, "pacs", passed=False, took_s=None, now=NOW - timedelta(hours=1))
    statistics.record_latest({"certificate_end/ct-1/destination pacs": 1.8e9}, at=NOW)
    yield engine
    engine.dispose()


def scraped(client: TestClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_prometheus_reads_how_things_stand(filled: Filled, engine: Engine) -> None:
    found = scraped(browser(filled.folder, engine))

    assert found["ichd_build_info", (("version", "1.0"),)] == 1
    assert found["ichd_database_up", ()] == 1
    assert found["ichd_studies", (("state", "receiving"),)] >= 1
    assert found["ichd_studies", (("state", "failed"),)] >= 1
    assert found["ichd_jobs", (("kind", "analyse"), ("state", "dead"))] >= 1
    assert found["ichd_deliveries", (("destination", "quiet"), ("state", "queued"))] == 0
    assert found["ichd_destination_failures", (("destination", "quiet"),)] == 0
    assert found["ichd_study_latency_seconds_bucket", (("le", "+Inf"),)] == 0
    assert found["ichd_tick_last_run_timestamp_seconds", (("machine", ""), ("tick", "strand"))] == NOW.timestamp()
    trouble = (("machine", "ct-1"), ("reason", "self_test_drifted"), ("tick", "self_test"))
    assert found["ichd_tick_trouble", trouble] == 1
    assert found["ichd_self_test_drift", (("machine", "ct-1"),)] == 0.3
    assert found["ichd_disk_used_ratio", (("machine", "ct-1"),)] == 0.25
    certificate = (("certificate", "destination pacs"), ("machine", "ct-1"))
    assert found["ichd_certificate_expiry_timestamp_seconds", certificate] == 1.8e9


def test_prometheus_reads_what_the_doors_and_days_counted(filled: Filled, engine: Engine) -> None:
    found = scraped(browser(filled.folder, engine))

    door = ("door", "ct-1/127.0.0.1:11112")
    assert found["ichd_dimse_responses_total", (("command", "c_store"), door, ("status", "0xa900"))] == 3
    assert found["ichd_associations_total", (door, ("end", "released"))] == 5
    assert found["ichd_associations_open", (door,)] == 1
    assert found["ichd_input_drift", (("quantity", "kernel"),)] == 0.3


def test_prometheus_reads_how_the_last_phantom_fared(filled: Filled, engine: Engine) -> None:
    found = scraped(browser(filled.folder, engine))

    pacs = (("destination", "pacs"),)
    assert found["ichd_commission_passed", pacs] == 0
    assert found["ichd_commission_last_run_timestamp_seconds", pacs] == (NOW - timedelta(hours=1)).timestamp()
    assert found["ichd_commission_seconds", pacs] == 7.5, "of the last one whose report came to the archive"


def test_promtool_finds_nothing_to_mend(filled: Filled, engine: Engine) -> None:
    """Names, types, help and units by the conventions of Prometheus."""
    text = browser(filled.folder, engine).get("/metrics").text
    checked = subprocess.run(
        [needed("promtool", "Debian: prometheus"), "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_every_figure_is_in_the_manual_and_nothing_else_is(filled: Filled, engine: Engine) -> None:
    text = browser(filled.folder, engine).get("/metrics").text
    told = set(re.findall(r"^# TYPE (\S+)", text, re.M))
    listed = set(re.findall(r"^\| `(ichd_\w+)` \|", PAGE.read_text(), re.M))
    assert told == listed, "docs/metrics.md and /metrics differ"


def test_scrapes_that_follow_each_other_ask_the_database_once(
    filled: Filled, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = browser(filled.folder, engine)
    client.get("/metrics")

    def asked(_engine: Engine) -> None:
        raise AssertionError("asked again")

    monkeypatch.setattr(module, "take_census", asked)
    assert client.get("/metrics").status_code == 200


def test_a_database_that_is_away_is_a_figure(filled: Filled, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_engine: Engine) -> None:
        raise Transient(Reason.STORE_UNAVAILABLE)

    monkeypatch.setattr(module, "take_census", away)
    found = scraped(browser(filled.folder, engine))
    assert found["ichd_database_up", ()] == 0
    assert {name for name, _ in found} == {"ichd_build_info", "ichd_model_info", "ichd_database_up"}


def test_strangers_need_an_account_and_this_machine_does_not(filled: Filled, engine: Engine) -> None:
    accounts = Accounts({"prometheus": hash_password("s3cret-s3cret")})
    entry = Entry(accounts=accounts, any_address=True)

    def status(entry: Entry, address: str, auth: tuple[str, str] | None = None) -> int:
        return browser(filled.folder, engine, entry=entry, address=address).get("/metrics", auth=auth).status_code

    assert status(entry, "127.0.0.1") == 200
    assert status(entry, "192.0.2.7") == 401
    assert status(entry, "192.0.2.7", ("prometheus", "s3cret-s3cret")) == 200
    assert browser(filled.folder, engine, entry=entry).get("/api/studies").status_code == 401
    behind = Entry(accounts=accounts, any_address=True, behind_proxy=True)
    assert status(behind, "127.0.0.1") == 401, "behind a proxy everybody comes from this machine"


def test_nothing_tells_who_a_patient_is(filled: Filled, engine: Engine) -> None:
    text = browser(filled.folder, engine).get("/metrics").text
    for uid in filled.uids.values():
        assert uid not in text


def test_the_clock_is_that_of_the_program(filled: Filled, engine: Engine) -> None:
    found = scraped(browser(filled.folder, engine))
    arrival = datetime.fromtimestamp(found["ichd_last_image_timestamp_seconds", ()], UTC)
    assert arrival <= NOW
    assert found["ichd_oldest_study_age_seconds", (("state", "receiving"),)] > 0
