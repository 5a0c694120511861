"""Styles, scripts and signs of the pages, at addresses that change with their bytes.

A browser keeps what lies at such an address and never asks again: a page of a study that is opened from the worklist
costs one request for the page and one for its first slice, instead of ten more for what did not change since yesterday.
"""

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from starlette.staticfiles import StaticFiles
from starlette.types import Scope

ROOT = "/static"
_FOLDER = Path(__file__).parent / "static"
_KEEP_S = 365 * 86_400


@cache
def edition() -> str:
    """Name of the bytes of all files together, since modules import each other by addresses relative to their own."""
    digest = sha256()
    for path in sorted(_FOLDER.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def address(name: str) -> str:
    """Where a page finds a file of ours."""
    return f"{ROOT}/{edition()}/{name}"


@cache
def modules(prefix: str) -> tuple[str, ...]:
    """Scripts whose names begin so: what a page brings at once instead of one import after the other."""
    return tuple(sorted(path.name for path in _FOLDER.glob(f"{prefix}*.js")))


def kept_by_browsers(scope: Mapping[str, Any], status: int) -> str | None:
    """What `Cache-Control` says of an answer; None where it is no file of ours."""
    path = scope["path"]
    if not path.startswith(f"{ROOT}/"):
        return None
    if status == 200 and path.startswith(f"{ROOT}/{edition()}/"):
        return f"private, max-age={_KEEP_S}, immutable"
    return "no-cache"


class Assets(StaticFiles):
    """The files, by name and by edition.

    A page of another edition is answered with ours: while processes are replaced one by one, a page may come from an
    old one and its files from a new one. Only addresses of our own edition may be kept.
    """

    def __init__(self) -> None:
        super().__init__(directory=_FOLDER)

    def get_path(self, scope: Scope) -> str:
        """The file's name, without the edition before it."""
        path = super().get_path(scope)
        _, has_edition, name = path.partition("/")
        return name if has_edition else path
