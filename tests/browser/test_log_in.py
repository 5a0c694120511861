"""Log-in, roles and the page of the API in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ichd.domain.role import Role
from ichd.settings import AccountSettings, WebSettings
from ichd.web.access.secret import hash_password
from tests.browser.conftest import Window
from tests.browser.site import Site, serving

PASSWORD = "correct horse battery"  # noqa: S105 - of a test
HASH = hash_password(PASSWORD)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    account = tuple(AccountSettings(name=f"{role}-jane", secret=HASH, role=role) for role in Role)
    with serving(tmp_path_factory.mktemp("guarded"), web=WebSettings(account=account)) as guarded:
        yield guarded


def log_in(window: Window, role: Role, path: str = "/") -> None:
    page = window.open(path)
    page.get_by_label("Name").fill(f"{role}-jane")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "/login" not in url)


def test_a_person_is_asked_comes_to_the_page_that_was_wanted_and_leaves(window: Window) -> None:
    path = f"/studies/{window.site.uids['phantom']}"
    log_in(window, Role.VIEWER, path)
    page = window.page

    assert page.url.endswith(path)
    assert "viewer-jane" in page.locator("header").inner_text()
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="I agree").click()
    page.wait_for_url("**#reviews")
    # What the page still asks for as it is left.
    window.expected.add(401)
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    assert window.open("/").url.endswith("/login")


def test_a_cookie_for_https_alone_is_kept_for_a_trial_on_this_machine(window: Window, tmp_path: Path) -> None:
    """As in deploy/container: behind_tls, and no proxy in front of it yet."""
    account = (AccountSettings(name="viewer-jane", secret=HASH),)
    with serving(tmp_path, web=WebSettings(account=account, behind_tls=True)) as window.site:
        log_in(window, Role.VIEWER)
        (cookie,) = window.context.cookies()
        # Before its server goes, which it would complain of.
        window.page.close()

    assert (cookie["name"], cookie["secure"], cookie["httpOnly"]) == ("__Host-ichd", True, True)


def test_a_wrong_password_is_said_and_the_name_stays(window: Window) -> None:
    window.expected.add(403)
    page = window.open("/login")
    page.get_by_label("Name").fill("viewer-jane")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()

    assert "do not belong together" in page.get_by_role("alert").inner_text()
    assert page.get_by_label("Name").input_value() == "viewer-jane"
    page.wait_for_function("document.activeElement.id === 'password'")


def test_names_are_shown_to_who_may_see_them(window: Window) -> None:
    log_in(window, Role.OPERATOR, f"/studies/{window.site.uids['phantom']}")
    assert window.page.locator(".patient").count() == 1
    # The page asks for what is new until it is left.
    window.expected.add(401)
    window.context.clear_cookies()
    log_in(window, Role.VIEWER, f"/studies/{window.site.uids['phantom']}")
    assert window.page.locator(".patient").count() == 0


def test_the_page_of_the_api_needs_no_other_host_and_tries_things_out(window: Window, pictures: Path) -> None:
    log_in(window, Role.VIEWER, "/docs")
    page = window.page
    operation = page.locator(".opblock").filter(has_text="/api/refusals").first
    operation.wait_for()
    page.screenshot(path=pictures / "api.png", full_page=True)

    operation.click()
    page.get_by_role("button", name="Try it out").first.click()
    page.get_by_role("button", name="Execute").first.click()
    page.locator(".live-responses-table .response-col_status", has_text="200").wait_for()
    page.screenshot(path=pictures / "api-tried.png", full_page=True)
