"""Every page, by day and by night, on a desk and on a phone: everybody can read it, and it makes no trouble.

Each leaves its picture in the folder that ICHD_PICTURES names, to be looked at after styles or templates changed.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AxeResults
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser.conftest import Window
from tests.browser.every_page import LOOKS, SIGHTS, every_site
from tests.browser.site import Site

#: A picture of the whole page has what is laid out only when somebody scrolls there.
_LAY_OUT = """() => {
  for (const part of document.querySelectorAll(".below")) { part.style.contentVisibility = "visible"; }
}"""
#: What is folded away is to be read too. Menus of rows cover the rows below them: one is as good as all.
_UNFOLD = """() => {
  for (const folded of document.querySelectorAll("details:not(tr ~ tr details)")) { folded.open = true; }
}"""


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Site]]:
    with every_site(tmp_path_factory.mktemp("sites")) as sites:
        yield sites


@pytest.fixture
def site(sites: Mapping[str, Site]) -> Site:
    return sites["filled"]


@pytest.fixture(params=LOOKS)
def context_options(request: pytest.FixtureRequest) -> dict[str, Any]:
    return LOOKS[request.param]


def complaints(page: Page, not_ours: tuple[str, ...]) -> str:
    """What axe-core finds, of any severity; in what is `not_ours` we answer for the colours alone."""
    if not not_ours:
        return report(Axe().run(page))
    ours = Axe().run(page, context={"exclude": [[part] for part in not_ours]})
    return report(ours) + report(Axe().run(page, options={"runOnly": ["color-contrast"]}))


def report(found: AxeResults) -> str:
    return found.generate_report() if found.violations_count else ""


@pytest.mark.parametrize("name", SIGHTS)
def test_everybody_can_read_it(
    window: Window, sites: Mapping[str, Site], name: str, pictures: Path, request: pytest.FixtureRequest
) -> None:
    sight, look = SIGHTS[name], request.node.callspec.params["context_options"]
    window.site, window.expected = sites[sight.site], set(sight.refusals)
    page = window.open(sight.path.format_map(window.site.uids))
    page.wait_for_selector(sight.ready)
    sight.act(page)
    page.evaluate(_LAY_OUT)
    # A dialog lies in the middle of the window, not of the page.
    has_dialog = page.locator("dialog[open]").count() > 0
    page.screenshot(path=pictures / f"{name}-{look}.png", full_page=not has_dialog)

    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.evaluate(_UNFOLD)
    assert complaints(page, sight.not_ours) == ""
