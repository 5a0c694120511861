"""The manual as a site: it builds without a warning, reads as it is written, and asks no other host for anything."""

import functools
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from markdown_it import MarkdownIt
from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parents[2]
#: Pages that the site takes from beside what they are about.
BROUGHT = ("deploy/README.md", "deploy/helm/ichd/README.md", "CONTRIBUTING.md", "CHANGELOG.md")
ELEMENTS = ("h1", "h2", "h3", "h4", "li", "pre", "tr", "blockquote")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `mkdocs build --strict` writes."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    return folder


def pages() -> list[str]:
    """Every page of the site, by its place in it."""
    return sorted([*BROUGHT, *(path.name for path in (ROOT / "docs").glob("*.md"))])


def source(page: str) -> str:
    return (ROOT / page if page in BROUGHT else ROOT / "docs" / page).read_text()


def built(site: Path, page: str) -> Path:
    """The file of the page; a README is the index of its folder."""
    place = Path(page)
    return site / place.with_name("index.html" if place.name == "README.md" else f"{place.stem}.html")


def elements(html: str) -> dict[str, int]:
    # Python-Markdown gives a table without rows an empty one.
    html = re.sub(r"<tr>\s*(?:<td>\s*</td>\s*)+</tr>", "", html)
    return {name: len(re.findall(rf"<{name}\b", html)) for name in ELEMENTS}


@pytest.mark.parametrize("page", pages())
def test_a_page_has_the_parts_that_a_code_host_shows(site: Path, page: str) -> None:
    """Markdown has dialects: what is a list or a block of code on a code host must not run into the text here."""
    (article,) = re.findall(r"<article\b.*?</article>", built(site, page).read_text(), re.S)
    expected = MarkdownIt("commonmark").enable("table").render(source(page))
    assert elements(article) == elements(expected)


def test_every_page_has_a_place_in_the_list(site: Path) -> None:
    listed = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    places = [place for part in listed for rooms in part.values() for room in rooms for place in room.values()]
    assert sorted(places) == pages()


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Silent, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_no_page_names_a_file_of_another_host(site: Path) -> None:
    loaded = re.compile(
        r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?(?:https?:)?//|<link\b[^>]*\bhref=\"?(?:https?:)?//"
    )
    assert [path.name for path in site.rglob("*.html") if loaded.search(path.read_text())] == []


def test_a_reader_s_browser_asks_no_other_host(site: Path, chromium: Browser) -> None:
    asked: set[str] = set()
    troubles: list[str] = []
    with serving(site) as url:
        context = chromium.new_context(color_scheme="dark")
        window = context.new_page()
        window.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
        window.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
        for page in ("index.md", "connecting.md", "deploy/README.md"):
            window.goto(f"{url}/{built(site, page).relative_to(site)}")
        window.goto(f"{url}/index.html?q=watermark")
        window.locator(".md-search-result__item").first.wait_for(state="attached")
        context.close()
    assert asked - {""} == {urlsplit(url).netloc}
    assert troubles == []
