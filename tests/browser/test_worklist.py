"""The worklist in a real browser: alive, by keyboard, with errands, and honest when it is not alive."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from ichd.app.web import run_web
from ichd.domain.study import StudyState
from tests.browser.conftest import Window
from tests.browser.site import Site, serving
from tests.peers.ports import free_port
from tests.web.test_run_web import settings_for
from tests.web.worklist_of_all_states import Hospital


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site of its own for each test: studies arrive in it."""
    with serving(tmp_path / "site") as filled:
        yield filled


def live(page: Page) -> None:
    expect(page.locator("#live .words")).to_have_text("Live", timeout=60_000)


def row(page: Page, uid: str) -> Any:
    return page.locator(f'#rows tr[data-uid="{uid}"]')


def states(window: Window) -> dict[str, StudyState]:
    hospital = window.site.hospital()
    found = {study.study_uid: study.state for study in hospital.studies.summaries()}
    hospital.engine.dispose()
    return found


def test_a_study_appears_while_it_is_sent_and_the_reader_keeps_the_place(window: Window) -> None:
    page = window.open()
    live(page)
    kept = row(page, window.site.uids["chest"])
    kept.locator(".study a").focus()
    page.evaluate("document.querySelector('#rows tr').dataset.mark = 'same'")
    hospital = window.site.hospital()
    uid = hospital.receive(98, slices=2)

    expect(row(page, uid)).to_contain_text("Receiving", timeout=60_000)
    # The one that was ready before is read first.
    read = window.site.uids["ready"]
    hospital.read(read, {"any": 0.95, "epidural": 0.91}, slices=2, destinations=())
    expect(row(page, read)).to_contain_text("Urgent", timeout=60_000)
    expect(page.locator("#news")).to_have_text("New urgent: A20261111")
    expect(page).to_have_title("(7 urgent) ichd worklist")
    assert page.locator("[data-mark=same]").count() == 1, "rows that did not change stay as they are"
    expect(kept.locator(".study a")).to_be_focused()
    hospital.engine.dispose()


def test_the_keyboard_is_enough(window: Window) -> None:
    # The study that is opened has no real images, which its viewer asks for.
    window.expected.add(404)
    page = window.open()
    live(page)
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    page.keyboard.press("j")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("k")
    expect(page.locator("#rows tr").first).to_have_class("urgent current")
    page.keyboard.press("j")
    opened = page.locator("#rows tr").nth(1).get_attribute("data-uid")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/studies/{opened}")
    page.go_back()
    page.keyboard.press("/")
    page.keyboard.type("a20261107")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?q=a20261107")
    assert page.locator("#rows tr").count() == 1


def test_what_failed_is_retried_once_it_is_confirmed(window: Window) -> None:
    page = window.open("/?state=failed")
    live(page)
    uid = window.site.uids["reading failed"]
    row(page, uid).locator(".study a").focus()
    page.keyboard.press("r")
    dialog = page.locator("#confirm")
    expect(dialog).to_contain_text("A20261107: Retry what failed?")
    page.locator("#confirm-no").click()
    assert states(window)[uid] is StudyState.FAILED
    page.keyboard.press("r")
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    expect(row(page, uid)).to_have_count(0, timeout=60_000)
    assert states(window)[uid] is StudyState.READY


def test_a_refused_errand_says_why(window: Window) -> None:
    window.expected.add(409)
    page = window.open("/?state=failed")
    uid = window.site.uids["reading failed"]
    row(page, uid).locator("summary").click()
    row(page, uid).get_by_text("Retry what failed").click()
    hospital = window.site.hospital()
    hospital.studies.retry(uid, now=hospital.now)
    hospital.engine.dispose()
    page.locator("#confirm-yes").click()
    expect(page.locator("#confirm-trouble")).to_contain_text("there is nothing to retry")


def test_chips_and_dates_narrow_the_list_by_its_address(window: Window) -> None:
    page = window.open()
    page.get_by_label("Indeterminate").check()
    page.wait_for_url("**/?triage=indeterminate")
    assert page.locator("#rows tr").count() == 1
    page.get_by_label("From").fill("2031-01-01")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("h1").last).to_have_text("No study fits")
    page.get_by_role("link", name="Clear the filter").first.click()
    assert page.locator("#rows tr").count() == len(window.site.uids)


def test_a_server_that_goes_is_seen_and_comes_back(chromium: Browser, tmp_path: Path) -> None:
    settings = settings_for(tmp_path, free_port())
    address = f"http://127.0.0.1:{settings.web.port}"
    page = chromium.new_page()

    def serve() -> tuple[threading.Event, threading.Thread]:
        stop = threading.Event()
        thread = threading.Thread(target=run_web, args=(settings, stop))
        thread.start()
        return stop, thread

    stop, thread = serve()
    page.goto(address, wait_until="commit") if _answers(page, address) else None
    live(page)
    stop.set()
    thread.join()
    expect(page.locator("#live")).to_have_attribute("data-state", "off", timeout=60_000)
    expect(page.locator("#live .words")).to_contain_text("Not live")
    stop, thread = serve()
    live(page)
    # The first study makes another page of it.
    hospital = Hospital(folder=tmp_path, now=datetime.now(UTC))
    uid = hospital.receive(1, slices=2)
    hospital.engine.dispose()
    expect(row(page, uid)).to_be_visible(timeout=60_000)
    page.close()
    stop.set()
    thread.join()


def _answers(page: Page, address: str) -> bool:
    """Wait for the server."""
    for _ in range(600):
        try:
            return bool(page.request.get(f"{address}/healthz").ok)
        except Exception:  # noqa: BLE001 - whatever Playwright calls it
            page.wait_for_timeout(100)
    return False
