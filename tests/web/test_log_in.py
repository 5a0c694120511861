"""Browsers: log-in, session, log-out, and the token in every form."""

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from ichd.domain.audit import AuditEvent, AuditOutcome
from ichd.domain.role import Role
from ichd.store.engine import open_database
from ichd.store.sessions import Lifetimes, Sessions
from ichd.store.tables import WebSessionRow
from ichd.store.transaction import reading
from ichd.web import Entry
from ichd.web.access.accounts import Accounts
from ichd.web.access.secret import hash_password, new_token
from ichd.web.access.standing import Standing, Standings
from tests.web.archive import Answer
from tests.web.conftest import Filled, client_of

PASSWORD = "correct horse battery"  # noqa: S105 - of a test
HASH = hash_password(PASSWORD)
TOKEN, TOKEN_HASH = new_token()
SECRETS = {"vera": HASH, "otto": HASH, "ada": HASH, "sender": TOKEN_HASH}
STANDINGS = Standings(
    {"otto": Standing(role=Role.OPERATOR), "ada": Standing(role=Role.ADMIN), "vera": Standing(stores=False)}
)
HTML = {"Accept": "text/html,*/*;q=0.8"}
LIFETIMES = Lifetimes(idle=timedelta(minutes=30), absolute=timedelta(hours=12))


@dataclass
class Clock:
    now: datetime = datetime(2026, 11, 24, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@dataclass
class House:
    """A site with accounts, and what its trail heard."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    noted: list[tuple[AuditOutcome, str]] = field(default_factory=list)
    told: list[tuple[AuditEvent, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine = open_database(f"sqlite:///{self.folder / 'ichd.db'}")
        self.entry = Entry(
            accounts=Accounts(SECRETS),
            standings=STANDINGS,
            sessions=Sessions(self.engine, LIFETIMES),
            note=lambda outcome, account, _: self.noted.append((outcome, account)),
            tell=lambda event, account, *_: self.told.append((event, account)),
        )

    def browser(self, *, https: bool = False, entry: Entry | None = None) -> TestClient:
        entry = replace(entry or self.entry, behind_proxy=https)
        client = client_of(self.folder, entry=entry, address="192.0.2.7", clock=self.clock)
        client.base_url = "https://127.0.0.1:8642" if https else "http://127.0.0.1:8642"
        client.follow_redirects = False
        client.headers.update(HTML)
        return client


@pytest.fixture
def house(filled: Filled) -> House:
    return House(filled.folder)


def log_in(browser: TestClient, name: str = "vera", password: str = PASSWORD, back: str = "/") -> Answer:
    return browser.post("/login", data={"name": name, "password": password, "next": back})


def token_in(page: str) -> str:
    found = re.search(r'name="form-token" content="([0-9a-f]{64})"', page)
    assert found
    return found[1]


def test_a_person_logs_in_looks_and_logs_out(house: House) -> None:
    browser = house.browser()

    asked = browser.get("/?x=1")
    form = browser.get("/login")
    answer = log_in(browser)
    page = browser.get("/")
    left = browser.post("/logout", data={"form_token": token_in(page.text)})

    assert (asked.status_code, asked.headers["location"]) == (303, "/login")
    assert 'type="password"' in form.text
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "<strong>vera</strong> viewer" in page.text
    assert (left.status_code, left.headers["location"]) == (303, "/login")
    assert browser.get("/").status_code == 303
    assert house.noted == [(AuditOutcome.SUCCESS, "vera")]
    assert house.told == [(AuditEvent.LOG_OUT, "vera")]


def test_the_cookie_is_out_of_reach_of_scripts_of_other_sites_and_of_plain_http(house: House) -> None:
    browser = house.browser(https=True)
    cookie = log_in(browser).headers["set-cookie"]
    name, value = cookie.partition(";")[0].split("=")

    assert name == "__Host-ichd"
    assert {part.strip().lower() for part in cookie.split(";")[1:]} == {
        "httponly",
        "path=/",
        "samesite=strict",
        "secure",
    }
    assert len(value) == 43
    with reading(house.engine) as session:
        assert value not in {row.key_hash for row in session.query(WebSessionRow)}
    assert browser.get("/").status_code == 200


def test_each_log_in_has_a_key_of_its_own_and_ends_the_one_before(house: House) -> None:
    browser = house.browser()
    log_in(browser)
    first = browser.cookies["ichd"]
    log_in(browser)
    second = browser.cookies["ichd"]
    browser.cookies.set("ichd", first, domain="127.0.0.1", path="/")

    assert first != second
    old = house.browser()
    old.cookies.set("ichd", first)
    assert old.get("/").status_code == 303


def test_a_key_that_a_browser_brings_is_never_taken_over(house: House) -> None:
    browser = house.browser()
    browser.cookies.set("ichd", "A" * 43)
    log_in(browser)

    attacker = house.browser()
    attacker.cookies.set("ichd", "A" * 43)
    assert attacker.get("/").status_code == 303


@pytest.mark.parametrize("steps", [(31,), (29, 31), (29,) * 24 + (25,)])
def test_a_session_ends_when_nobody_is_there_and_at_the_latest_after_its_time(
    house: House, steps: tuple[float, ...]
) -> None:
    browser = house.browser()
    log_in(browser)

    for minutes in steps[:-1]:
        house.clock.now += timedelta(minutes=minutes)
        assert browser.get("/api/refusals").status_code == 200
    house.clock.now += timedelta(minutes=steps[-1])

    assert browser.get("/api/refusals").status_code == 401


def test_an_account_that_is_gone_or_has_another_password_has_no_sessions(house: House) -> None:
    browser = house.browser()
    log_in(browser)
    key = browser.cookies["ichd"]

    for secrets in ({}, {"vera": hash_password("another one")}, {"otto": HASH}):
        other = house.browser(entry=replace(house.entry, accounts=Accounts(secrets)))
        other.cookies.set("ichd", key)
        assert other.get("/").status_code == 303
    assert browser.get("/").status_code == 200


def test_sessions_are_shared_by_processes_and_survive_a_restart(house: House) -> None:
    browser = house.browser()
    log_in(browser)
    second = House(house.folder).browser()
    second.cookies.set("ichd", browser.cookies["ichd"])

    assert second.get("/").status_code == 200
    token = token_in(second.get("/").text)
    second.post("/logout", data={"form_token": token})
    assert browser.get("/").status_code == 303


@pytest.mark.parametrize(
    ("name", "password"),
    [("vera", "wrong"), ("nobody", PASSWORD), ("", ""), ("sender", TOKEN), ("vera", "x" * 5000), ("\x00", "\ud7ff")],
    # The token is a new one in each process of a test run.
    ids=["wrong", "nobody", "nothing", "a-token", "long", "odd"],
)
def test_a_wrong_password_opens_nothing_and_says_not_what_was_wrong(house: House, name: str, password: str) -> None:
    browser = house.browser()

    answer = log_in(browser, name, password)

    assert answer.status_code == 403
    assert "do not belong together" in answer.text
    assert "set-cookie" not in answer.headers
    assert password not in answer.text or not password


def test_a_guesser_has_to_wait_at_the_form_too(house: House) -> None:
    browser = house.browser()

    answers = [log_in(browser, "vera", f"guess {number}") for number in range(11)]

    assert [answer.status_code for answer in answers] == [403] * 10 + [429]
    assert answers[-1].headers["retry-after"] == "60"
    assert log_in(browser).status_code == 429
    assert browser.get("/api/studies", auth=("vera", PASSWORD)).status_code == 429


@pytest.mark.parametrize(
    "back", ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", ""]
)
def test_a_link_does_not_lead_through_the_log_in_to_somebody_else(house: House, back: str) -> None:
    assert log_in(house.browser(), back=back).headers["location"] == "/"


def test_who_asked_for_a_page_comes_back_to_it(house: House) -> None:
    browser = house.browser()

    asked = browser.get("/studies/1.2.3?revision=2").headers["location"]
    form = browser.get(asked)
    back = re.search(r'name="next" value="([^"]*)"', form.text)

    assert asked == "/login?next=/studies/1.2.3%3Frevision%3D2"
    assert back
    assert log_in(browser, back=back[1]).headers["location"] == "/studies/1.2.3?revision=2"


def test_what_a_session_changes_needs_the_token_of_its_page(house: House, filled: Filled) -> None:
    browser = house.browser()
    log_in(browser)
    token = token_in(browser.get("/").text)
    path = f"/studies/{filled.uids['routine']}/review"
    form = {"agreement": "agreed", "revision": "1"}
    word = {"agreement": "agreed"}

    assert browser.post(path, data=form).status_code == 403
    assert browser.post(path, data=form | {"form_token": "0" * 64}).status_code == 403
    assert browser.post(path, data=form | {"form_token": "é"}).status_code == 403
    assert browser.post(f"/api{path}", json=word).status_code == 403
    assert browser.post("/logout").status_code == 403
    assert browser.delete("/").status_code == 403
    stranger = house.browser()
    log_in(stranger, "otto")
    assert stranger.post(path, data=form | {"form_token": token}).status_code == 403

    assert browser.post(path, data=form | {"form_token": token}).status_code == 303
    assert browser.post(f"/api{path}", json=word, headers={"X-Form-Token": token}).status_code == 201
    # A program's credentials are sent by nobody but the program.
    assert house.browser().post(f"/api{path}", json=word, auth=("vera", PASSWORD)).status_code == 201


def test_every_form_that_is_posted_holds_the_token() -> None:
    folder = Path(__file__).resolve().parents[2] / "ichd" / "web" / "templates"
    for template in folder.glob("*.html"):
        for form in re.findall(r'<form[^>]*method="post".*?</form>', template.read_text(), re.DOTALL):
            assert "form_token.html" in form or 'action="/login"' in form, template.name


def test_a_browser_that_logged_in_stores_no_images_and_a_program_does_where_it_may(house: House) -> None:
    for name, may in (("vera", False), ("otto", True), ("ada", True)):
        assert house.entry.standings.program(name).stores is may
        assert not house.entry.standings.person(name, form_token="x").stores  # noqa: S106


def test_a_script_whose_session_ended_is_told_so_and_no_window_of_the_browser_opens(house: House) -> None:
    browser = house.browser()

    answer = browser.get("/api/studies", headers={"Sec-Fetch-Mode": "cors", "Accept": "*/*"})

    assert answer.status_code == 401
    assert answer.headers.get_list("www-authenticate") == ['Bearer realm="ichd"']
    assert "Basic" in browser.get("/api/studies", headers={"Accept": "*/*"}).headers["www-authenticate"]


def test_the_entrance_shows_nothing_of_the_house(house: House) -> None:
    page = house.browser().get("/login").text

    assert "Worklist" not in page
    assert "phantom" not in page
    assert "viewer" not in page
