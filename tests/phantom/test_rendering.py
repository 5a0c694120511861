"""The synthetic head: same seed, same bytes; each bleed in its compartment, of its shape; no label without blood."""

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from ichd.phantom import BLEED_KINDS, MIMIC_KINDS, VISIBLE_MM2, Phantom, PhantomRecipe, render

SEEDS = (30, 31, 32, 33, 34)


@cache
def small(seed: int = 1, bleeds: tuple[str, ...] = (), mimics: tuple[str, ...] = (), wild: float = 0.0) -> Phantom:
    return render(
        PhantomRecipe(
            seed=seed, bleeds=bleeds, mimics=mimics, slices=20, rows=128, voxel_mm=2.4, wild=wild, subtlety=0.2
        )
    )


def inside_skull(phantom: Phantom, index: int) -> NDArray[np.bool_]:
    """Pixels that a closed ring of bone surrounds on a slice."""
    bone: NDArray[np.bool_] = phantom.hu_SHW[index] > 180
    closed: NDArray[np.bool_] = ndimage.binary_fill_holes(ndimage.binary_closing(bone, iterations=2))
    inside: NDArray[np.bool_] = closed & ~bone
    return inside


def test_kinds_are_the_networks_classes() -> None:
    assert tuple(CLASSES) == ("any", *BLEED_KINDS)


def test_same_recipe_same_arrays() -> None:
    recipe = PhantomRecipe(seed=11, bleeds=("subdural",), slices=12, rows=96, voxel_mm=2.5, wild=0.5)
    first, second = render(recipe), render(recipe)
    assert np.array_equal(first.hu_SHW, second.hu_SHW)
    assert np.array_equal(first.label_SHW, second.label_SHW)


def test_other_seed_other_head() -> None:
    assert not np.array_equal(small(1).hu_SHW, small(2).hu_SHW)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_bleed_no_label(seed: int) -> None:
    phantom = small(seed)
    assert not phantom.label_SHW.any()
    assert not phantom.truth.any()
    assert set(phantom.volume_ml().values()) == {0.0}


def test_mimics_are_never_labelled() -> None:
    assert not small(4, mimics=MIMIC_KINDS).label_SHW.any()


@pytest.mark.parametrize("kind", BLEED_KINDS)
def test_each_kind_appears_under_its_bit_only(kind: str) -> None:
    phantom = small(5, bleeds=(kind,))
    bit = BLEED_KINDS.index(kind)
    assert np.bitwise_or.reduce(phantom.label_SHW, axis=None) == 1 << bit
    area = (phantom.label_SHW > 0).sum(axis=(1, 2)) * phantom.pixel_spacing_mm**2
    assert np.array_equal(phantom.truth[:, 1 + bit], area >= VISIBLE_MM2)
    assert np.array_equal(phantom.truth[:, 0], phantom.truth[:, 1 + bit])
    assert phantom.truth.any()


@pytest.mark.parametrize("kind", BLEED_KINDS)
def test_blood_lies_inside_the_skull(kind: str) -> None:
    phantom = small(6, bleeds=(kind,))
    index = int(np.argmax((phantom.label_SHW > 0).sum(axis=(1, 2))))
    blood = phantom.label_SHW[index] > 0
    room = ndimage.binary_dilation(inside_skull(phantom, index), iterations=2)
    assert (blood & room).sum() > 0.9 * blood.sum()


@pytest.mark.parametrize("kind", ["epidural", "subdural"])
def test_extra_axial_blood_touches_bone(kind: str) -> None:
    touching = 0
    for seed in SEEDS:
        phantom = small(seed, bleeds=(kind,))
        index = int(np.argmax((phantom.label_SHW > 0).sum(axis=(1, 2))))
        blood = phantom.label_SHW[index] > 0
        bone = ndimage.binary_dilation(phantom.hu_SHW[index] > 180, iterations=2)
        touching += bool((blood & bone).sum() > 0.1 * blood.sum())
    assert touching >= 3, "falx and tentorium excepted, extra-axial blood lies on the inner table"


def solidity(phantom: Phantom) -> float:
    """Area of the largest patch of blood over that of its convex hull: near 1 for a lens, less for a crescent."""
    index = int(np.argmax((phantom.label_SHW > 0).sum(axis=(1, 2))))
    parts, count = ndimage.label(phantom.label_SHW[index] > 0)
    largest = parts == 1 + int(np.argmax(ndimage.sum(parts > 0, parts, range(1, count + 1))))
    corners = np.argwhere(largest)[:, None, :] + np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    return float(largest.sum() / ConvexHull(corners.reshape(-1, 2)).volume)


def test_epidural_is_a_lens_and_subdural_a_crescent() -> None:
    lens = np.median([solidity(small(seed, bleeds=("epidural",))) for seed in SEEDS])
    crescent = np.median([solidity(small(seed, bleeds=("subdural",))) for seed in SEEDS])
    assert crescent < 0.75 < lens


def test_ventricular_blood_is_surrounded_by_brain_not_bone() -> None:
    phantom = small(7, bleeds=("intraventricular",))
    index = int(np.argmax((phantom.label_SHW > 0).sum(axis=(1, 2))))
    from_bone_mm = ndimage.distance_transform_edt(phantom.hu_SHW[index] < 180) * phantom.pixel_spacing_mm
    assert np.percentile(from_bone_mm[phantom.label_SHW[index] > 0], 10) > 12.0


def test_acute_blood_is_brighter_than_brain() -> None:
    phantom = small(8, bleeds=("intraparenchymal",))
    index = int(np.argmax((phantom.label_SHW > 0).sum(axis=(1, 2))))
    blood = np.median(phantom.hu_SHW[index][phantom.label_SHW[index] > 0])
    brain = np.median(phantom.hu_SHW[index][inside_skull(phantom, index)])
    assert 8 < blood - brain < 60


def test_tissues_read_as_in_practice() -> None:
    phantom = small(9)
    middle = phantom.hu_SHW[12]
    assert middle.max() > 700, "the vault has a cortical table"
    brain = middle[ndimage.binary_erosion(inside_skull(phantom, 12), iterations=4)]
    assert 22 < np.median(brain) < 42
    assert 2 < brain.std() < 16
    assert np.median(middle[64, :4]) < -900


def test_geometry_ascends_and_is_square() -> None:
    phantom = small(1)
    assert phantom.hu_SHW.shape == phantom.label_SHW.shape == (20, 128, 128)
    assert np.all(np.diff(phantom.z_mm) > 0)
    assert np.isclose(np.linalg.norm(phantom.scan.row_step), 1.0)
    assert np.allclose(phantom.scan.pose @ phantom.scan.pose.T, np.eye(3), atol=1e-5)


@pytest.mark.parametrize("slices", [1, 2, 60])
def test_any_number_of_slices(slices: int) -> None:
    assert render(PhantomRecipe(seed=3, slices=slices, rows=64, voxel_mm=3.0)).hu_SHW.shape[0] == slices


def test_wild_heads_stay_within_the_scale() -> None:
    phantom = small(12, bleeds=("epidural",), wild=1.0)
    assert phantom.hu_SHW.max() <= 3071
    assert phantom.hu_SHW.min() >= -3024


@pytest.mark.parametrize(
    "wrong",
    [
        {"bleeds": ("haemorrhoid",)},
        {"mimics": ("ghost",)},
        {"slices": 0},
        {"rows": 7},
        {"voxel_mm": 9.0},
        {"wild": 2.0},
    ],
)
def test_wrong_recipes_are_refused_with_one_sentence(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError):
        PhantomRecipe(seed=1, **wrong)  # type: ignore[arg-type]
