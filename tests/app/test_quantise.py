"""int8 is made on purpose, with its loss beside it; without it, precision int8 is refused by the mend."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from ichd.app.engine import describe_engine, load_reader
from ichd.app.quantise import Loss, quantise_bundle
from ichd.domain.errors import UserError
from ichd.settings import ModelSettings
from ichd.vision.bundle import demo_bundle, load_bundle
from ichd.vision.engines.cache import EngineCache
from ichd.vision.engines.openvino import OpenVinoEngine
from tests.vision.images import embed_slices

pytest.importorskip("nncf", reason="nncf is not installed")
SLICES = np.random.default_rng(0).integers(-1000, 1500, (3, 96, 96)).astype(np.int16)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[EngineCache, Loss]:
    cache = EngineCache(tmp_path_factory.mktemp("cache"))
    return cache, quantise_bundle("phantom-demo", cache, [], phantoms=2, rows=128)


def test_it_is_refused_until_it_was_made(tmp_path: Path) -> None:
    model = ModelSettings(precision="int8", device="cpu", cache=str(tmp_path))
    for ask in (describe_engine, load_reader):
        with pytest.raises(UserError, match=r"ichd model quantise .*phantom-demo"):
            ask(model)


def test_its_loss_is_measured_and_kept(made: tuple[EngineCache, Loss]) -> None:
    cache, loss = made
    (kept,) = cache.folder.glob("*/measured.json")
    assert json.loads(kept.read_text())["auc_int8"] == loss.auc_int8
    assert loss.calibrated_on == "phantoms"
    assert (loss.calibration_slices, loss.measured_slices) == (56, 56)
    assert loss.auc_fp32.keys() == loss.auc_int8.keys() >= {"any"}
    assert 0 < loss.max_abs_diff < 1, "int8 that differs by nothing was never int8"


def test_it_reads_the_same_each_time_and_each_slice_by_itself(made: tuple[EngineCache, Loss]) -> None:
    cache, _ = made
    model = ModelSettings(precision="int8", device="cpu", cache=str(cache.folder))
    assert describe_engine(model) == "openvino on cpu in int8, ready at once"
    first, again = (load_reader(model).engine for _ in range(2))
    assert first.name == "openvino-cpu-int8"
    assert first.fingerprint == again.fingerprint
    together = embed_slices(first, SLICES, (2.3, 2.3), (47.5, 47.5))
    alone = [embed_slices(again, one[None], (2.3, 2.3), (47.5, 47.5)) for one in SLICES]
    assert np.array_equal(together, np.concatenate(alone))


@pytest.mark.skipif("ICHD_TEST_DATA" not in os.environ, reason="ICHD_TEST_DATA is not set")
def test_other_slices_make_another_model(made: tuple[EngineCache, Loss], tmp_path: Path) -> None:
    cache, other = made[0], EngineCache(tmp_path)
    series = [Path(os.environ["ICHD_TEST_DATA"], "head-ct-ge")]
    with pytest.raises(UserError, match="no readable DICOM image"):
        quantise_bundle("phantom-demo", other, [tmp_path], phantoms=1, rows=64)
    assert quantise_bundle("phantom-demo", other, series, phantoms=1, rows=64).calibrated_on == "1 series"
    bundle = load_bundle(demo_bundle())
    engines = [OpenVinoEngine(bundle, precision="int8", cache=one) for one in (cache, other)]
    assert engines[0].fingerprint != engines[1].fingerprint
