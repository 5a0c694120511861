"""The system page in a browser: light, dark, on a phone; tooltips, tables, keys, a refresh that keeps the place."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Window
from tests.browser.site import Site, serving
from tests.web.believable_year import write_figures

LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 860}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 860}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("site")) as filled:
        hospital = filled.hospital(datetime.now(UTC))
        write_figures(hospital.engine, until=hospital.now, days=45)
        hospital.engine.dispose()
        yield filled


def colour(page: Page, selector: str, of: str) -> str:
    found = page.locator(selector).first.evaluate("(node, of) => getComputedStyle(node)[of]", of)
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize("context_options", LOOKS.values(), ids=LOOKS)
def test_it_fits_and_every_plot_is_drawn(window: Window, context_options: dict[str, Any], pictures: Path) -> None:
    look = next(name for name, options in LOOKS.items() if options is context_options)
    for span in ("24h", "7d", "90d"):
        page = window.open(f"/system?range={span}")
        assert page.locator("figure.plot").count() == 12
        assert page.locator("figure.plot svg.axes").count() == 12
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.locator(".spans [aria-current]").get_attribute("href") == f"/system?range={span}"
        page.screenshot(path=pictures / f"system-{look}-{span}.png", full_page=True)


def test_lines_have_the_colours_of_the_reader(window: Window) -> None:
    window.page.emulate_media(color_scheme="light")
    page = window.open("/system")
    light = colour(page, "#plot-latency .line-1 .line", "stroke")
    page.emulate_media(color_scheme="dark")
    assert colour(page, "#plot-latency .line-1 .line", "stroke") != light
    dashes = {colour(page, f"#plot-latency .line-{n} path.line", "strokeDasharray") for n in (1, 2, 3)}
    assert len(dashes) == 3, "colour is not the only difference"


def test_a_point_of_a_plot_says_what_its_table_says(window: Window) -> None:
    page = window.open("/system?range=7d")
    title = page.locator("#plot-throughput .column title").last.text_content() or ""
    page.locator("#table-throughput summary").click()
    row = page.locator("#table-throughput tbody tr").first
    cells = row.locator("th, td").all_inner_texts()
    assert title.split("\n") == [
        cells[0],
        *(f"{name}: {cell}" for name, cell in zip(("reported", "not analysed", "failed"), cells[1:], strict=True)),
    ]


def test_the_keyboard_reaches_ranges_and_tables(window: Window) -> None:
    page = window.open("/system")
    page.locator(".spans a").nth(1).focus()
    assert colour(page, ".spans a:focus-visible", "outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.wait_for_url("**/system?range=7d")
    page.locator("#table-queue summary").focus()
    page.keyboard.press("Enter")
    assert page.locator("#table-queue table").is_visible()


def test_a_refresh_brings_news_and_leaves_the_reader_where_he_was(window: Window) -> None:
    page = window.page
    page.clock.install()
    window.open("/system")
    page.locator("#table-queue summary").click()
    page.locator("#table-queue .scroll").evaluate("node => { node.scrollTop = 100 }")
    page.locator("#table-queue summary").focus()
    page.evaluate("document.querySelector('main').dataset.old = 'yes'")
    page.clock.run_for(21_000)
    page.wait_for_selector("main:not([data-old])")
    assert page.locator("#table-queue").get_attribute("open") is not None
    assert page.locator("#table-queue .scroll").evaluate("node => node.scrollTop") == 100
    assert page.evaluate("document.activeElement.parentElement.id") == "table-queue"
