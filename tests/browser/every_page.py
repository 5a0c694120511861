"""Every page that the web role shows, and every state of one that looks different: the table that tests go through."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from ichd.domain.reason import Reason
from ichd.domain.retention import RetentionPolicy
from ichd.domain.role import Role
from ichd.settings import AccountSettings, WebSettings
from ichd.store.history import History
from ichd.store.retention import Retention
from ichd.web.access.secret import hash_password
from tests.browser.explained import explain
from tests.browser.site import Site, read_phantom, receive_phantom, serving
from tests.web.believable_year import write_figures

_DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 860}}
_PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
#: As Playwright names what a window is made of.
LOOKS: dict[str, dict[str, Any]] = {
    "light": _DESKTOP | {"color_scheme": "light"},
    "dark": _DESKTOP | {"color_scheme": "dark"},
    "phone-light": _PHONE | {"color_scheme": "light"},
    "phone-dark": _PHONE | {"color_scheme": "dark"},
}
_PASSWORD = "correct horse battery"  # noqa: S105 - of a test
#: A worklist that says so is alive, and will not change under whoever looks at it.
_LIVE = "#live[data-state=on] .words:text('Live')"
_SLICE = ".stage[data-shown]"


@dataclass(frozen=True, kw_only=True)
class Sight:
    """A page as somebody may come to see it."""

    #: With the names of `Site.uids` in braces.
    path: str
    #: Of `every_site`.
    site: str = "filled"
    #: What is there once the page is; a selector.
    ready: str = "main"
    #: What is done on it before it is looked at.
    act: Callable[[Page], None] = lambda _page: None
    #: The answers that are meant to be refusals.
    refusals: frozenset[int] = frozenset()
    #: The part that is not ours, as axe-core takes it.
    not_ours: tuple[str, ...] = ()


def _mistyped(page: Page) -> None:
    page.get_by_label("Name").fill("viewer-jane")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("alert").wait_for()


def _log_in(page: Page) -> None:
    page.get_by_label("Name").fill("viewer-jane")
    page.get_by_label("Password").fill(_PASSWORD)
    page.keyboard.press("Enter")
    page.locator(_LIVE).wait_for()


def _ask_for_keys(page: Page) -> None:
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()


def _ask_for_a_retry(page: Page) -> None:
    page.locator("#rows summary").first.click()
    page.get_by_text("Retry what failed").first.click()
    expect(page.locator("#confirm")).to_be_visible()


def _heat(page: Page) -> None:
    page.click("[data-heat]")
    page.wait_for_selector(".heat-layer:not([hidden])")
    page.click("#heat summary")
    for picture in page.locator("#heat img").all():
        picture.scroll_into_view_if_needed()
    page.wait_for_function("[...document.querySelectorAll('#heat img')].every((each) => each.naturalWidth > 0)")


def _try_out(page: Page) -> None:
    page.locator(".opblock").filter(has_text="/api/refusals").first.click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    page.locator(".live-responses-table .response-col_status", has_text="200").wait_for()


SIGHTS: dict[str, Sight] = {
    "worklist": Sight(path="/", ready=_LIVE),
    "worklist-keys": Sight(path="/", ready=_LIVE, act=_ask_for_keys),
    "worklist-retry": Sight(path="/?state=failed", ready=_LIVE, act=_ask_for_a_retry),
    "worklist-nothing-fits": Sight(path="/?q=none", ready=_LIVE),
    "worklist-empty": Sight(path="/", site="empty", ready=_LIVE),
    "worklist-logged-in": Sight(path="/login", site="guarded", act=_log_in),
    "study-urgent": Sight(path="/studies/{phantom}", ready=_SLICE),
    "study-heat": Sight(path="/studies/{phantom}", ready=_SLICE, act=_heat),
    "study-not-analysed": Sight(path="/studies/{unread phantom}", ready=_SLICE),
    "study-failed": Sight(path="/studies/{reading failed}", ready=".stage .trouble", refusals=frozenset({404})),
    "study-images-gone": Sight(path="/studies/{gone}", ready=".viewer-gone"),
    "report": Sight(path="/studies/{phantom}/objects/{report}"),
    "system": Sight(path="/system?range=90d"),
    "system-empty": Sight(path="/system", site="empty"),
    "log-in": Sight(path="/login", site="guarded"),
    "log-in-mistyped": Sight(path="/login", site="guarded", act=_mistyped, refusals=frozenset({403})),
    "not-found": Sight(path="/studies/1.2.3", refusals=frozenset({404})),
    "api": Sight(path="/docs", ready=".opblock-summary-path", act=_try_out, not_ours=("#api",)),
}


@contextmanager
def every_site(folder: Path) -> Iterator[dict[str, Site]]:
    """A site with everything, one with nothing, and one behind a log-in."""
    account = AccountSettings(name="viewer-jane", secret=hash_password(_PASSWORD), role=Role.OPERATOR)
    with ExitStack() as stack:
        sites = {
            "filled": stack.enter_context(serving(folder / "filled")),
            "empty": stack.enter_context(serving(folder / "empty", is_empty=True)),
            "guarded": stack.enter_context(serving(folder / "guarded", web=WebSettings(account=(account,)))),
        }
        _fill(sites["filled"])
        yield sites


def _fill(site: Site) -> None:
    now = datetime.now(UTC)
    site.uids["gone"] = read_phantom(site.folder, now - timedelta(days=9), slices=4, seed=8)
    site.uids["unread phantom"] = _refused_phantom(site, now - timedelta(minutes=7))
    explain(site.folder, site.uids["phantom"], now)
    hospital = site.hospital(now)
    Retention(hospital.engine, hospital.spool, RetentionPolicy(keep_for=timedelta(days=3), makes_room=False)).run(now)
    write_figures(hospital.engine, until=now, days=45)
    (report,) = History(hospital.engine, hospital.spool).objects(site.uids["phantom"])
    site.uids["report"] = str(report.id)
    hospital.engine.dispose()


def _refused_phantom(site: Site, now: datetime) -> str:
    hospital = site.hospital(now)
    _, images = receive_phantom(hospital, slices=12, seed=9)
    uid = images[0].study_instance_uid
    series_uid = images[0].series_instance_uid
    hospital.refuse_to_read(uid, Reason.TOO_FEW_SLICES, "12 of at least 20 slices", series_uid=series_uid)
    hospital.engine.dispose()
    return uid
