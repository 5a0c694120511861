"""Plane normals: unit, at right angles, and pointing to the head however an image is laid out."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ichd.domain.geometry import Orientation, Vector, degrees_from_axial, dot, holes, holes_in_stacks, slice_normal

AXIAL: Orientation = (1, 0, 0, 0, 1, 0)
ANGLES = st.floats(-math.pi, math.pi)


def rotated(yaw: float, pitch: float, roll: float) -> Orientation:
    """Rows and columns of an axial image turned about z, then x, then y."""

    def turn(v: Vector) -> Vector:
        x, y, z = v
        x, y = x * math.cos(yaw) - y * math.sin(yaw), x * math.sin(yaw) + y * math.cos(yaw)
        y, z = y * math.cos(pitch) - z * math.sin(pitch), y * math.sin(pitch) + z * math.cos(pitch)
        x, z = x * math.cos(roll) + z * math.sin(roll), -x * math.sin(roll) + z * math.cos(roll)
        return x, y, z

    return (*turn((1, 0, 0)), *turn((0, 1, 0)))


@given(ANGLES, ANGLES, ANGLES)
def test_a_normal_is_a_unit_vector_at_right_angles_to_the_image(yaw: float, pitch: float, roll: float) -> None:
    orientation = rotated(yaw, pitch, roll)
    normal = slice_normal(orientation)
    assert normal is not None
    assert math.isclose(math.hypot(*normal), 1, abs_tol=1e-9)
    assert abs(dot(normal, orientation[:3])) < 1e-9
    assert abs(dot(normal, orientation[3:])) < 1e-9
    assert normal[2] >= 0


@given(ANGLES, ANGLES, ANGLES)
def test_flipping_and_transposing_an_image_keep_its_normal(yaw: float, pitch: float, roll: float) -> None:
    r1, r2, r3, c1, c2, c3 = rotated(yaw, pitch, roll)
    normal = slice_normal((r1, r2, r3, c1, c2, c3))
    assert normal is not None
    assume(normal[2] > 1e-6)  # a plane that holds the body's long axis has no side towards the head
    for other in ((c1, c2, c3, r1, r2, r3), (-r1, -r2, -r3, c1, c2, c3), (r1, r2, r3, -c1, -c2, -c3)):
        assert slice_normal(other) == pytest.approx(normal, abs=1e-9)


@given(ANGLES, st.floats(-89, 89))
def test_gantry_tilt_is_measured_whatever_the_turn_of_the_image(yaw: float, tilt: float) -> None:
    normal = slice_normal(rotated(yaw, math.radians(tilt), 0))
    assert normal is not None
    assert degrees_from_axial(normal) == pytest.approx(abs(tilt), abs=1e-4)


@pytest.mark.parametrize(
    ("orientation", "degrees"),
    [
        (AXIAL, 0),
        ((-1, 0, 0, 0, -1, 0), 0),  # prone or rotated by half a turn
        ((1, 0, 0, 0, -1, 0), 0),  # mirrored
        ((1, 0, 0, 0, 0, -1), 90),  # coronal
        ((0, 1, 0, 0, 0, -1), 90),  # sagittal
        ((1, 0, 0, 0, 0.939693, -0.342020), 20),
    ],
)
def test_degrees_from_axial_worked(orientation: Orientation, degrees: float) -> None:
    normal = slice_normal(orientation)
    assert normal is not None
    assert degrees_from_axial(normal) == pytest.approx(degrees, abs=1e-3)


@pytest.mark.parametrize(
    "orientation",
    [
        (0, 0, 0, 0, 0, 0),
        (1, 0, 0, 1, 0, 0),
        (2, 0, 0, 0, 1, 0),
        (1, 0, 0, 0.1, 1, 0),
        (math.nan, 0, 0, 0, 1, 0),
        (math.inf, 0, 0, 0, 1, 0),
    ],
)
def test_what_is_no_pair_of_directions_has_no_normal(orientation: Orientation) -> None:
    assert slice_normal(orientation) is None


def test_directions_rounded_to_three_digits_are_taken() -> None:
    assert slice_normal((1, 0, 0, 0, 0.927, -0.375)) is not None


@given(st.tuples(*[st.floats()] * 6))
def test_any_six_numbers_give_a_unit_normal_or_none(orientation: Orientation) -> None:
    normal = slice_normal(orientation)
    assert normal is None or math.isclose(math.hypot(*normal), 1, abs_tol=1e-9)


@pytest.mark.parametrize(
    ("positions_mm", "found"),
    [
        ([], []),
        ([3.0], []),
        ([0, 5, 10, 15], []),
        ([0, 4.2, 8.4, 9.5, 16.9, 24.3], []),  # thin, a step, thick: a real protocol
        ([0, 2.5, 5, 7.5, 17.5, 27.5, 37.5], []),
        ([0, 5, 10, 40, 45], [(2, 30)]),
        ([0, 5, 10, 25, 30], [(2, 15)]),  # two slices are missing: three times the usual step to the millimetre
        ([0, 5, 10, 20, 25], [(2, 10)]),  # one
        ([0, 5, 15, 25, 30], []),  # every other one: thicker in the middle, perhaps
        ([0, 1, 2, 3, 20, 21, 22, 39, 40], [(3, 17), (6, 17)]),
    ],
)
def test_holes(positions_mm: list[float], found: list[tuple[int, float]]) -> None:
    assert holes(positions_mm) == found


def stack(series: int, *heights: float, orientation: Orientation = AXIAL) -> list[tuple[int, Vector, Orientation]]:
    return [(series, (-120.0, -130.0, z), orientation) for z in heights]


WHOLE = (0, 5, 10, 15, 20, 25, 30, 35)
SAGITTAL: Orientation = (0, 1, 0, 0, 0, -1)


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        (stack(1, *WHOLE), 0),
        (stack(1, *reversed(WHOLE)), 0),
        (stack(1, 0, 5, 10, 30, 35, 40, 45), 1),
        (stack(1, 0, 5, 10, 30, 35, 40, 60, 65, 70), 2),
        # One slice, in the middle; and on purpose, thin below and thick above.
        (stack(1, 0, 5, 10, 20, 25, 30), 1),
        (stack(1, 0, 0.6, 1.2, 2.4, 3.0, 3.6, 4.8, 5.4, 6.0), 2),
        (stack(1, 0, 2.5, 5, 7.5, 12.5, 17.5, 22.5, 27.5), 0),
        (stack(1, 0, 4.9, 9.8, 14.8, 19.6, 24.5, 29.5), 0),
        # What one series lacks, another one does not fill.
        (stack(1, 0, 5, 10, 30, 35, 40, 45) + stack(2, 15, 20, 25, 30, 35, 40), 1),
        # The same places again and again, as in perfusion; and a view for planning, at a right angle, in the series.
        (stack(1, *WHOLE, *WHOLE), 0),
        ([*stack(1, *WHOLE), (1, (200.0, 0.0, 0.0), SAGITTAL)], 0),
        # Too few to tell; no geometry; no plane.
        (stack(1, 0, 5, 10, 30, 35), 0),
        ([(1, None, AXIAL)] * 8, 0),
        ([(1, (0.0, 0.0, 40.0 * n), None) for n in range(8)], 0),
        (stack(1, 0, 5, 10, 30, 35, 40, 45, orientation=(0, 0, 0, 0, 0, 0)), 0),
    ],
)
def test_holes_in_stacks(slices: list[tuple[int, Vector | None, Orientation | None]], expected: int) -> None:
    assert holes_in_stacks(slices) == expected
