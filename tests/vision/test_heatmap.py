"""Heat maps: the network's very gradient, at its place in the stored image, whatever way round that is stored."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ichd.domain.errors import UserError
from ichd.domain.finding import (
    CLASSES,
    Finding,
    ModelIdentity,
    Prediction,
    ReadingRule,
    SlicePrediction,
    Threshold,
    conclude,
)
from ichd.domain.heatmap import HOTTEST, HeatMap, heat_map_of, maps_wanted
from ichd.phantom import BLEED_KINDS, Phantom, PhantomRecipe, render
from ichd.vision.attribution import Attribution, Grid
from ichd.vision.bundle import Bundle, demo_bundle, load_bundle
from ichd.vision.engines.eager import EagerEngine
from ichd.vision.heatmap import spread
from ichd.vision.manifest import InputSpec, Manifest, NetworkSpec, RecurrentSpec
from ichd.vision.network import CnnLstm
from ichd.vision.preprocess import head_centre, resample_hu
from ichd.vision.reader import Reader
from ichd.vision.scan import HeadScan, Upright
from ichd.vision.window import LEAST_HU
from tests.vision.images import embed_slices

from .images import Image, load_files, one_image_a_slice

TURNS = [
    Upright(transposed=transposed, flipped_rows=rows, flipped_columns=columns)
    for transposed, rows, columns in product((False, True), repeat=3)
]
BLEED = "intraparenchymal"


def random_bundle(folder: Path, network: NetworkSpec, *, image_size: int = 96) -> Bundle:
    """A bundle of random weights; timm begins with norms at nought, which would let no gradient through."""
    torch.manual_seed(7)
    built = CnnLstm(network)
    for module in built.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    manifest = Manifest(
        name="random",
        version="1",
        architecture="cnn" if network.recurrent is None else "cnn-lstm",
        network=network,
        input=InputSpec(image_size=image_size),
        intended_use="tests",
        training_data="none",
        licence="none",
    )
    return Bundle(folder=folder, manifest=manifest, state_dict=built.state_dict())


def some_scan(slices: int = 3, side: int = 96) -> HeadScan:
    hu_SHW = np.random.default_rng(3).integers(-100, 200, (slices, side, side)).astype(np.int16)
    z_mm = tuple(5.0 * index for index in range(slices))
    return HeadScan(
        hu_SHW=hu_SHW,
        z_mm=z_mm,
        sources=one_image_a_slice(z_mm),
        pixel_spacing_mm=(0.5, 0.5),
        study_instance_uid="1.1",
        series_instance_uid="1.1.1",
        upright=TURNS[0],
    )


@pytest.mark.parametrize(
    ("backbone", "pooling"), [("resnet18", "avg"), ("resnet18", "max"), ("regnetx_002", "catavgmax")]
)
def test_gradients_are_those_of_the_whole_network(tmp_path: Path, backbone: str, pooling: str) -> None:
    """One slice forward and the sequence model backward give what autograd gives through every slice."""
    recurrent = RecurrentSpec(layers=2, hidden=16)
    single = random_bundle(tmp_path, NetworkSpec(backbone=backbone, global_pool=pooling, recurrent=recurrent))
    # In double precision a difference is one of method, not of rounding.
    bundle = replace(single, state_dict={name: tensor.double() for name, tensor in single.state_dict.items()})
    network = bundle.network()
    windows = torch.randn(4, 3, 96, 96, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        embeddings_SF = network.embed(windows).numpy()
    seen: list[torch.Tensor] = []
    stage = {"resnet18": "layer3", "regnetx_002": "s3"}[backbone]
    network.backbone.get_submodule(stage).register_forward_hook(lambda _m, _i, output: seen.append(output))
    logits_SC = network(windows.requires_grad_())

    seen_alone = Attribution(bundle).look(windows[2:3].detach(), 2, ["subdural"], embeddings_SF)

    (whole_SKhw,) = torch.autograd.grad(logits_SC[2, CLASSES.index("subdural")], seen[0])
    cells_Khw, (gradient_Khw,) = seen_alone.cells_Khw, seen_alone.gradients_Khw
    assert cells_Khw.shape == whole_SKhw.shape[1:]
    assert float(whole_SKhw[2].abs().max()) > 0
    torch.testing.assert_close(cells_Khw, seen[0][2].detach(), rtol=1e-8, atol=0.0)
    torch.testing.assert_close(gradient_Khw, whole_SKhw[2], rtol=1e-8, atol=1e-10 * float(whole_SKhw[2].abs().max()))


def test_a_model_that_reads_slices_alone_says_the_same_alone(tmp_path: Path) -> None:
    bundle = random_bundle(tmp_path, NetworkSpec(backbone="resnet18", recurrent=None))
    scan, reader = some_scan(), Reader(EagerEngine(bundle, device="cpu"))
    embeddings_SF = reader.embed(scan, range(3))

    maps = Attribution(bundle).maps(scan, 1, CLASSES, embeddings_SF)

    assert [m.class_name for m in maps] == list(CLASSES)
    assert [m.probability_alone for m in maps] == pytest.approx(reader.read(scan).slices[1].probabilities, rel=1e-4)


def test_every_image_of_an_averaged_slice_has_its_map(tmp_path: Path) -> None:
    bundle = random_bundle(tmp_path, NetworkSpec(backbone="resnet18", recurrent=None))
    scan = some_scan()
    averaged = replace(scan, sources=(scan.sources[0] + scan.sources[1], *scan.sources[1:]))

    maps = Attribution(bundle).maps(averaged, 0, ["any"], np.zeros((3, 512), dtype=np.float32))

    assert [m.sop_instance_uid for m in maps] == ["1.2.0", "1.2.1"]
    assert maps[0].cells == maps[1].cells


@pytest.mark.parametrize(
    "backbone",
    ["mixer_s32_224", "vit_tiny_patch16_224", "swin_s3_tiny_224", "hrnet_w18_small", "selecsls42"],
)
def test_a_backbone_without_feature_maps_is_refused(tmp_path: Path, backbone: str) -> None:
    network = NetworkSpec(backbone=backbone, recurrent=None)
    bundle = random_bundle(tmp_path, network, image_size=224)

    with pytest.raises(UserError, match="no feature maps"):
        Attribution(bundle)


@cache
def bleeding() -> Phantom:
    """A head with blood on one side, in 14 slices."""
    recipe = PhantomRecipe(seed=910_003, bleeds=(BLEED,), slices=14, rows=192, voxel_mm=2.0, subtlety=0.2)
    phantom = render(recipe)
    # Its scanner pads with -2000.
    return replace(phantom, hu_SHW=np.maximum(phantom.hu_SHW, LEAST_HU))


@cache
def demonstration() -> tuple[Attribution, NDArray[np.float32]]:
    """The model that ships, and its embeddings of the bleeding head."""
    bundle, phantom = load_bundle(demo_bundle()), bleeding()
    engine = EagerEngine(bundle, device="cpu")
    spacing_mm = (phantom.pixel_spacing_mm, phantom.pixel_spacing_mm)
    centre = head_centre(phantom.hu_SHW, spacing_mm)
    return Attribution(bundle), embed_slices(engine, phantom.hu_SHW, spacing_mm, centre)


def as_stored(image_HW: NDArray[np.int16], turn: Upright) -> NDArray[np.int16]:
    """An upright image as a scanner would store it that `turn` makes upright."""
    flipped = image_HW[:: -1 if turn.flipped_rows else 1, :: -1 if turn.flipped_columns else 1]
    return np.ascontiguousarray(flipped.T if turn.transposed else flipped)


def orientation_of(turn: Upright) -> tuple[float, ...]:
    leftward = (-1.0 if turn.flipped_columns else 1.0, 0.0, 0.0)
    backward = (0.0, -1.0 if turn.flipped_rows else 1.0, 0.0)
    return (*backward, *leftward) if turn.transposed else (*leftward, *backward)


@pytest.mark.parametrize("turn", TURNS, ids=str)
def test_heat_lies_on_the_blood_in_each_of_the_eight_orientations(tmp_path: Path, turn: Upright) -> None:
    phantom = bleeding()
    blood_SHW = phantom.label_SHW >> np.uint8(BLEED_KINDS.index(BLEED)) & 1
    index = int(blood_SHW.sum(axis=(1, 2)).argmax())
    spacing = (phantom.pixel_spacing_mm, phantom.pixel_spacing_mm)
    # Turned rows against columns, the normal points to the feet: positions grow the other way along it.
    paths = [
        Image(
            stored=as_stored(hu_HW, turn),
            orientation=orientation_of(turn),
            position=(0.0, 0.0, 5.0 * z),
            spacing=spacing,
        ).write(tmp_path / f"{z}.dcm")
        for z, hu_HW in enumerate(phantom.hu_SHW)
    ]
    scan = load_files(paths)
    assert scan.upright == turn
    feet_first = np.array_equal(scan.hu_SHW, phantom.hu_SHW)
    assert feet_first or np.array_equal(scan.hu_SHW[::-1], phantom.hu_SHW)
    attribution, embeddings_SF = demonstration()

    (found,) = attribution.maps(
        scan,
        index if feet_first else -1 - index + len(paths),
        [BLEED],
        embeddings_SF[:: 1 if feet_first else -1].copy(),
    )

    heat_HW = spread(found, *as_stored(phantom.hu_SHW[index], turn).shape)
    blood_HW = as_stored(blood_SHW[index].astype(np.int16), turn) > 0
    hottest = np.unravel_index(heat_HW.argmax(), heat_HW.shape)
    nearest_mm = np.hypot(*(np.argwhere(blood_HW) - hottest).T).min() * phantom.pixel_spacing_mm
    # Cells are 19 mm wide.
    assert nearest_mm <= 10
    assert heat_HW[blood_HW].mean() > 4 * heat_HW[~blood_HW].mean()


@settings(deadline=None, max_examples=40)
@given(
    turn=st.sampled_from(TURNS),
    shape=st.tuples(st.integers(40, 90), st.integers(40, 90)),
    spacing_mm=st.tuples(st.floats(0.4, 1.2), st.floats(0.4, 1.2)),
    field_of_view_mm=st.one_of(st.none(), st.floats(50, 120)),
    place=st.tuples(st.floats(0.2, 0.8), st.floats(0.2, 0.8)),
)
def test_a_spot_of_the_models_grid_is_shown_where_it_came_from(
    turn: Upright,
    shape: tuple[int, int],
    spacing_mm: tuple[float, float],
    field_of_view_mm: float | None,
    place: tuple[float, float],
) -> None:
    """What one pixel of the stored image contributes to the model's grid is spread around that very pixel."""
    spec = InputSpec(image_size=48, field_of_view_mm=field_of_view_mm)
    centre = None if field_of_view_mm is None else ((shape[0] - 1) * 0.45, (shape[1] - 1) * 0.55)
    stored_HW = np.full(shape[::-1] if turn.transposed else shape, -1024, dtype=np.int16)
    spot = (round(place[0] * (stored_HW.shape[0] - 1)), round(place[1] * (stored_HW.shape[1] - 1)))
    stored_HW[spot[0] - 1 : spot[0] + 2, spot[1] - 1 : spot[1] + 2] = 3000
    grid_GG = resample_hu(turn.apply(stored_HW)[None], spacing_mm, spec, centre=centre)[0].numpy() + 1024
    assume(grid_GG.max() >= 800)  # inside the field of view
    heat_hw = (grid_GG / grid_GG.max() * HOTTEST).astype(np.uint8)
    source = one_image_a_slice([0.0])[0][0]

    found = Grid(shape, spacing_mm, spec, centre).map(heat_hw, turn, source, "any", 0.5)

    heat_HW = spread(found, *stored_HW.shape)
    rows, columns = np.indices(stored_HW.shape)
    weights = heat_HW**2 / (heat_HW**2).sum()
    middle = ((rows * weights).sum(), (columns * weights).sum())
    assert found.cell_mm == pytest.approx(
        np.multiply(found.cell_pitch, spacing_mm[::-1] if turn.transposed else spacing_mm)
    )
    assert np.hypot(middle[0] - spot[0], middle[1] - spot[1]) <= 0.75 * max(*found.cell_pitch, 1.0)


def heat_map(cells: Sequence[bytes] = (b"\x00\xff", b"\x10\x20"), **changes: object) -> HeatMap:
    heat = HeatMap(
        sop_instance_uid="1.2.3",
        frame_number=None,
        class_name="subdural",
        cells=tuple(cells),
        first_cell=(9.5, 9.5),
        cell_pitch=(20.0, 20.0),
        cell_mm=(10.0, 10.0),
        probability_alone=0.25,
    )
    return replace(heat, **changes)  # type: ignore[arg-type]


def test_heat_is_between_none_and_one_and_nothing_is_hot_that_was_not_seen() -> None:
    heat_HW = spread(heat_map(), 60, 80)

    assert heat_HW.dtype == np.float32
    assert float(heat_HW.max()) == 1.0
    assert float(heat_HW.min()) == 0.0
    assert not heat_HW[41:].any()
    assert not heat_HW[:, 41:].any()
    assert not spread(heat_map([b"\x00\x00"]), 60, 80).any()


def test_a_map_is_read_back_as_it_was_written() -> None:
    for heat in (heat_map(), heat_map(frame_number=7, class_name="any")):
        assert heat_map_of(heat.to_record()) == heat


@pytest.mark.parametrize("cells", [(), (b"",), (b"\x00", b"\x00\x01")])
def test_cells_form_a_grid(cells: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="rows of cells"):
        heat_map(cells)


def finding(*probabilities: tuple[float, ...]) -> Finding:
    """Slices with these probabilities of any and subdural."""
    return conclude(
        Prediction(
            study_instance_uid="1.1",
            series_instance_uid="1.1.1",
            model=ModelIdentity(name="m", version="1", weights_sha256="", bundle_sha256=""),
            slices=tuple(
                SlicePrediction(
                    sop_instance_uid=f"1.2.{index}",
                    sop_class_uid="",
                    z_mm=5.0 * index,
                    probabilities=(p_any, 0.0, 0.0, 0.0, p_subdural, 0.0),
                )
                for index, (p_any, p_subdural) in enumerate(probabilities)
            ),
        ),
        ReadingRule(
            thresholds={name: Threshold(present_from=0.8, absent_below=0.4) for name in CLASSES}, max_key_slices=2
        ),
    )


@pytest.mark.parametrize(
    ("probabilities", "only", "wanted"),
    [
        (((0.1, 0.1), (0.2, 0.1)), (), []),
        (((0.9, 0.1), (0.5, 0.1), (0.7, 0.1)), (), [("1.2.0", ("any",)), ("1.2.2", ("any",))]),
        (((0.9, 0.5), (0.1, 0.7)), (), [("1.2.0", ("any", "subdural")), ("1.2.1", ("subdural",))]),
        (((0.9, 0.5), (0.1, 0.7)), ("subdural",), [("1.2.1", ("subdural",)), ("1.2.0", ("subdural",))]),
        (((0.9, 0.1), (0.1, 0.1)), ("subdural",), []),
    ],
    ids=["nothing called", "one class", "two classes share a slice", "one class asked for", "asked for, but absent"],
)
def test_maps_are_wanted_of_the_key_slices_of_what_is_not_absent(
    probabilities: tuple[tuple[float, ...], ...], only: tuple[str, ...], wanted: list[tuple[str, tuple[str, ...]]]
) -> None:
    found = maps_wanted(finding(*probabilities), only=only)

    assert [(w.slice.sop_instance_uid, w.class_names) for w in found] == wanted
