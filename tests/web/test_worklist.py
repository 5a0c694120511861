"""The worklist page, its filters in the address, its stream of changes, and errands."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from ichd.domain.role import Role
from ichd.domain.study import StudyState
from ichd.store.engine import migrate
from ichd.store.tables import AuditRow
from ichd.store.transaction import reading
from ichd.web.visitor import Visitor, admit
from tests.web.conftest import NOW, Filled, client_of
from tests.web.test_pages import text_of
from tests.web.test_run_web import free_port, running, settings_for
from tests.web.worklist_of_all_states import Hospital, fill


def order_of(html: str) -> list[str]:
    return re.findall(r'<tr class="[a-z]+" data-uid="([0-9.]+)"', html)


@pytest.mark.parametrize(
    ("address", "names"),
    [
        ("?triage=indeterminate", ["indeterminate"]),
        ("?state=failed", ["delivery failed", "reading failed"]),
        ("?state=failed&triage=urgent", ["delivery failed"]),
        ("?state=under_way&order=newest", ["receiving", "ready", "late slice", "peer away"]),
        ("?q=a2026110", ["peer away", "two receipts", "delivery failed", "reading failed", "indeterminate",
                         "no destination", "chest", "routine", "old urgent"]),
        ("?until=2026-11-23", ["old urgent"]),
        ("?q=nothing", []),
    ],
)  # fmt: skip
def test_the_address_says_what_is_shown(client: TestClient, filled: Filled, address: str, names: list[str]) -> None:
    assert order_of(client.get(f"/{address}").text) == [filled.uids[name] for name in names]


def test_what_is_chosen_is_marked_and_counted(client: TestClient) -> None:
    page = client.get("/?triage=urgent&q=A").text

    assert re.findall(r'name="(?:triage|state)" value="([a-z_]+)" checked', page) == ["urgent"]
    assert dict(re.findall(r'data-count="([a-z_=]+)">([0-9+]+)<', page)) == {
        "triage=urgent": "5",
        "triage=indeterminate": "1",
        "triage=routine": "2",
        "state=under_way": "4",
        "state=reported": "5",
        "state=not_analysed": "1",
        "state=failed": "2",
    }


def test_nothing_that_fits_says_so_and_how_to_clear_the_filter(client: TestClient) -> None:
    shown = text_of(client.get("/?q=<b>no").text)

    assert "No accession number and no Study Instance UID begins with “<b>no”" in shown
    assert "Clear the filter" in shown


@pytest.mark.parametrize(
    ("address", "status"),
    [("/?since=tomorrow", 400), ("/?until=9999-12-31", 400), ("/?state=lost", 400), ("/?after=nowhere", 404)],
)
def test_an_address_that_can_not_be_used_is_a_page_that_says_so(client: TestClient, address: str, status: int) -> None:
    answer = client.get(address)

    assert answer.status_code == status
    assert "Back to the worklist" in answer.text


def test_the_api_pages_by_a_link(client: TestClient, filled: Filled) -> None:
    address: str | None = "/api/studies?limit=5"
    found: list[str] = []
    while address:
        answer = client.get(address)
        found += [study["study_uid"] for study in answer.json()]
        address = answer.links.get("next", {}).get("url")

    assert found == list(reversed(filled.uids.values()))


def test_the_api_takes_the_filters_of_the_page(client: TestClient, filled: Filled) -> None:
    answer = client.get("/api/studies?triage=urgent&state=failed&state=analysing&q=A2026&order=urgent")

    assert [s["study_uid"] for s in answer.json()] == [
        filled.uids[name] for name in ("late slice", "peer away", "delivery failed")
    ]
    assert client.get("/api/studies?triage=lost").status_code == 422
    assert client.get("/api/studies?since=tomorrow").json()["error"].startswith("Since is no day")


@pytest.fixture
def workshop(tmp_path: Path) -> tuple[TestClient, Filled]:
    """A database of its own, to change."""
    return client_of(tmp_path), Filled(folder=tmp_path, uids=fill(tmp_path, NOW))


def trail(folder: Path) -> list[tuple[str, str, str]]:
    hospital = Hospital(folder=folder, now=NOW)
    with reading(hospital.engine) as session:
        rows = session.scalars(select(AuditRow).order_by(AuditRow.id)).all()
    hospital.engine.dispose()
    told = [row for row in rows if row.event in {"study_retried", "study_reprocessed"}]
    return [(row.event, row.actor, row.subject["study_instance_uid"]) for row in told]


def test_an_operator_retries_and_reprocesses_and_the_trail_says_who(workshop: tuple[TestClient, Filled]) -> None:
    client, filled = workshop
    failed, reported = filled.uids["reading failed"], filled.uids["two receipts"]

    assert client.post(f"/api/studies/{failed}/retry").json() == {"study_uid": failed, "jobs": 1}
    assert client.post(f"/api/studies/{reported}/reprocess").json() == {"study_uid": reported}

    states = {s["study_uid"]: s["state"] for s in client.get("/api/studies").json()}
    assert (states[failed], states[reported]) == (StudyState.READY, StudyState.READY)
    assert trail(filled.folder) == [
        ("study_retried", "loopback", failed),
        ("study_reprocessed", "loopback", reported),
    ]


@pytest.mark.parametrize(
    ("study", "errand", "sentence"),
    [
        ("two receipts", "retry", "nothing to retry"),
        ("receiving", "reprocess", "still receiving"),
    ],
)
def test_what_can_not_be_done_is_a_conflict(
    workshop: tuple[TestClient, Filled], study: str, errand: str, sentence: str
) -> None:
    client, filled = workshop
    answer = client.post(f"/api/studies/{filled.uids[study]}/{errand}")

    assert answer.status_code == 409
    assert sentence in answer.json()["error"]
    assert client.post(f"/api/studies/1.2.3/{errand}").status_code == 404
    assert trail(filled.folder) == []


def test_a_browser_without_scripts_has_buttons(workshop: tuple[TestClient, Filled]) -> None:
    client, filled = workshop
    address = f"/studies/{filled.uids['reading failed']}/retry"
    assert f'form="errand" formaction="{address}"' in client.get("/").text

    answer = client.post(address, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/studies/{filled.uids['reading failed']}")


def test_a_viewer_sees_no_buttons_and_may_not(workshop: tuple[TestClient, Filled]) -> None:
    client, filled = workshop
    app = client.app

    async def as_viewer(scope, receive, send):  # type: ignore[no-untyped-def]
        admit(scope, Visitor(account="jane", role=Role.VIEWER))
        await app(scope, receive, send)

    viewer = TestClient(as_viewer, base_url="http://127.0.0.1:8642", client=("127.0.0.1", 50000))
    assert "formaction" not in viewer.get("/").text
    answer = viewer.post(f"/api/studies/{filled.uids['reading failed']}/retry")
    assert (answer.status_code, trail(filled.folder)) == (403, [])


def events(lines: Iterator[str]) -> Iterator[tuple[str, str, dict[str, object]]]:
    """Kind, id and value of each event of a stream."""
    kind, identifier = "", ""
    for line in lines:
        name, _, value = line.partition(": ")
        if name == "event":
            kind, identifier = value, ""
        elif name == "id":
            identifier = value
        elif name == "data":
            yield kind, identifier, json.loads(value)


def test_viewers_are_told_what_is_new_and_streams_do_not_keep_the_server(tmp_path: Path) -> None:
    fill(tmp_path, NOW)
    with running(settings_for(tmp_path, free_port(), migrated=False)) as address, httpx.Client(timeout=60) as browser:
        page = browser.get(address).text
        (version,) = re.findall(r'data-version="([0-9a-f]+)"', page)
        with browser.stream("GET", f"{address}/events?version={version}") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            told = events(stream.iter_lines())
            hospital = Hospital(folder=tmp_path, now=NOW)
            arrived = hospital.receive(99, slices=3)
            hospital.engine.dispose()
            for kind, _, value in told:
                assert kind == "list"
                if arrived in value["order"]:  # type: ignore[operator]
                    break
            row = value["rows"][arrived]  # type: ignore[index]
            assert "A20261199" in row
            # Out of `running` with the stream open: it holds the role to three seconds.


def test_too_many_viewers_are_told_to_come_again(tmp_path: Path) -> None:
    migrate(f"sqlite:///{tmp_path / 'ichd.db'}")
    with running(settings_for(tmp_path, free_port())) as address, httpx.Client(timeout=60) as browser:
        streams = []
        for number in range(33):
            request = browser.build_request("GET", f"{address}/events?q={number}")
            streams.append(browser.send(request, stream=True))
        assert [stream.status_code for stream in streams].count(503) == 1
        assert streams[-1].headers["retry-after"] == "30"
        for stream in streams:
            stream.close()
