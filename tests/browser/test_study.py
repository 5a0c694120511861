"""A study's page in a browser: slices, windows, heat, strips, and a page that stays where its reader is."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Window
from tests.browser.explained import explain, receive_two_series
from tests.browser.site import Site, serving

#: Mean grey of the canvas, and a number that changes with any pixel.
PIXELS = """() => {
  const canvas = document.querySelector(".stage canvas");
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let sum = 0, mixed = 0;
  for (let i = 0; i < data.length; i += 4) { sum += data[i]; mixed = (mixed * 31 + data[i]) | 0; }
  return { mean: sum / (data.length / 4), mixed, width: canvas.width };
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("site")) as filled:
        now = datetime.now(UTC)
        explain(filled.folder, filled.uids["phantom"], now)
        filled.uids["two series"] = receive_two_series(filled.folder, now - timedelta(minutes=1))
        yield filled


def opened(window: Window, study: str = "phantom", after: str = "") -> Page:
    """The page of a study, its first slice drawn."""
    page = window.open(f"/studies/{window.site.uids[study]}{after}")
    page.wait_for_selector(".stage[data-shown]")
    return page


def shown(page: Page, number: int) -> None:
    """Wait until a slice is on the screen."""
    page.wait_for_selector(f'.stage[data-shown="{number}"]')


def at(page: Page) -> int:
    return int(page.locator(".stage").get_attribute("data-shown") or 0)


def pixels(page: Page) -> dict[str, Any]:
    return dict(page.evaluate(PIXELS))


def test_the_page_opens_at_the_most_suspicious_slice(window: Window) -> None:
    page = opened(window)

    assert page.locator("canvas").get_attribute("aria-label") == f"Slice {at(page)} of 24, suspicious, Brain W 80 L 40"
    assert "▲ suspicious" in page.locator("[data-say=place]").inner_text()
    assert [page.locator(f".at-{side}").inner_text() for side in ("left", "right", "top", "bottom")] == list("RLAP")
    assert pixels(page)["width"] == 512


def test_keys_and_the_wheel_scroll_through_slices_that_really_differ(window: Window) -> None:
    page = opened(window, after="#slice-12")
    shown(page, 12)
    seen = [pixels(page)["mixed"]]
    page.focus(".stage")
    for key, number in (("ArrowDown", 13), ("ArrowRight", 14), ("ArrowUp", 13), ("PageDown", 18), ("End", 24)):
        page.keyboard.press(key)
        shown(page, number)
        seen.append(pixels(page)["mixed"])
    page.keyboard.press("Home")
    shown(page, 1)
    page.hover(".stage")
    page.mouse.wheel(0, 100)
    shown(page, 2)
    seen.append(pixels(page)["mixed"])
    page.mouse.wheel(0, -100)
    shown(page, 1)

    assert len(set(seen)) == 6, "13 is seen twice"


def test_windows_change_pixels_at_once_and_say_what_they_are(window: Window) -> None:
    page = opened(window)
    brain = pixels(page)
    page.focus(".stage")
    page.keyboard.press("3")
    bone = pixels(page)
    page.click("[data-window='1']")
    subdural = pixels(page)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    box = page.locator(".stage").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down(button="right")
    page.mouse.move(box["x"] + 260, box["y"] + 150, steps=4)
    page.mouse.up(button="right")

    assert len({brain["mean"], bone["mean"], subdural["mean"], pixels(page)["mean"]}) == 4
    assert page.locator("[data-say=window]").inner_text() == "Free W 335 L 175"
    assert page.locator("[data-window][aria-pressed=true]").count() == 0
    assert [url for url in asked if "/hu" in url] == []


def test_a_drag_goes_through_the_stack(window: Window) -> None:
    page = opened(window, after="#slice-5")
    shown(page, 5)
    box = page.locator(".stage").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 100, box["y"] + 100 + box["height"] / 24 * 3, steps=3)
    page.mouse.up()
    shown(page, 8)


def test_jumps_lead_from_one_suspicious_slice_to_the_next(window: Window) -> None:
    page = opened(window, after="#slice-1")
    shown(page, 1)
    page.focus(".stage")
    page.keyboard.press("n")
    page.wait_for_selector(".stage:not([data-shown='1'])")
    first = at(page)
    assert "suspicious" in page.locator("[data-say=place]").inner_text()
    page.keyboard.press("n")
    shown(page, first + 1)
    page.click("[data-jump='-1']")
    shown(page, first)


def test_the_heat_map_is_laid_over_its_slice_and_taken_off(window: Window) -> None:
    page = opened(window)
    link = page.locator("#findings .keys a").first
    number = int(link.locator("strong").inner_text())
    link.click()
    shown(page, number)
    layer = page.locator(".heat-layer")
    assert layer.is_hidden()
    page.focus(".stage")
    page.keyboard.press("h")
    expect(layer).to_be_visible()
    expect(layer).to_have_js_property("naturalWidth", 512)
    assert page.locator("[data-heat]").get_attribute("aria-pressed") == "true"
    assert page.locator("[data-heat-class] option").all_inner_texts() == ["Any haemorrhage", "Subdural"]
    assert layer.bounding_box() == page.locator(".stage canvas").bounding_box()
    page.keyboard.press("h")
    assert layer.is_hidden()


def test_a_strip_leads_to_its_slices_by_mouse_and_by_keys(window: Window) -> None:
    page = opened(window)
    strip = page.locator("svg.strip").first
    box = strip.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 19.5 / 24, box["y"] + 5)
    shown(page, 20)
    assert strip.get_attribute("aria-valuenow") == "20"
    strip.focus()
    page.keyboard.press("ArrowRight")
    shown(page, 21)
    assert (strip.get_attribute("aria-valuetext") or "").startswith("slice 21, ")


def test_series_that_nobody_read_can_be_looked_at(window: Window) -> None:
    page = opened(window, "two series")
    assert page.locator("[data-say=place]").inner_text() == "4 / 6"
    page.select_option("select[data-series]", index=1)
    expect(page.locator("[data-say=place]")).to_have_text("3 / 4")
    assert "Head <b>22</b>" in page.locator("select[data-series]").inner_text()
    assert pixels(page)["mean"] > 5


def test_the_page_is_kept_fresh_and_the_viewer_stays_where_it_is(window: Window) -> None:
    page = opened(window, after="#slice-3")
    shown(page, 3)
    page.click("[data-window='2']")
    page.focus(".stage")
    page.keyboard.press("ArrowDown")
    shown(page, 4)
    page.evaluate("document.querySelector('.stage').dataset.mine = 'yes'")
    answer = page.request.post(
        f"{window.site.url}/api/studies/{window.site.uids['phantom']}/review",
        data={"agreement": "disagreed", "truth": {"epidural": True}},
        headers={"Origin": window.site.url},
    )
    assert answer.status == 201
    page.wait_for_selector("#reviews .review:has-text('disagrees: epidural')", timeout=15_000)
    assert page.locator(".stage").get_attribute("data-mine") == "yes"
    assert at(page) == 4


def test_a_reader_disagrees_and_says_what_is_there(window: Window) -> None:
    page = opened(window)
    page.click(".truth summary")
    page.select_option("[name=truth_subdural]", "no")
    page.select_option("[name=truth_epidural]", "yes")
    page.click("button[value=disagreed]")
    page.wait_for_selector("#reviews .review:has-text('disagrees: no subdural, epidural')")


def test_the_report_is_read_on_a_page_and_taken_along(window: Window) -> None:
    page = opened(window)
    with page.expect_download() as download:
        page.click("#files a[download]:has-text('download')")
    assert download.value.suggested_filename.endswith(".dcm")
    page.click("#files a:has-text('Structured Report') >> nth=0")
    assert "Intracranial haemorrhage: urgent" in page.locator("h2").first.inner_text()
    assert page.locator("tbody tr").count() == 6


@pytest.mark.parametrize("context_options", [{"java_script_enabled": False}], ids=["no scripts"])
def test_without_scripts_the_key_slices_are_pictures(window: Window) -> None:
    page = window.open(f"/studies/{window.site.uids['phantom']}")
    stills = page.locator(".still img")
    assert stills.count() == 3
    stills.first.scroll_into_view_if_needed()
    assert page.request.get(window.site.url + (stills.first.get_attribute("src") or "")).status == 200
    assert page.locator(".stage").is_hidden()


@pytest.mark.parametrize(
    "context_options",
    [
        {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2},
        {"viewport": {"width": 1280, "height": 860}, "color_scheme": "light"},
        {"viewport": {"width": 1280, "height": 860}, "color_scheme": "dark"},
    ],
    ids=["phone", "light", "dark"],
)
def test_it_looks_right_and_nothing_hangs_over(window: Window, pictures: Path, request: pytest.FixtureRequest) -> None:
    page = opened(window)
    page.click("[data-heat]")
    page.wait_for_timeout(300)
    page.screenshot(path=pictures / f"study-{request.node.callspec.id}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    stage = page.locator(".stage").bounding_box()
    assert stage is not None
    assert stage["y"] < 500, "the first slice is on the first screen"
