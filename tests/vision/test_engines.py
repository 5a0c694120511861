"""Every engine says what torch says in fp32, to the bit the same each time, and looks at each slice by itself."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ichd.phantom import BLEED_KINDS, PhantomRecipe, render
from ichd.vision.bundle import Bundle, demo_bundle, load_bundle, save_bundle
from ichd.vision.engines.cache import EngineCache
from ichd.vision.engines.cuda import CudaEngine
from ichd.vision.engines.eager import EagerEngine
from ichd.vision.engines.engine import Engine, Part
from ichd.vision.engines.openvino import OpenVinoEngine, precisions
from ichd.vision.manifest import InputSpec, NetworkSpec
from ichd.vision.network import CnnLstm
from ichd.vision.published import BACKBONES
from ichd.vision.reader import Reader
from ichd.vision.scan import HeadScan, Upright
from tests.vision.images import embed_slices, load_files, one_image_a_slice
from tests.vision.test_bundle import manifest

#: Largest difference of a probability from torch in fp32, by the precision of the CNN.
TOLERANCE = {"fp32": 1e-4, "bf16": 1e-2}

Opener = Callable[[Bundle, Path], Engine]


def openvino(precision: str) -> Opener:
    return lambda bundle, cache: OpenVinoEngine(bundle, precision=precision, threads=1, cache=EngineCache(cache))


def graph_on_cpu(precision: str) -> Opener:
    """All of the CUDA engine but its streams and its captured graph."""
    return lambda bundle, _: CudaEngine(bundle, device=torch.device("cpu"), precision=precision, at_once=3)


#: By the name of the engine.
OPENERS: dict[str, tuple[str, Opener]] = {
    **{f"openvino-cpu-{name}": (name, openvino(name)) for name in precisions() if name != "int8"},
    **{f"cudagraph-cpu-{precision}": (precision, graph_on_cpu(precision)) for precision in ("bf16", "fp32")},
}
every_engine = pytest.mark.parametrize(("precision", "opener"), OPENERS.values(), ids=OPENERS)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engine-cache")


@pytest.fixture(scope="module")
def demo() -> Bundle:
    return load_bundle(demo_bundle())


@pytest.fixture(scope="module")
def squeezed(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The published SE-ResNeXt on a small grid of the whole image, random weights, the last layer wide."""
    torch.manual_seed(11)
    described = manifest(
        network=NetworkSpec(backbone=BACKBONES["seresnext50"]), input=InputSpec(image_size=96, quantise_bits=8)
    )
    network = CnnLstm(described.network)
    torch.nn.init.normal_(network.decoder.fc.weight)
    folder = tmp_path_factory.mktemp("squeezed")
    save_bundle(folder, described, network.state_dict())
    return load_bundle(folder)


@pytest.fixture(scope="module")
def phantoms() -> list[HeadScan]:
    """One of each kind of bleed, and one without."""
    return [
        scan_of(PhantomRecipe(seed=2**41 + n, bleeds=kinds, rows=256, voxel_mm=2.0, slices=8))
        for n, kinds in enumerate([(), *((kind,) for kind in BLEED_KINDS)])
    ]


def scan_of(recipe: PhantomRecipe) -> HeadScan:
    phantom = render(recipe)
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


def probabilities(engine: Engine, scan: HeadScan) -> NDArray[np.float64]:
    return np.array([s.probabilities for s in Reader(engine).read(scan).slices])


@pytest.fixture(scope="module", params=["demo", "squeezed"])
def told(request: pytest.FixtureRequest, phantoms: list[HeadScan]) -> tuple[Bundle, list[NDArray[np.float64]]]:
    """A bundle, and what torch in fp32 says of each phantom."""
    bundle: Bundle = request.getfixturevalue(request.param)
    reference = EagerEngine(bundle, device="cpu", threads=1)
    return bundle, [probabilities(reference, scan) for scan in phantoms]


@every_engine
def test_phantoms_are_read_as_torch_reads_them(
    precision: str,
    opener: Opener,
    told: tuple[Bundle, list[NDArray[np.float64]]],
    cache: Path,
    phantoms: list[HeadScan],
) -> None:
    bundle, expected = told
    engine = opener(bundle, cache)
    for scan, expected_SC in zip(phantoms, expected, strict=True):
        assert np.abs(probabilities(engine, scan) - expected_SC).max() <= TOLERANCE[precision]
    assert np.ptp(np.concatenate(expected), axis=0).max() > 0.1, "a model that always says the same shows nothing"


@pytest.mark.skipif("ICHD_TEST_DATA" not in os.environ, reason="ICHD_TEST_DATA is not set")
@every_engine
def test_the_real_head_is_read_as_torch_reads_it(precision: str, opener: Opener, cache: Path, demo: Bundle) -> None:
    scan = load_files(sorted(Path(os.environ["ICHD_TEST_DATA"], "head-ct-ge").glob("*.dcm")))
    expected = probabilities(EagerEngine(demo, device="cpu", threads=1), scan)
    assert np.abs(probabilities(opener(demo, cache), scan) - expected).max() <= TOLERANCE[precision]


@every_engine
def test_the_same_scan_gives_the_same_bits(
    precision: str, opener: Opener, cache: Path, squeezed: Bundle, phantoms: list[HeadScan]
) -> None:
    first, again = opener(squeezed, cache), opener(squeezed, cache)
    said = probabilities(first, phantoms[0])
    assert np.array_equal(said, probabilities(first, phantoms[0]))
    assert np.array_equal(said, probabilities(again, phantoms[0]))
    assert first.fingerprint == again.fingerprint


@every_engine
@pytest.mark.parametrize("model", ["demo", "squeezed"])
def test_a_slice_alone_is_the_slice_among_others(
    precision: str, opener: Opener, model: str, cache: Path, phantoms: list[HeadScan], request: pytest.FixtureRequest
) -> None:
    engine, scan = opener(request.getfixturevalue(model), cache), phantoms[1]
    centre = (120.0, 130.0)
    together = embed_slices(engine, scan.hu_SHW, scan.pixel_spacing_mm, centre)
    alone = [embed_slices(engine, slice_HW[None], scan.pixel_spacing_mm, centre) for slice_HW in scan.hu_SHW]
    assert np.array_equal(together, np.concatenate(alone))


@every_engine
def test_warming_up_comes_before_everything_and_changes_nothing(
    precision: str, opener: Opener, cache: Path, demo: Bundle, phantoms: list[HeadScan]
) -> None:
    cold, warm = opener(demo, cache), opener(demo, cache)
    warm.warm_up()
    assert np.array_equal(probabilities(cold, phantoms[0]), probabilities(warm, phantoms[0]))


@every_engine
def test_slices_of_several_scans_are_seen_together(
    precision: str, opener: Opener, cache: Path, demo: Bundle, phantoms: list[HeadScan]
) -> None:
    engine = opener(demo, cache)
    parts = [Part(hu_SHW=scan.hu_SHW, pixel_spacing_mm=scan.pixel_spacing_mm) for scan in phantoms[:3]]
    together = engine.embed(parts)
    for part, embeddings in zip(parts, together, strict=True):
        assert np.array_equal(embed_slices(engine, part.hu_SHW, part.pixel_spacing_mm), embeddings)


def test_engines_have_names_and_fingerprints_of_their_own(cache: Path, demo: Bundle, squeezed: Bundle) -> None:
    engines = [EagerEngine(demo, device="cpu", threads=1), *(opener(demo, cache) for _, opener in OPENERS.values())]
    assert engines[0].name == "torch-cpu-fp32"
    assert [engine.name for engine in engines[1:]] == list(OPENERS)
    engines.append(EagerEngine(demo, device="cpu", threads=2))
    engines += [opener(squeezed, cache) for _, opener in OPENERS.values()]
    assert len({engine.fingerprint for engine in engines}) == len(engines)
