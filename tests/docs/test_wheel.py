"""What setup.cfg puts into the wheel is what the checkout holds: a room left out fails only where it is installed."""

import subprocess
from configparser import ConfigParser
from pathlib import Path, PurePath

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: Alembic's folder stands at the top level and ships as ichd/migrations.
ROOTS = {"ichd": "ichd", "training": "training", "alembic": "ichd.migrations"}


@pytest.fixture
def declared() -> ConfigParser:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config


@pytest.fixture
def tracked() -> list[PurePath]:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout: nothing says which files belong to it")
    listed = subprocess.run(["git", "ls-files", *ROOTS], cwd=ROOT, capture_output=True, text=True, check=True)
    return [PurePath(line) for line in listed.stdout.splitlines()]


def test_every_package_is_in_the_wheel(declared: ConfigParser, tracked: list[PurePath]) -> None:
    held = {_dotted(path.parent) for path in tracked if path.suffix == ".py"}
    assert sorted(declared["options"]["packages"].split()) == sorted(held)


def test_every_file_that_is_no_module_is_in_the_wheel(declared: ConfigParser, tracked: list[PurePath]) -> None:
    data = {
        package: [pattern.strip() for pattern in patterns.split(",")]
        for package, patterns in declared["options.package_data"].items()
    }
    left_out = [path for path in tracked if path.suffix != ".py" and not _ships(path, data)]
    assert left_out == []


def _ships(path: PurePath, data: dict[str, list[str]]) -> bool:
    """Whether a pattern of one of the packages above it names it."""
    for package, patterns in data.items():
        for folder in path.parents:
            if _dotted(folder) == package and any(path.relative_to(folder).match(pattern) for pattern in patterns):
                return True
    return False


def _dotted(folder: PurePath) -> str:
    top, *rooms = folder.parts or ("",)
    return ".".join([ROOTS.get(top, top), *rooms])
