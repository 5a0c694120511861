"""A headless Chromium, Debian's, and windows that tell on their pages: errors, and requests to other hosts."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.browser.site import Site, serving


@dataclass(kw_only=True)
class Window:
    """A browser window at a site, and what went wrong in it."""

    page: Page
    context: BrowserContext
    site: Site
    #: Errors of the console and of scripts, failed and foreign requests.
    troubles: list[str] = field(default_factory=list)
    #: Refusals that a test provokes: statuses that are no trouble to it.
    expected: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.page.on("console", lambda said: self._hear(said.type, said.text))
        self.page.on("pageerror", lambda error: self.troubles.append(f"script: {error}"))
        self.page.on("request", lambda request: self._look(request.url))

    def open(self, path: str = "/") -> Page:
        """Go there."""
        self.page.goto(self.site.url + path)
        return self.page

    def _hear(self, kind: str, text: str) -> None:
        refused = any(f"status of {status}" in text for status in self.expected)
        if kind in {"error", "warning"} and not refused:
            self.troubles.append(f"console {kind}: {text}")

    def _look(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"data", "blob"} and parts.netloc != urlsplit(self.site.url).netloc:
            self.troubles.append(f"another host: {url}")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site that the tests of a file share."""
    with serving(tmp_path_factory.mktemp("site")) as filled:
        yield filled


@pytest.fixture
def context_options() -> dict[str, Any]:
    """What a test may override: colour_scheme, viewport and the like, as Playwright names them."""
    return {"viewport": {"width": 1280, "height": 860}}


@pytest.fixture
def window(chromium: Browser, site: Site, context_options: dict[str, Any]) -> Iterator[Window]:
    """A fresh window, without cookies. The test fails if its pages made trouble."""
    context = chromium.new_context(**context_options)
    context.set_default_timeout(30_000)
    opened = Window(page=context.new_page(), context=context, site=site)
    yield opened
    context.close()
    assert opened.troubles == []


@pytest.fixture
def pictures(request: pytest.FixtureRequest) -> Path:
    """Where screenshots go: $ICHD_PICTURES, or a folder of the test run."""
    folder = Path(os.environ.get("ICHD_PICTURES") or request.config.cache.mkdir("pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
