"""What makes one set of Markdown files right both on a code host and as a site (hooks of mkdocs.yml).

Some pages lie outside of docs/, beside what they are about. Each gets a place in the site, and links between them and
docs/ are rewritten from places in the repository to places in the site.
"""

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]

#: Pages outside of docs/, by their place in the repository, which is also their place in the site.
BROUGHT = ("deploy/README.md", "deploy/helm/ichd/README.md", "CONTRIBUTING.md", "CHANGELOG.md")

#: What a code host shows as its front page has another one in the site.
ELSEWHERE = {"README.md": "index.md"}

_LINK = re.compile(r"(\]\()([^)#:\s]+\.md)(#[^)]*)?(\))")
_FENCE = re.compile(r"^\s*```")
_ITEM = re.compile(r"^(\s*)(?:[-*]|\d+\.) ")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside."""
    for path in BROUGHT:
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The text as Python-Markdown and the site need it."""
    del config, files
    return lists_by_themselves(links_within_the_site(markdown, page.file.src_uri))


def links_within_the_site(markdown: str, place: str) -> str:
    """`markdown` of the page at `place` in the site, with links to Markdown files as the site has them."""
    home = PurePosixPath(_in_repository(place)).parent

    def moved(found: re.Match[str]) -> str:
        opening, target, anchor, closing = found.groups()
        there = _in_site(normpath(str(home / target)))
        return f"{opening}{relpath(there, PurePosixPath(place).parent)}{anchor or ''}{closing}"

    return _LINK.sub(moved, markdown)


def _in_repository(place: str) -> str:
    return place if place in BROUGHT else f"docs/{place}"


def _in_site(path: str) -> str:
    return ELSEWHERE.get(path, path.removeprefix("docs/"))


def lists_by_themselves(markdown: str) -> str:
    """A blank line before each list that follows a line of text.

    CommonMark, which code hosts read and we write, lets a list end a paragraph; Python-Markdown reads on.
    """
    lines: list[str] = []
    fenced = False
    for line in markdown.split("\n"):
        fenced ^= bool(_FENCE.match(line))
        begins = not fenced and _ITEM.match(line)
        if begins and lines and lines[-1].strip() and not _within_a_list(lines):
            lines.append("")
        lines.append(line)
    return "\n".join(lines)


def _within_a_list(lines: list[str]) -> bool:
    """Whether the block of text that ends here began as an item of a list."""
    for line in reversed(lines):
        if _ITEM.match(line):
            return True
        if not line.strip():
            return False
    return False
