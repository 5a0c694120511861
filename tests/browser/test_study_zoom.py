"""The size of a slice: wheel, keys, buttons, the middle button, two fingers; what is looked at stays in its place."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Window
from tests.browser.site import Site, serving
from tests.browser.test_study import opened, shown

#: Where the picture's middle lies from that of the stage, how large it is drawn, and how long the bar of 5 cm is.
PLACE = """() => {
  const [stage, picture] = [".stage", ".picture"].map((name) => document.querySelector(name).getBoundingClientRect());
  const ruler = document.querySelector(".ruler").getBoundingClientRect();
  return {
    x: picture.x + picture.width / 2 - stage.x - stage.width / 2,
    y: picture.y + picture.height / 2 - stage.y - stage.height / 2,
    width: picture.width, ruler: ruler.width,
  };
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("site")) as filled:
        yield filled


def place(page: Page) -> dict[str, Any]:
    return dict(page.evaluate(PLACE))


def test_the_wheel_with_ctrl_enlarges_what_it_points_at(window: Window) -> None:
    page = opened(window)
    before = place(page)
    box = page.locator(".stage").bounding_box()
    assert box is not None
    # Right of the stage's middle and below; a wheel tells whole pixels.
    x, y = round(box["x"] + box["width"] * 0.6), round(box["y"] + box["height"] * 0.65)
    page.mouse.move(x, y)
    page.keyboard.down("Control")
    for _ in range(4):
        page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    page.wait_for_function("() => document.querySelector('[data-say=size]').textContent === '2.7×'")

    after = place(page)
    grown = after["width"] / before["width"]
    assert grown == pytest.approx(2.718, abs=0.01)
    assert after["ruler"] == pytest.approx(before["ruler"] * grown, rel=0.02)
    right, below = x - box["x"] - box["width"] / 2, y - box["y"] - box["height"] / 2
    assert after["x"] == pytest.approx(right * (1 - grown), abs=0.5)
    assert after["y"] == pytest.approx(below * (1 - grown), abs=0.5)


def test_size_and_place_stay_while_slices_go_by_and_the_slice_never_leaves(window: Window) -> None:
    page = opened(window, after="#slice-12")
    shown(page, 12)
    page.focus(".stage")
    for _ in range(3):
        page.keyboard.press("+")
    box = page.locator(".stage").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down(button="middle")
    page.mouse.move(box["x"] + 230, box["y"] + 180, steps=3)
    page.mouse.up(button="middle")
    moved = place(page)
    assert (moved["x"], moved["y"]) == (pytest.approx(30, abs=1), pytest.approx(-20, abs=1))

    page.keyboard.press("ArrowDown")
    shown(page, 13)
    assert place(page) == moved

    page.mouse.down(button="middle")
    page.mouse.move(box["x"] + 3000, box["y"] + 180, steps=3)
    page.mouse.up(button="middle")
    assert place(page)["x"] == pytest.approx((moved["width"] - box["width"]) / 2, abs=1.5), "its edge is at the stage's"

    page.keyboard.press("0")
    expect(page.locator("[data-say=size]")).to_be_empty()
    assert place(page)["x"] == pytest.approx(0, abs=0.5)
    shown(page, 13)


def test_buttons_do_the_same_and_nothing_is_smaller_than_the_stage(window: Window) -> None:
    page = opened(window)
    width = place(page)["width"]
    page.get_by_role("button", name="Larger").click()
    assert place(page)["width"] == pytest.approx(width * 1.25, rel=0.01)
    for _ in range(3):
        page.get_by_role("button", name="Smaller").click()
    assert place(page)["width"] == pytest.approx(width)


def test_two_fingers_enlarge_and_scroll_nothing(window: Window) -> None:
    page = opened(window, after="#slice-12")
    shown(page, 12)
    width = place(page)["width"]
    box = page.locator(".stage").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    fingers = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        touches = [{"x": px, "y": py, "id": number} for number, (px, py) in enumerate(points)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    touch("touchStart", (x, y - 50))
    touch("touchStart", (x, y - 50), (x, y + 50))
    for step in range(1, 6):
        touch("touchMove", (x, y - 50 - 10 * step), (x, y + 50 + 10 * step))
    touch("touchEnd")

    page.wait_for_function("() => document.querySelector('[data-say=size]').textContent === '2.0×'")
    assert place(page)["width"] == pytest.approx(width * 2, rel=0.02)
    shown(page, 12)
