"""The rig itself: a page that is sound passes, and trouble is heard."""

import pytest
from playwright.sync_api import Error as PlaywrightError

from tests.browser.conftest import Window


def test_a_page_of_the_site_opens_and_makes_no_trouble(window: Window) -> None:
    page = window.open()
    assert page.locator("h1").inner_text() == "Worklist"
    assert page.locator("table.worklist tbody tr").count() == len(window.site.uids)


def test_trouble_is_heard(window: Window) -> None:
    page = window.open()
    page.evaluate("console.error('broken'); setTimeout(() => { throw new Error('thrown') })")
    page.evaluate("fetch('http://127.0.0.2:9/').catch(() => 0)")
    page.wait_for_timeout(300)
    with pytest.raises(PlaywrightError):
        page.goto("http://127.0.0.2:9/")
    assert any("broken" in each for each in window.troubles)
    assert any("thrown" in each for each in window.troubles)
    assert any("Content Security Policy" in each for each in window.troubles)
    assert any("another host" in each for each in window.troubles)
    window.troubles.clear()
