"""The shipped demonstration model, on phantoms that it has not seen and on the real images at hand."""

import importlib.util
import os
from pathlib import Path

import pytest

from ichd.app.plain import plain_recipe
from ichd.domain.finding import CLASSES, Presence, Triage, conclude
from ichd.phantom import BLEED_KINDS, Phantom, PhantomRecipe, render
from ichd.vision.bundle import Bundle, demo_bundle, load_bundle
from ichd.vision.engines.eager import EagerEngine
from ichd.vision.reader import Reader
from ichd.vision.scan import HeadScan, SliceSource, Upright, load_scan
from tests.vision.images import one_image_a_slice
from training.evaluation.phantoms import score_files
from training.recipe import load_recipe

#: Far from the seeds that recipes draw.
FIRST_SEED = 2**40


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(demo_bundle())


@pytest.fixture(scope="module")
def reader(bundle: Bundle) -> Reader:
    return Reader(EagerEngine(bundle, device="cpu"))


def scan_of(phantom: Phantom) -> HeadScan:
    z_mm = tuple(float(z) for z in phantom.z_mm)
    return HeadScan(
        hu_SHW=phantom.hu_SHW,
        z_mm=z_mm,
        sources=one_image_a_slice(z_mm),
        pixel_spacing_mm=(phantom.pixel_spacing_mm, phantom.pixel_spacing_mm),
        study_instance_uid="1.2",
        series_instance_uid="1.2.3",
        upright=Upright(transposed=False, flipped_rows=False, flipped_columns=False),
    )


def test_it_says_that_it_is_a_demonstration(bundle: Bundle) -> None:
    assert bundle.identity.demonstration
    assert bundle.identity.statement == "trained on synthetic data: demonstration only"
    assert "ynthetic" in bundle.manifest.training_data


def test_it_is_small(bundle: Bundle) -> None:
    assert sum(file.stat().st_size for file in bundle.folder.iterdir()) <= 12e6


def test_it_is_what_its_recipe_makes(bundle: Bundle) -> None:
    recipe, manifest = load_recipe("phantom-demo"), bundle.manifest
    assert (manifest.network, manifest.input) == (recipe.network, recipe.input)
    assert (manifest.version, manifest.weights.storage) == (recipe.publication.version, recipe.publication.storage)
    for text in ("statement", "intended_use", "training_data", "licence", "demonstration"):
        assert getattr(manifest, text) == getattr(recipe.publication, text)


def test_its_manifest_has_the_figures_of_enough_held_out_phantoms(bundle: Bundle) -> None:
    metrics = bundle.manifest.metrics
    scans = metrics["held_out_phantoms.scans"]
    assert isinstance(scans, int)
    assert scans >= 200
    by_class = metrics["held_out_phantoms.auc_scan"]
    assert isinstance(by_class, dict)
    assert tuple(by_class) == CLASSES
    assert not any("real" in name for name in metrics)


@pytest.mark.parametrize("kind", BLEED_KINDS)
def test_a_plain_bleed_is_called_and_named(reader: Reader, bundle: Bundle, kind: str) -> None:
    seed = FIRST_SEED + BLEED_KINDS.index(kind)
    phantom = render(plain_recipe(PhantomRecipe(seed=seed, bleeds=(kind,), rows=256, voxel_mm=1.5)))
    prediction = reader.read(scan_of(phantom))
    finding = conclude(prediction, bundle.rule)
    assert finding.classes[0].presence is Presence.PRESENT
    kinds = {c.name: c.probability for c in finding.classes[1:]}
    assert max(kinds, key=lambda name: kinds[name]) == kind
    key = finding.classes[0].key_slices[0]
    place = [s.sop_instance_uid for s in prediction.slices].index(key.sop_instance_uid)
    assert phantom.truth[max(0, place - 1) : place + 2, 0].any()


def test_bleed_free_phantoms_are_not_called(reader: Reader, bundle: Bundle) -> None:
    called = [
        conclude(
            reader.read(scan_of(render(PhantomRecipe(seed=FIRST_SEED + 100 + i, rows=256, voxel_mm=1.5)))), bundle.rule
        )
        .classes[0]
        .presence
        for i in range(6)
    ]
    assert called.count(Presence.PRESENT) == 0


@pytest.mark.skipif("ICHD_TEST_DATA" not in os.environ, reason="ICHD_TEST_DATA is not set")
def test_the_real_bleed_free_scan_is_not_called(bundle: Bundle) -> None:
    scores = score_files(bundle, sorted((Path(os.environ["ICHD_TEST_DATA"]) / "head-ct-ge").glob("*.dcm")))
    assert scores["slices"] == 28
    assert scores["present"] == []
    assert scores["scan"]["any"] < 0.5


@pytest.mark.skipif("ICHD_TEST_DATA" not in os.environ, reason="ICHD_TEST_DATA is not set")
def test_the_real_bleed_free_scan_is_routine(reader: Reader, bundle: Bundle) -> None:
    files = sorted((Path(os.environ["ICHD_TEST_DATA"]) / "head-ct-ge").glob("*.dcm"))
    assert (
        conclude(reader.read(load_scan([SliceSource(path=file) for file in files])), bundle.rule).triage
        is Triage.ROUTINE
    )


def test_the_real_subdural_is_called(bundle: Bundle) -> None:
    scores = score_files(bundle, [real_slice("693_UNCR.dcm")])
    assert "any" in scores["present"]
    assert "subdural" in scores["present"]


def test_what_338_to_1_compression_leaves_of_it_is_on_the_right_side_of_one_half(bundle: Bundle) -> None:
    """693_UNCI: of the brain a grey smear is left, and the model is too unsure to call it; it is not called healthy."""
    scores = score_files(bundle, [real_slice("693_UNCI.dcm")])
    assert scores["scan"]["any"] > 0.5


def real_slice(name: str) -> Path:
    installed = importlib.util.find_spec("data_store")
    if installed is None or not installed.submodule_search_locations:
        pytest.skip("pydicom-data is not part of this environment")
    return Path(installed.submodule_search_locations[0]) / "data" / name
