"""What candidates are measured on: rendered once, the same for ever, and damage is named."""

from pathlib import Path

import numpy as np
import pytest

from ichd.domain.errors import UserError
from ichd.vision.bundle import demo_bundle
from ichd.vision.manifest import read_manifest
from training.evaluation.reference import KeptPhantom, Reference, kept_phantoms, knows, open_reference


def rendered(folder: Path) -> list[tuple[int, int]]:
    steps: list[tuple[int, int]] = []
    kept_phantoms(folder, scans=4, rows=64, on_scan=lambda done, of: steps.append((done, of)))
    return steps


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    assert rendered(folder / "phantoms")[-1] == (4, 4)
    return folder


@pytest.fixture
def reference(once: Path) -> Reference:
    return open_reference("phantoms", once)


def test_phantoms_are_rendered_once(once: Path, reference: Reference) -> None:
    assert rendered(once / "phantoms") == [], "they are there"
    assert open_reference("phantoms", once).data_sha256 == reference.data_sha256
    assert [path.name for path in once.iterdir()] == ["phantoms"], "nothing half-written is left"


def test_half_of_them_bleed_and_all_can_be_read(reference: Reference) -> None:
    assert [bool(study.study_labels_C[0]) for study in reference.studies] == [True, False, True, False]
    for study in reference.studies:
        assert study.hu().shape == (len(study), study.rows, study.columns)
        assert study.labels_SC.shape == (len(study), 6)
        assert np.array_equal(study.hu([2, 0]), study.hu()[[2, 0]])
    assert any("weak evidence" in remark for remark in reference.remarks)


def test_a_damaged_phantom_is_named_with_the_mend(tmp_path: Path) -> None:
    rendered(tmp_path / "phantoms")
    first = open_reference("phantoms", tmp_path).studies[0]
    content = bytearray(first.path.read_bytes())
    content[100] ^= 1
    first.path.write_bytes(content)

    with pytest.raises(UserError, match=r"000\.i2 is damaged; remove .* rendered again"):
        first.hu()
    first.path.unlink()
    with pytest.raises(UserError, match="can't be read"):
        first.hu()
    (tmp_path / "phantoms" / "set.json").write_text("{")
    with pytest.raises(UserError, match=r"set\.json is damaged"):
        open_reference("phantoms", tmp_path)


def test_nobody_is_measured_on_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--reference DIR.*--reference phantoms, which is weak evidence"):
        open_reference("", tmp_path)
    with pytest.raises(UserError, match="is no folder"):
        open_reference(str(tmp_path / "nowhere"), tmp_path)


def test_a_model_that_was_made_of_the_reference_is_found_out(reference: Reference) -> None:
    manifest = read_manifest(demo_bundle())
    assert not knows(manifest, reference)
    named = {"metrics": {"data": {"sha256": reference.data_sha256}}}
    assert knows(manifest.model_copy(update=named), reference)


def test_the_studies_are_phantoms_of_their_own_kind(reference: Reference) -> None:
    assert all(isinstance(study, KeptPhantom) and study.label_level == "slice" for study in reference.studies)
