"""Log-ins that an identity provider vouches for, and everything that it, or who pretends to be it, may not say."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient

from ichd.domain.audit import AuditOutcome
from ichd.domain.role import Role
from ichd.web.access.accounts import Accounts
from ichd.web.access.provider import Provider, ProviderConfig
from tests.peers.oidc import CLIENT, SECRET, IdentityProvider, running_provider
from tests.web.archive import Answer
from tests.web.conftest import Filled
from tests.web.test_log_in import House, log_in

ROLES = {"radiology": Role.VIEWER, "ct-staff": Role.OPERATOR, "it": Role.ADMIN}


@pytest.fixture(scope="module")
def running() -> Iterator[IdentityProvider]:
    with running_provider() as provider:
        yield provider


@pytest.fixture
def there(running: IdentityProvider) -> IdentityProvider:
    fresh = IdentityProvider()
    running.person, running.lies, running.forger = fresh.person, {}, None
    running.asked.clear()
    return running


class Clock:
    """The real time, and what is added to it."""

    ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def house(filled: Filled, there: IdentityProvider, clock: Clock) -> House:
    found = House(filled.folder)
    found.entry = replace(found.entry, provider=Provider(config_of(there), clock=clock))
    return found


def config_of(there: IdentityProvider, **changes: Any) -> ProviderConfig:
    values = {"issuer": there.url, "client_id": CLIENT, "client_secret": SECRET, "roles": ROLES} | changes
    return ProviderConfig(**values)


def go(browser: TestClient, back: str = "/") -> str:
    """To the provider and as far as the address that it sends the browser back to."""
    sent = browser.get("/login/provider", params={"next": back})
    assert sent.status_code == 303
    returned = httpx.get(sent.headers["location"])
    parts = urlsplit(returned.headers["location"])
    return f"{parts.path}?{parts.query}"


def come(browser: TestClient, back: str = "/") -> Answer:
    return browser.get(go(browser, back))


def test_a_person_comes_in_with_the_role_of_its_group(house: House, there: IdentityProvider) -> None:
    browser = house.browser(https=True)
    form = browser.get("/login")
    answer = come(browser, "/studies/1.2")

    assert 'href="/login/provider?next=/"' in form.text
    assert answer.status_code == 200
    assert 'content="0;url=/studies/1.2"' in answer.text
    assert "<strong>jane</strong> viewer" in browser.get("/").text
    assert browser.get("/api/studies").status_code == 200
    assert house.noted == [(AuditOutcome.SUCCESS, "jane")]
    cookies = answer.headers["set-cookie"].lower()
    assert "__host-ichd=" in cookies
    assert "samesite=strict" in cookies
    assert there.asked.count("/token") == 1


@pytest.mark.parametrize(
    ("person", "shown"),
    [
        ({"roles": ["radiology", "it"]}, "admin"),
        ({"roles": "ct-staff"}, "operator"),
        ({"roles": ["nobody"]}, None),
        ({"roles": None}, None),
        ({"roles": {"it": True}}, None),
        ({"roles": [["it"]]}, None),
        ({"preferred_username": "vera"}, None),
        ({"preferred_username": ["it"]}, None),
    ],
)
def test_who_has_no_role_here_or_the_name_of_an_account_stays_out(
    house: House, there: IdentityProvider, person: dict[str, Any], shown: str | None
) -> None:
    there.person |= person
    browser = house.browser()

    answer = come(browser)

    assert answer.status_code == (200 if shown else 403)
    assert browser.get("/").status_code == (200 if shown else 303)
    assert shown is None or f"<strong>jane</strong> {shown}" in browser.get("/").text


@pytest.mark.parametrize(
    "lies",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "another"},
        {"aud": ["another"]},
        {"aud": [CLIENT, "another"]},
        {"aud": None},
        {"exp": 1},
        {"exp": None},
        {"iat": None},
        {"sub": None},
    ],
    ids=str,
)
def test_a_token_that_does_not_fit_opens_nothing(house: House, there: IdentityProvider, lies: dict[str, Any]) -> None:
    there.lies = lies
    browser = house.browser()

    answer = come(browser)

    assert answer.status_code == 403
    assert browser.get("/").status_code == 303
    assert house.noted == [(AuditOutcome.MINOR_FAILURE, "")]


def test_a_token_of_somebody_elses_key_opens_nothing(house: House, there: IdentityProvider) -> None:
    there.forger = IdentityProvider().key

    assert come(house.browser()).status_code == 403


def test_the_providers_new_key_is_fetched_and_not_for_every_forgery(
    house: House, there: IdentityProvider, clock: Clock
) -> None:
    assert come(house.browser()).status_code == 200
    clock.ahead_s = 31
    there.rotate()
    assert come(house.browser()).status_code == 200
    assert there.asked.count("/jwks") == 2

    there.forger = IdentityProvider().key
    for _ in range(3):
        assert come(house.browser()).status_code == 403
    assert there.asked.count("/jwks") == 2


def test_a_code_of_another_browser_opens_nothing(house: House) -> None:
    attacker, victim = house.browser(), house.browser()
    back = go(attacker)

    assert victim.get(back).status_code == 403
    go(victim)
    assert victim.get(back).status_code == 403
    assert victim.get("/").status_code == 303


@pytest.mark.parametrize("query", ["", "?code=x", "?state=x", "?code=x&state=x", "?error=access_denied&state=x"])
def test_what_comes_back_without_having_gone_is_refused(house: House, query: str) -> None:
    browser = house.browser()

    assert browser.get(f"/login/callback{query}").status_code == 403
    browser.cookies.set("ichd-provider", "bm9uc2Vuc2U=")
    assert browser.get(f"/login/callback{query}").status_code == 403


def test_a_code_is_used_once(house: House) -> None:
    browser = house.browser()
    back = go(browser)
    kept = browser.cookies["ichd-provider"]

    assert browser.get(back).status_code == 200
    second = house.browser()
    second.cookies.set("ichd-provider", kept)
    assert second.get(back).status_code == 403


def test_a_code_is_bound_to_who_asked_for_it(house: House) -> None:
    browser = house.browser()
    query = parse_qs(urlsplit(browser.get("/login/provider").headers["location"]).query)

    assert query["code_challenge_method"] == ["S256"]
    assert query["response_type"] == ["code"]
    assert len(query["state"][0]) == len(query["nonce"][0]) == 43


def test_the_session_ends_when_the_settings_of_the_provider_change(house: House, there: IdentityProvider) -> None:
    browser = house.browser()
    come(browser)
    key = browser.cookies["ichd"]

    for provider in (None, Provider(config_of(there, roles={"it": Role.ADMIN}))):
        other = house.browser(entry=replace(house.entry, provider=provider))
        other.cookies.set("ichd", key)
        assert other.get("/").status_code == 303
    assert browser.get("/").status_code == 200


def test_a_provider_that_is_away_is_said_and_accounts_go_on(house: House, there: IdentityProvider) -> None:
    away = Provider(replace(config_of(there), issuer="http://127.0.0.1:9"))
    browser = house.browser(entry=replace(house.entry, provider=away))

    answer = browser.get("/login/provider")

    assert answer.status_code == 503
    assert "identity provider" in answer.text
    assert log_in(browser).status_code == 303


def test_without_accounts_the_provider_alone_lets_people_in(house: House) -> None:
    browser = house.browser(entry=replace(house.entry, accounts=Accounts({})))
    form = browser.get("/login").text

    assert 'type="password"' not in form
    assert come(browser).status_code == 200
