"""The acceptance report in a real browser: it asks for nothing, fits a phone, and prints a study a page."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from ichd.app.commission.acceptance import Acceptance, Case
from ichd.app.commission.page import write_report
from ichd.app.commission.phantoms import make_study
from ichd.app.commission.points import points_of
from ichd.app.commission.route import live_route
from ichd.app.commission.trip import Trip
from ichd.app.doctor import Check
from ichd.app.model import check_model
from ichd.settings import Settings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on one study, twice, that was not taken."""
    folder = tmp_path_factory.mktemp("acceptance")
    pacs = {"name": "pacs", "address": "pacs:104", "ae_title": "PACS"}
    model = check_model(Settings().model)
    study = make_study("epidural", folder / "phantom", number=1, now=NOW)
    trip = Trip(study=study, began_at=NOW, acknowledged=28, sent_s=1.0, trouble="pacs did not acknowledge the report")
    case = Case(trip=trip, points=points_of(trip, model, timeout_s=60))
    acceptance = Acceptance(
        route=live_route(Settings.model_validate({"destination": [pacs]}), "pacs"),
        model=model,
        began_at=NOW,
        ended_at=NOW,
        checks=(Check(name="listener", ok=True, detail="ICHD answers C-ECHO on port 11112"),),
        beside_the_route=frozenset(),
        cases=(case, case),
        timeout_s=60,
        settings_sha256="0" * 64,
        kept_in=None,
        host="here",
        user="me",
        ae_title="ICHD",
    )
    written, _ = write_report(acceptance, folder / "report.html")
    return written


def test_it_needs_nothing_and_fits(chromium: Browser, page_file: Path) -> None:
    context = chromium.new_context(viewport={"width": 390, "height": 844})
    page, asked, said = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto(page_file.as_uri())
    assert {url for url in asked if not url.startswith("data:")} == {page_file.as_uri()}
    assert said == []
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.get_by_text("✗ FAILED", exact=True).is_visible()
    loaded = page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert loaded
    context.close()


def test_it_prints_a_study_a_page(chromium: Browser, page_file: Path) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(page_file.as_uri())
    printed = page.pdf(prefer_css_page_size=True)
    assert re.search(rb"/MediaBox\s*\[0 0 59[45](\.\d+)? 84[12](\.\d+)?\]", printed), "A4"
    pages = len(re.findall(rb"/Type\s*/Page\b", printed))
    assert pages == 3, "the head, and each study; the signatures stand below the last"
    context.close()


def test_paper_is_light_though_the_screen_is_dark(chromium: Browser, page_file: Path) -> None:
    context = chromium.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto(page_file.as_uri())
    colours = "(({color, backgroundColor}) => [color, backgroundColor])(getComputedStyle(document.body))"
    light = ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]
    assert page.evaluate(colours) != light, "the screen follows the person who looks at it"
    page.emulate_media(media="print")
    assert page.evaluate(colours) == light
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
    context.close()


def test_each_sheet_says_whose_it_is(chromium: Browser, page_file: Path) -> None:
    """By rules for the margins of pages, which the browser must have understood."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(page_file.as_uri())
    rules = page.evaluate(
        "[...document.styleSheets[0].cssRules].filter(rule => rule instanceof CSSPageRule).map(rule => rule.cssText)"
    )
    assert len(rules) == 1
    assert 'content: "Acceptance report, ICHD to pacs, 2026-03-01 12:00 UTC: FAILED"' in rules[0]
    assert 'counter(page) " of " counter(pages)' in rules[0]
    context.close()


def test_whoever_signs_finds_the_verdict_and_room_beside_his_name(chromium: Browser, page_file: Path) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(page_file.as_uri())
    page.emulate_media(media="print")
    last = page.locator("section.last").last
    assert "0 of 2 studies passed" in last.inner_text()
    assert last.locator(".sign strong").all_inner_texts() == ["Performed by", "Checked by", "Released for use by"]
    height = "element => parseFloat(getComputedStyle(element).marginTop)"
    room_mm = last.locator(".sign div").first.evaluate(height) / 96 * 25.4
    assert room_mm >= 10
    context.close()
