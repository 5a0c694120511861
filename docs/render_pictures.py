"""The pictures of the manual, from a real run: `python -m docs.render_pictures` rewrites docs/pictures/.

The daemon runs as an operator runs it, phantoms come by C-STORE, the demonstration model reads them, and a browser
looks at the pages. To be run again whenever the pages have changed; it takes some minutes. Needs Chromium.
"""

import shutil
import sys
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from pydicom import dcmread

from ichd.app.plain import plain_recipe
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.publish.send import send_folder
from tests.acceptance.daemon import Daemon, Destination, running
from tests.peers.storescp import running_receiver

PICTURES = Path(__file__).resolve().parent / "pictures"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

#: In the order in which they arrive; the last one stands first in the worklist, and is the one that is opened.
PHANTOMS = (
    PhantomRecipe(seed=21, slices=28),
    PhantomRecipe(seed=22, bleeds=("intraventricular",), slices=28),
    PhantomRecipe(seed=23, slices=6),
    PhantomRecipe(seed=24, bleeds=("epidural",), slices=28),
    PhantomRecipe(seed=25, slices=30),
    PhantomRecipe(seed=7, bleeds=("subdural",), slices=28),
)
#: Of a page in the manual: wide enough for the table, narrow enough to be read in a README.
VIEW = {"width": 1280, "height": 800}


def main() -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("Chromium is not installed (Debian: apt-get install chromium)")
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with running_receiver(folder / "pacs") as pacs:
            daemon = Daemon(folder / "daemon", [Destination(ae_title=pacs.ae_title, port=pacs.port)])
            with running(daemon), sync_playwright() as playwright:
                study_uid = [read(daemon, recipe, folder) for recipe in PHANTOMS][-1]
                browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
                photograph(browser, f"http://127.0.0.1:{daemon.web_port}", study_uid)
                browser.close()
        save_summary(folder / "pacs", study_uid)


def read(daemon: Daemon, recipe: PhantomRecipe, folder: Path) -> str:
    """Send a phantom, wait for its end, and give its Study Instance UID."""
    files = write_series(render(plain_recipe(recipe)), folder / f"phantom-{recipe.seed}")
    for path in files:
        image = dcmread(path)
        # What a worklist shows to tell studies apart; phantoms have none.
        image.AccessionNumber = f"CT-{4700 + recipe.seed}"
        image.save_as(path)
    study_uid = str(image.StudyInstanceUID)
    send_folder(daemon.peer, files, progress=lambda _done, _all: None)
    daemon.wait_for(study_uid, "reported", "not_analysed", "failed")
    return study_uid


def photograph(browser: Browser, url: str, study_uid: str) -> None:
    """The worklist by day and by night, and a study."""
    for name, path, scheme in (
        ("worklist-light", "/", "light"),
        ("worklist-dark", "/", "dark"),
        ("study", f"/studies/{study_uid}", "light"),
    ):
        page = browser.new_page(viewport=VIEW, color_scheme=scheme)
        page.goto(url + path, wait_until="load")
        # Pages draw their images by themselves; there is no event that says that the last one is there.
        page.wait_for_timeout(3000)
        keep(page.screenshot(), name)
        page.close()


def save_summary(folder: Path, study_uid: str) -> None:
    """The Secondary Capture that the destination got."""
    objects = [dcmread(path) for path in folder.iterdir()]
    (page,) = [each for each in objects if (each.SOPClassUID, each.StudyInstanceUID) == (SECONDARY_CAPTURE, study_uid)]
    picture = BytesIO()
    Image.fromarray(page.pixel_array).save(picture, "PNG")
    keep(picture.getvalue(), "summary")


def keep(png: bytes, name: str) -> None:
    """In 256 colours, which is a third of the size and looks the same."""
    picture = Image.open(BytesIO(png)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    picture.save(PICTURES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
