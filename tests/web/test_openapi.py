"""The description of the API holds for what the API does: for every role, and for requests that make no sense."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import ignored_auth

from ichd.domain.role import Role
from ichd.web import Entry
from ichd.web.access.accounts import Accounts
from ichd.web.access.secret import new_token
from ichd.web.access.standing import Standing, Standings
from tests.web.conftest import NOW, client_of
from tests.web.worklist_of_all_states import fill

TOKENS = {role: new_token() for role in Role}


def build(folder: Path) -> FastAPI:
    entry = Entry(
        accounts=Accounts({role: hashed for role, (_, hashed) in TOKENS.items()}),
        standings=Standings({role: Standing(role=role) for role in Role}),
    )
    app = client_of(folder, entry=entry).app
    assert isinstance(app, FastAPI)
    return app


@pytest.fixture(scope="session")
def described(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    """A filled site of its own: requests that make sense change it."""
    folder = tmp_path_factory.mktemp("described")
    fill(folder, NOW)
    return build(folder)


def headers_of(role: Role) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS[role][0]}", "Host": "127.0.0.1"}


@pytest.mark.parametrize("mode", GenerationMode)
def test_every_answer_is_as_described_to_each_role(described: FastAPI, mode: GenerationMode) -> None:
    """What is refused to a role is an answer that is described, too."""
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", described, headers=headers_of(Role.ADMIN))
    for found in schema.include(path_regex="^/api/").get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        try:
            cases = operation.as_strategy(generation_mode=mode)
            _probe(cases)
        except Unsatisfiable:
            # There is nothing that such an operation could be asked wrongly.
            assert mode is GenerationMode.NEGATIVE


def _probe(cases: SearchStrategy[schemathesis.Case[Any]]) -> None:
    @given(case=cases)
    @settings(max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def probe(case: schemathesis.Case[Any]) -> None:
        for role in Role:
            # A token is a known one throughout.
            case.call_and_validate(headers=headers_of(role), excluded_checks=[ignored_auth])

    probe()


def operations(app: FastAPI) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_every_operation_says_what_it_answers_who_may_ask_and_what_it_is_for(described: FastAPI) -> None:
    components = described.openapi()["components"]
    seen = 0
    for path, method, operation in operations(described):
        if not path.startswith("/api/"):
            continue
        seen += 1
        where = f"{method} {path}"
        assert operation["summary"], where
        assert operation["tags"], where
        assert "Needs the role " in operation["description"], where
        assert {"password", "token", "browser"} == {name for way in operation["security"] for name in way}, where
        for status, answer in operation["responses"].items():
            for content in answer.get("content", {}).values():
                assert content.get("schema") or status == "200", f"{where} {status}"
            if status >= "400":
                assert answer["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Problem"}
        good = next(answer for status, answer in operation["responses"].items() if status < "300")
        assert any(kind != "application/json" or content["schema"] for kind, content in good["content"].items()), where
    assert seen >= 6
    assert set(components["securitySchemes"]) == {"password", "token", "browser"}


def test_what_is_wrong_is_said_in_one_shape_and_repeats_no_value(described: FastAPI, tmp_path: Path) -> None:
    client = client_of(tmp_path)
    answer = client.get("/api/studies", params={"limit": "DOE^JANE"})

    assert answer.status_code == 422
    assert answer.json().keys() == {"error"}
    assert "query.limit" in answer.json()["error"]
    assert "DOE" not in answer.text
    page = client.get("/studies/1.2/heat?x", headers={"Accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")


def test_the_page_of_the_api_is_as_strict_as_the_others_but_for_its_signs(tmp_path: Path) -> None:
    client = client_of(tmp_path)
    others, its = (client.get(path).headers["content-security-policy"] for path in ("/docs/swagger-ui.css", "/docs"))

    assert its == others.replace("img-src 'self'", "img-src 'self' data:")
    assert "unsafe" not in its
    assert client.get("/docs/swagger-ui-bundle.js").headers["content-type"].startswith("text/javascript")
    assert "<script>" not in client.get("/docs").text
