"""Where model bundles lie: the ones that ship with the package, by name, and any folder, by path."""

from pathlib import Path

from ichd.domain.errors import UserError
from ichd.vision.manifest import MANIFEST_NAME

_SHIPPED = Path(__file__).parent / "bundles"
_DEMO = "phantom-demo"


def list_bundles() -> tuple[Path, ...]:
    """Folders of the bundles that ship with the package, by name."""
    return tuple(sorted(manifest.parent for manifest in _SHIPPED.glob(f"*/{MANIFEST_NAME}")))


def demo_bundle() -> Path:
    """Folder of the demonstration model, which `ichd train phantom-demo` writes."""
    return _SHIPPED / _DEMO


def find_bundle(name_or_path: str) -> Path:
    """The folder of a shipped bundle by its name, else of the bundle at a path.

    Raises:
        UserError: neither; names the shipped ones.
    """
    shipped = {folder.name: folder for folder in list_bundles()}
    if name_or_path in shipped:
        return shipped[name_or_path]
    folder = Path(name_or_path).expanduser()
    if (folder / MANIFEST_NAME).is_file():
        return folder
    known = ", ".join(shipped) or "none"
    raise UserError(f"{name_or_path!r} is neither a shipped model ({known}) nor a folder with a {MANIFEST_NAME}")
