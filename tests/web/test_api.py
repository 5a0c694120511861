"""What a program sees: JSON, health, headers, and nothing that changes anything."""

import json
import re
import sqlite3
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from ichd.domain.finding import CLASSES
from ichd.store.engine import migrate
from tests.web.conftest import Filled, client_of
from tests.web.test_shape import PROMISED
from tests.web.worklist_of_all_states import STATEMENT


@pytest.mark.parametrize("study", ["peer away", "two receipts", "chest", "reading failed", "ready", "receiving"])
def test_every_study_has_the_promised_shape(client: TestClient, filled: Filled, study: str) -> None:
    record = client.get(f"/api/studies/{filled.uids[study]}").json()

    assert record.keys() >= PROMISED
    assert record["study_uid"] == filled.uids[study]
    assert record["classes"] == list(CLASSES)


def test_a_read_study_has_its_scores_and_its_present_state(client: TestClient, filled: Filled) -> None:
    record = client.get(f"/api/studies/{filled.uids['two receipts']}").json()

    assert record["state"] == "reported"
    assert record["triage"] == "urgent"
    assert record["scan"]["subdural"] == pytest.approx(0.95)
    assert len(record["slices"]) == 14
    assert record["slices"][0]["p"].keys() == set(CLASSES)
    assert record["model"]["statement"] == STATEMENT
    assert record["skipped_series"] == [
        {"series_uid": f"{filled.uids['two receipts']}.2", "reason": "localizer", "detail": "2 of 2 images"}
    ]
    assert [r["destination"] for r in record["deliveries"]] == ["pacs", "archive"]


def test_a_study_that_was_not_read_has_a_reason_and_no_scores(client: TestClient, filled: Filled) -> None:
    record = client.get(f"/api/studies/{filled.uids['chest']}").json()

    assert (record["state"], record["reason"]) == ("not_analysed", "no_readable_series")
    assert record["skipped_series"][0]["reason"] == "not_a_head"
    assert record["scan"] is None
    assert record["triage"] is None


def test_the_list_is_newest_first_and_can_be_narrowed(client: TestClient, filled: Filled) -> None:
    listed = client.get("/api/studies").json()
    failed = client.get("/api/studies", params={"state": "failed"}).json()

    assert [s["study_uid"] for s in listed] == list(reversed(filled.uids.values()))
    assert {s["study_uid"] for s in failed} == {filled.uids["delivery failed"], filled.uids["reading failed"]}
    assert len(client.get("/api/studies", params={"limit": 3}).json()) == 3
    assert client.get("/api/studies", params={"limit": 0}).status_code == 422


def test_refused_images_are_listed(client: TestClient) -> None:
    (refused,) = client.get("/api/refusals").json()

    assert (refused["reason"], refused["calling_ae_title"]) == ("wrong_modality", "MR2")
    assert refused["meaning"].startswith("only CT images")


@pytest.mark.parametrize("path", ["/api/studies/1.2.3", "/api/studies/x", "/api/nothing"])
def test_not_found_is_a_sentence_in_json(client: TestClient, path: str) -> None:
    answer = client.get(path)

    assert answer.status_code == 404
    assert answer.json().keys() == {"error"}
    assert answer.json()["error"].endswith(".")


def test_no_key_speaks_of_a_patient(client: TestClient, filled: Filled) -> None:
    answers = [client.get("/api/studies").text, *(client.get(f"/api/studies/{u}").text for u in filled.uids.values())]

    for answer in answers:
        assert "patient" not in answer.lower()
        assert "birth" not in answer.lower()


@pytest.mark.parametrize("path", ["/", "/api/studies", "/healthz", "/readyz", "/static/ichd.css", "/nothing"])
def test_every_answer_is_guarded(client: TestClient, path: str) -> None:
    headers = client.get(path).headers

    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == ("no-cache" if "static" in path else "no-store")


def test_browsers_keep_files_of_this_edition_and_no_others(client: TestClient) -> None:
    addresses = re.findall(r'(?:src|href)="(/static/[^"]*)"', client.get("/").text)
    assert addresses
    for address in addresses:
        kept = client.get(address)
        assert kept.status_code == 200, address
        assert kept.headers["cache-control"] == "private, max-age=31536000, immutable"

    ours = addresses[0].split("/")[2]
    replaced = client.get(f"/static/{'0' * len(ours)}/ichd.css")
    assert replaced.status_code == 200, "a page from a process that is about to be replaced"
    assert replaced.headers["cache-control"] == "no-cache"
    missing = client.get(f"/static/{ours}/nothing.css")
    assert missing.status_code == 404
    assert missing.headers["cache-control"] == "no-cache"


def test_a_page_of_another_host_that_resolves_to_us_gets_nothing(client: TestClient) -> None:
    answer = client.get("/api/studies", headers={"Host": "rebound.example:8642"})

    assert answer.status_code == 400
    assert "study_uid" not in answer.text
    assert "content-security-policy" in answer.headers


@pytest.mark.parametrize("host", ["localhost:8642", "127.0.0.1", "[::1]:8642"])
def test_every_name_of_loopback_is_answered(client: TestClient, host: str) -> None:
    assert client.get("/api/studies", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_can_be_changed(client: TestClient, filled: Filled, method: str) -> None:
    for path in ("/", "/api/studies", f"/api/studies/{filled.uids['ready']}", f"/studies/{filled.uids['ready']}"):
        assert client.request(method, path).status_code == 405


def test_health_is_good_on_the_right_schema(client: TestClient) -> None:
    assert client.get("/healthz").json()["ok"] is True
    assert client.get("/readyz").json()["checks"].keys() == {"database", "model"}


def test_health_names_the_mend_on_another_schema(tmp_path: Path) -> None:
    migrate(f"sqlite:///{tmp_path / 'ichd.db'}")
    client = client_of(tmp_path)
    with sqlite3.connect(tmp_path / "ichd.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '0000'")

    for path in ("/healthz", "/readyz"):
        answer = client.get(path)

        assert answer.status_code == 503
        assert "ichd migrate" in answer.json()["checks"]["database"]["detail"]


def test_a_database_that_went_away_is_said_on_pages_and_in_json(tmp_path: Path) -> None:
    (tmp_path / "ichd.db").write_text("")
    client = client_of(tmp_path)

    page, listed = client.get("/"), client.get("/api/studies")

    assert (page.status_code, listed.status_code) == (503, 503)
    assert "ichd doctor" in page.text
    assert "ichd doctor" in listed.json()["error"]
    assert listed.headers["retry-after"] == "5"


def test_the_description_of_the_api_names_every_route(client: TestClient) -> None:
    described = json.loads(client.get("/api/openapi.json").text)

    assert set(described["paths"]) == {
        "/api/studies",
        "/api/system",
        "/api/studies/{study_uid}",
        "/api/studies/{study_uid}/patient",
        "/api/studies/{study_uid}/retry",
        "/api/studies/{study_uid}/reprocess",
        "/api/studies/{study_uid}/review",
        "/api/studies/{study_uid}/heatmaps",
        "/api/studies/{study_uid}/heatmaps/{sop_uid}/{class_name}.png",
        "/api/studies/{study_uid}/series/{series_uid}/stack",
        "/api/studies/{study_uid}/images/{sop_uid}/hu",
        "/api/studies/{study_uid}/images.zip",
        "/api/refusals",
        "/healthz",
        "/readyz",
    }
