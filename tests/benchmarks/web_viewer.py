"""The slice viewer in a real browser, from a real web role: 36 slices of 512x512, as a head CT has them.

`first_image_ms`: from the click on a study in the open worklist to the frame that shows
pixels of a slice, median; each time in a new window with an empty cache, of a study that the server has not decoded
yet. `new_window_ms`: the same from an address that is opened in a window that has never seen ichd, which pays for a
process of the browser and for every script. `slices_per_s`: a key is pressed as
soon as the slice before was painted, through a stack of which nothing is loaded but what the viewer fetches ahead;
`again_per_s`: the same on the way back, from the page's memory. A machine that does other work shows less: `load` says.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from playwright.sync_api import Browser, Page, sync_playwright

from ichd.telemetry import configure_logging
from tests.benchmarks.figures import arguments
from tests.browser.site import read_phantom, serving

SLICES = 36
#: What was drawn is on the screen by the end of the frame after.
_NEXT_FRAME = "() => new Promise((resolve) => requestAnimationFrame(() => resolve()))"
#: Notes when the frame begins that follows the first drawn slice, or, where that is later, when the browser itself says
#: that it has painted anything at all.
_WATCH = """const painted = (drawn) => {
  const [first] = performance.getEntriesByName("first-contentful-paint");
  if (first) { window.seenMs = Math.max(drawn, first.startTime); } else { setTimeout(painted, 1, drawn); }
};
new MutationObserver((_, watch) => {
  if (document.querySelector(".stage[data-shown]")) {
    watch.disconnect();
    requestAnimationFrame(() => requestAnimationFrame(() => painted(performance.now())));
  }
}).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-shown"] });"""
_LOOKS_MS = 1000

Seen = TypeVar("Seen")


def measure(quick: bool = False) -> dict[str, Any]:
    """The figures above."""
    configure_logging("critical")
    rounds = 4 if quick else 18
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as site:
        # Before what else waits in the site's queue.
        now = datetime.now(UTC) - timedelta(minutes=3)
        uids = [read_phantom(site.folder, now, slices=SLICES, seed=40 + n) for n in range(rounds + 1)]
        addresses = [f"{site.url}/studies/{uid}" for uid in uids]
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
            )
            # The first page pays for the browser's own start.
            _in_window(browser, _first_image_ms, addresses[0])
            fresh, listed = addresses[1::2], addresses[2::2]
            new_window = [_in_window(browser, _first_image_ms, address) for address in fresh]
            first = [_in_window(browser, _from_worklist_ms, address) for address in listed]
            scrolls = [_in_window(browser, _scroll, address) for address in addresses[1:4]]
            browser.close()
    return {
        "slices": SLICES,
        "first_image_ms": round(statistics.median(first), 1),
        "first_image_ms_worst": round(max(first), 1),
        "new_window_ms": round(statistics.median(new_window), 1),
        "slices_per_s": round(statistics.median(there for there, _ in scrolls), 1),
        "again_per_s": round(statistics.median(back for _, back in scrolls), 1),
        "load": round(os.getloadavg()[0], 1),
    }


def _in_window(browser: Browser, look: Callable[[Page, str], Seen], address: str) -> Seen:
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    try:
        return look(context.new_page(), address)
    finally:
        context.close()


def _first_image_ms(page: Page, address: str) -> float:
    page.add_init_script(_WATCH)
    page.goto(address, wait_until="commit")
    return _seen_ms(page)


def _from_worklist_ms(page: Page, address: str) -> float:
    page.add_init_script(_WATCH)
    page.goto(address.partition("/studies/")[0], wait_until="load")
    # Whoever chooses a study has looked at the list for a moment.
    page.wait_for_timeout(_LOOKS_MS)
    page.locator(f"a[href='/studies/{address.rpartition('/')[2]}']").first.click(no_wait_after=True)
    page.wait_for_url(address, wait_until="commit")
    return _seen_ms(page)


def _seen_ms(page: Page) -> float:
    """From the start of the navigation, as the page itself noted it."""
    page.wait_for_function("() => window.seenMs !== undefined")
    return float(page.evaluate("() => window.seenMs"))


def _await_slice(page: Page, number: int | None = None) -> None:
    page.wait_for_selector(".stage[data-shown]" if number is None else f".stage[data-shown='{number}']")
    page.evaluate(_NEXT_FRAME)


def _scroll(page: Page, address: str) -> tuple[float, float]:
    """Slices painted a second: for the first time, and again."""
    page.goto(f"{address}#slice-1", wait_until="commit")
    _await_slice(page, 1)
    page.focus(".stage")
    return _painted_per_s(page, "ArrowDown", range(2, SLICES + 1)), _painted_per_s(
        page, "ArrowUp", range(SLICES - 1, 0, -1)
    )


def _painted_per_s(page: Page, key: str, numbers: range) -> float:
    started = time.perf_counter()
    for number in numbers:
        page.keyboard.press(key)
        _await_slice(page, number)
    return len(numbers) / (time.perf_counter() - started)


if __name__ == "__main__":
    print(json.dumps(measure(arguments(__doc__).quick), indent=2))
