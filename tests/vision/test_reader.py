"""A HeadScan goes in, a Prediction comes out: calibrated, in the domain's class order, the same every time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES, conclude
from ichd.vision.bundle import Bundle, load_bundle, save_bundle
from ichd.vision.engines.eager import EagerEngine
from ichd.vision.engines.engine import Part
from ichd.vision.engines.sequence import repeatable
from ichd.vision.manifest import Calibration, InputSpec
from ichd.vision.network import CnnLstm
from ichd.vision.preprocess import HU, prepare
from ichd.vision.reader import Reader
from tests.vision.images import embed_slices

from .test_bundle import manifest
from .test_headness import head, scan_of

#: Three heads of 64 by 64 pixels.
SLICES = np.stack([head(150.0 + 10 * s)[::4, ::4] for s in range(3)])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Random weights; the last layer wide, so that classes and slices differ."""
    folder: Path = tmp_path_factory.mktemp("bundle")
    torch.manual_seed(11)
    network = CnnLstm(manifest().network)
    torch.nn.init.normal_(network.decoder.fc.weight)
    save_bundle(folder, manifest(), network.state_dict())
    return load_bundle(folder)


def with_changes(bundle: Bundle, **changes: object) -> Bundle:
    changed = bundle.manifest.model_copy(update=changes)
    return Bundle(folder=bundle.folder, manifest=changed, state_dict=bundle.state_dict)


@pytest.mark.parametrize("count", [1, 2, 37, 400])
def test_every_slice_of_a_scan_of_any_length_is_read(bundle: Bundle, count: int) -> None:
    scan = scan_of([head(150.0 + s % 30)[::4, ::4] for s in range(count)], spacing_mm=4.0)
    small = with_changes(bundle, input=InputSpec(image_size=32))
    prediction = Reader(EagerEngine(small, device="cpu")).read(scan)
    assert [s.sop_instance_uid for s in prediction.slices] == [image.sop_instance_uid for (image,) in scan.sources]
    assert [s.z_mm for s in prediction.slices] == list(scan.z_mm)
    assert all(0 < p < 1 for s in prediction.slices for p in s.probabilities)
    assert prediction.model == small.identity
    assert set(prediction.timings_ms) == {"embed", "classify"}
    conclude(prediction, bundle.rule)


def test_batches_and_engine_add_nothing_to_the_network(bundle: Bundle) -> None:
    scan = scan_of([head(150.0 + s) for s in range(19)])
    prediction = Reader(EagerEngine(bundle, device="cpu")).read(scan)
    with torch.inference_mode():
        expected = torch.sigmoid(bundle.network()(prepare(scan.hu_SHW, scan.pixel_spacing_mm, bundle.manifest.input)))
    actual = np.array([s.probabilities for s in prediction.slices])
    np.testing.assert_allclose(actual, expected.numpy(), atol=1e-5)


def test_the_same_scan_gives_the_same_bits(bundle: Bundle) -> None:
    scan = scan_of([head(150.0 + s) for s in range(5)])
    reader = Reader(EagerEngine(bundle, device="cpu"))
    first, again = reader.read(scan), Reader(EagerEngine(bundle, device="cpu")).read(scan)
    assert first.slices == reader.read(scan).slices == again.slices


def test_a_scan_that_is_read_whole_is_not_copied(bundle: Bundle) -> None:
    class Watched(EagerEngine):
        def embed(self, parts: Sequence[Part]) -> list[NDArray[np.float32]]:
            given.extend(part.hu_SHW for part in parts)
            return super().embed(parts)

    given: list[HU] = []
    scan = scan_of([head(150.0 + s) for s in range(3)])
    reader = Reader(Watched(bundle, device="cpu"))
    whole = reader.read(scan)
    known = dict(enumerate(reader.embed(scan, [0])))
    assert reader.read(scan, known=known).slices == whole.slices
    turned = reader.embed(scan, [2, 1, 0])
    assert np.array_equal(turned[::-1], reader.embed(scan, [0, 1, 2]))
    assert given[0] is scan.hu_SHW
    assert [len(hu) for hu in given] == [3, 1, 2, 3, 3]


def test_what_repeats_is_free_of_tf32_and_leaves_torch_as_it_was() -> None:
    torch.set_float32_matmul_precision("high")
    try:
        with repeatable():
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_calibration_scales_and_shifts_the_logits_of_its_class(bundle: Bundle) -> None:
    calibrated = with_changes(bundle, calibration={"subdural": Calibration(scale=0.5, bias=-2.0)})
    embeddings = embed_slices(EagerEngine(bundle, device="cpu"), SLICES, (1.0, 1.0))
    plain = EagerEngine(bundle, device="cpu").classify(embeddings)
    scaled = EagerEngine(calibrated, device="cpu").classify(embeddings)
    subdural = CLASSES.index("subdural")
    logits = np.log(plain / (1 - plain))
    np.testing.assert_allclose(scaled[:, subdural], 1 / (1 + np.exp(-(0.5 * logits[:, subdural] - 2))), atol=1e-6)
    others = [c for c in range(6) if c != subdural]
    assert np.array_equal(scaled[:, others], plain[:, others])


def test_outputs_are_brought_into_the_domains_class_order(bundle: Bundle) -> None:
    turned = with_changes(bundle, classes=tuple(reversed(CLASSES)))
    embeddings = embed_slices(EagerEngine(bundle, device="cpu"), SLICES, (1.0, 1.0))
    plain = EagerEngine(bundle, device="cpu").classify(embeddings)
    assert np.array_equal(EagerEngine(turned, device="cpu").classify(embeddings), plain[:, ::-1])


def test_extreme_logits_stay_finite(bundle: Bundle) -> None:
    sure = with_changes(bundle, calibration={name: Calibration(scale=1e6, bias=1e6) for name in CLASSES})
    probabilities = EagerEngine(sure, device="cpu").classify(np.ones((2, 512), dtype=np.float32))
    assert np.isfinite(probabilities).all()


@pytest.mark.parametrize("device", ["cuda:99", "abacus", "meta"])
def test_a_device_that_is_not_there_is_the_users_to_mend(bundle: Bundle, device: str) -> None:
    with pytest.raises(UserError, match=r"model\.device"):
        EagerEngine(bundle, device=device)
