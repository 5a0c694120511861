"""A reader says whether a finding is right: by the API, and with a button of the study page."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from ichd.cli.main import app
from ichd.domain.finding import CLASSES
from ichd.web import Entry
from ichd.web.access.accounts import Accounts
from ichd.web.access.secret import hash_password
from ichd.web.reviews import ClassName
from tests.web.conftest import NOW, Filled, client_of
from tests.web.worklist_of_all_states import fill

BY_PAGE = {"Origin": "http://127.0.0.1:8642", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def hospital(tmp_path: Path) -> Filled:
    return Filled(folder=tmp_path, uids=fill(tmp_path, NOW))


@pytest.fixture
def reader(hospital: Filled) -> Iterator[TestClient]:
    with client_of(hospital.folder) as client:
        yield client


@pytest.fixture
def study(hospital: Filled) -> str:
    """An urgent study of one revision."""
    return hospital.uids["two receipts"]


def test_a_word_is_kept_and_shown(reader: TestClient, study: str) -> None:
    told = reader.post(
        f"/api/studies/{study}/review",
        json={"agreement": "disagreed", "truth": {"epidural": True, "any": True, "subdural": False}},
    )
    assert told.status_code == 201
    expected = {
        "agreement": "disagreed",
        "truth": {"any": True, "subdural": False, "epidural": True},
        "reviewer": "loopback",
        "revision": 1,
    }
    assert told.json().items() >= expected.items()
    assert list(told.json()["truth"]) == ["any", "subdural", "epidural"]
    (review,) = reader.get(f"/api/studies/{study}").json()["reviews"]
    assert review.items() >= {**expected, "source": "api", "received_at": NOW.isoformat()}.items()
    (line,) = [s for s in reader.get("/api/studies").json() if s["study_uid"] == study]
    assert line["reviews"] == [review]


def test_who_says_it_again_has_one_word(reader: TestClient, study: str) -> None:
    for agreement in ("disagreed", "agreed", "agreed"):
        assert reader.post(f"/api/studies/{study}/review", json={"agreement": agreement}).status_code == 201
    assert [r["agreement"] for r in reader.get(f"/api/studies/{study}").json()["reviews"]] == ["agreed"]


def test_an_account_is_the_reviewer(hospital: Filled, study: str) -> None:
    accounts = Accounts({name: hash_password("correct horse") for name in ("roe", "moe")})
    with client_of(hospital.folder, entry=Entry(accounts=accounts)) as client:
        assert client.post(f"/api/studies/{study}/review", json={"agreement": "agreed"}).status_code == 401
        for name in ("roe", "moe"):
            auth = (name, "correct horse")
            told = client.post(f"/api/studies/{study}/review", json={"agreement": "agreed"}, auth=auth)
            assert told.json()["reviewer"] == name
        reviews = client.get(f"/api/studies/{study}", auth=auth).json()["reviews"]
    assert [r["reviewer"] for r in reviews] == ["roe", "moe"]


@pytest.mark.parametrize("name", ["chest", "receiving", "ready"])
def test_where_nothing_was_found_nothing_can_be_right(reader: TestClient, hospital: Filled, name: str) -> None:
    answer = reader.post(f"/api/studies/{hospital.uids[name]}/review", json={"agreement": "agreed"})
    assert answer.status_code == 404
    assert answer.json()["error"].startswith("There is no finding to review")


def test_a_study_or_revision_that_is_not_there_has_no_word(reader: TestClient, study: str) -> None:
    assert reader.post("/api/studies/1.2.3/review", json={"agreement": "agreed"}).status_code == 404
    later = {"agreement": "agreed", "revision": 2}
    assert reader.post(f"/api/studies/{study}/review", json=later).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"agreement": "perhaps"},
        {"agreement": "agreed", "truth": {"toothache": True}},
        {"agreement": "agreed", "comment": "Mrs Doe fell"},
        {"agreement": "agreed", "revision": 0},
    ],
)
def test_what_is_no_word_is_refused(reader: TestClient, study: str, body: dict[str, object]) -> None:
    assert reader.post(f"/api/studies/{study}/review", json=body).status_code == 422


def test_the_description_of_the_api_shows_its_shape(reader: TestClient) -> None:
    described = reader.get("/api/openapi.json").json()
    schemas = described["components"]["schemas"]
    assert schemas["GivenWord"]["required"] == ["agreement"]
    assert set(schemas["KeptWord"]["properties"]) >= {"study_uid", "revision", "agreement", "reviewer"}
    assert ClassName.__args__ == CLASSES  # type: ignore[attr-defined]


def test_a_button_of_the_page_says_it_too(reader: TestClient, study: str) -> None:
    page = reader.get(f"/studies/{study}")
    assert "form-action 'self'" in page.headers["content-security-policy"]
    assert not re.search(r"<script(?![^>]* src=)|\son[a-z]+=|style=", page.text)
    assert "No reader has said yet" in page.text
    action = re.search(r'action="(/studies/[^"]+/review)"', page.text)
    revision = re.search(r'name="revision" value="(\d+)"', page.text)
    assert action
    assert revision
    form = {"agreement": "disagreed", "revision": revision[1]}
    pressed = reader.post(action[1], data=form, headers=BY_PAGE, follow_redirects=False)
    assert (pressed.status_code, pressed.headers["location"]) == (303, f"/studies/{study}#reviews")
    assert "loopback disagrees" in reader.get(f"/studies/{study}").text


def test_a_study_that_was_not_read_has_no_buttons(reader: TestClient, hospital: Filled) -> None:
    assert "/review" not in reader.get(f"/studies/{hospital.uids['chest']}").text


@pytest.mark.parametrize("path", ["/studies/{}/review", "/api/studies/{}/review"])
def test_a_page_of_another_site_can_not_speak_for_a_reader(reader: TestClient, study: str, path: str) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = reader.post(path.format(study), data={"agreement": "agreed", "revision": 1}, headers=headers)
        assert answer.status_code == 403
    assert reader.get(f"/api/studies/{study}").json()["reviews"] == []


def test_a_long_body_is_not_read(reader: TestClient, study: str) -> None:
    path = f"/api/studies/{study}/review"
    assert reader.post(path, content=bytes(20_000)).status_code == 413
    assert reader.post(path, content=iter([b"{}"])).status_code == 411


def test_the_command_line_shows_it(reader: TestClient, hospital: Filled, study: str) -> None:
    reader.post(f"/api/studies/{study}/review", json={"agreement": "disagreed", "truth": {"subdural": False}})
    environment = {
        "ICHD_DATABASE__URL": f"sqlite:///{hospital.folder / 'ichd.db'}",
        "ICHD_SPOOL__URL": str(hospital.folder / "spool"),
        "COLUMNS": "250",
    }

    def shown(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["status", *arguments], env=environment)
        assert result.exit_code == 0, result.output
        return result.stdout

    (line,) = [line for line in shown().splitlines() if study in line]
    assert "disagreed" in line
    assert "subdural no" in shown(study)
    assert json.loads(shown(study, "--json"))["reviews"][0]["agreement"] == "disagreed"


def test_the_form_says_what_is_there_and_what_is_not(reader: TestClient, study: str) -> None:
    form = {"agreement": "disagreed", "revision": "1", "truth_subdural": "no", "truth_epidural": "yes", "truth_any": ""}
    answer = reader.post(f"/studies/{study}/review", data=form, headers=BY_PAGE, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/studies/{study}#reviews")
    (review,) = reader.get(f"/api/studies/{study}").json()["reviews"]
    assert review["truth"] == {"subdural": False, "epidural": True}


def test_a_form_that_contradicts_itself_is_a_page_that_says_so(reader: TestClient, study: str) -> None:
    form = {"agreement": "disagreed", "revision": "1", "truth_any": "no", "truth_epidural": "yes"}
    answer = reader.post(f"/studies/{study}/review", data=form, headers=BY_PAGE)
    assert answer.status_code == 422
    assert "Truth says that there is a kind of haemorrhage and none at all; correct one of them." in answer.text
    assert reader.get(f"/api/studies/{study}").json()["reviews"] == []
