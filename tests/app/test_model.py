"""Whether a bundle can be used is found out before a daemon starts, and without torch."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ichd.app.model import WEIGHTS_NAME, check_bundle
from ichd.domain.errors import UserError
from ichd.vision.manifest import MANIFEST_NAME
from ichd.vision.shelf import demo_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return Path(shutil.copytree(demo_bundle(), tmp_path / "bundle"))


def test_a_sound_bundle_says_which_model_it_is(bundle: Path) -> None:
    assert check_bundle(str(bundle)).name == "phantom-demo"
    assert check_bundle("phantom-demo") == check_bundle(str(bundle))


def lose_the_weights(bundle: Path) -> None:
    (bundle / WEIGHTS_NAME).unlink()


def change_a_bit(bundle: Path) -> None:
    content = bytearray((bundle / WEIGHTS_NAME).read_bytes())
    content[-1] ^= 1
    (bundle / WEIGHTS_NAME).write_bytes(content)


def garble_the_manifest(bundle: Path) -> None:
    (bundle / MANIFEST_NAME).write_text("{}")


def lose_the_manifest(bundle: Path) -> None:
    (bundle / MANIFEST_NAME).unlink()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lose_the_weights, "can't be read"),
        (change_a_bit, "changed or damaged"),
        (garble_the_manifest, "correct the file"),
        (lose_the_manifest, "neither a shipped model"),
    ],
)
def test_a_damaged_bundle_is_a_matter_for_a_person(bundle: Path, damage: Callable[[Path], None], sentence: str) -> None:
    damage(bundle)

    with pytest.raises(UserError, match=sentence):
        check_bundle(str(bundle))


def test_the_file_of_the_weights_is_the_one_that_bundles_are_written_with() -> None:
    from ichd.vision import bundle

    assert WEIGHTS_NAME == bundle.WEIGHTS_NAME


def test_the_check_loads_no_torch() -> None:
    code = "import sys, ichd.app.model; print('torch' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert loaded.stdout.strip() == "False"
