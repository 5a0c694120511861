"""What passes as a head and what does not."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ichd.domain.errors import NotAnalysable
from ichd.domain.reason import Reason
from ichd.vision.headness import look_at_sections, require_head
from ichd.vision.scan import HeadScan, Upright

from .images import disc, one_image_a_slice


def scan_of(sections: list[NDArray[np.int16]], spacing_mm: float = 1.0) -> HeadScan:
    z_mm = tuple(5.0 * s for s in range(len(sections)))
    return HeadScan(
        hu_SHW=np.stack(sections),
        z_mm=z_mm,
        sources=one_image_a_slice(z_mm),
        pixel_spacing_mm=(spacing_mm, spacing_mm),
        study_instance_uid="1.2.3",
        series_instance_uid="1.2.3.4",
        upright=Upright(transposed=False, flipped_rows=False, flipped_columns=False),
    )


def head(outer_mm: float = 170.0, *, opening_degrees: float = 0.0, brain_hu: int = 35) -> NDArray[np.int16]:
    """Scalp, a skull of 8 mm (with a gap), brain, noise."""
    rows, columns = np.mgrid[:256, :256] - 127.5
    radius, angle = np.hypot(rows, columns), np.degrees(np.arctan2(rows, columns)) % 360
    section = np.full((256, 256), -1000.0)
    section[radius <= outer_mm / 2] = 20
    skull = (radius <= outer_mm / 2 - 6) & (radius > outer_mm / 2 - 14) & (angle >= opening_degrees)
    section[skull] = 1100
    section[radius <= outer_mm / 2 - 14] = brain_hu
    noise = np.random.default_rng(0).normal(0, 12, section.shape)
    return (section + noise).astype(np.int16)


@pytest.mark.parametrize(
    "section",
    [
        head(),
        head(95.0),  # a neonate
        head(opening_degrees=120),  # a third of the ring taken by a surgeon
        head(brain_hu=80),  # contrast
    ],
    ids=["adult", "neonate", "craniectomy", "contrast"],
)
@pytest.mark.parametrize("count", [1, 28])
def test_heads_pass(section: NDArray[np.int16], count: int) -> None:
    require_head(scan_of([section] * count))


def chest() -> NDArray[np.int16]:
    section = disc(256, spacing_mm=1.5, diameter_mm=330, hu=40)
    for column in (75.0, 180.0):
        section[disc(256, spacing_mm=1.5, diameter_mm=120, hu=1, centre=(125.0, column)) == 1] = -850
    return section


def neck() -> NDArray[np.int16]:
    section = disc(256, spacing_mm=1.0, diameter_mm=130, hu=50)
    section[disc(256, spacing_mm=1.0, diameter_mm=35, hu=1, centre=(140.0, 127.0)) == 1] = 900
    section[disc(256, spacing_mm=1.0, diameter_mm=18, hu=1, centre=(95.0, 127.0)) == 1] = -1000
    return section


@pytest.mark.parametrize(
    ("section", "spacing_mm"),
    [(chest(), 1.5), (neck(), 1.0), (np.full((256, 256), -1000, dtype=np.int16), 1.0)],
    ids=["chest", "neck", "air"],
)
def test_everything_else_is_refused_with_its_numbers(section: NDArray[np.int16], spacing_mm: float) -> None:
    with pytest.raises(NotAnalysable, match=r"0 of 5 sections.* mm across, bone around") as caught:
        require_head(scan_of([section] * 5, spacing_mm))
    assert caught.value.reason is Reason.NOT_A_HEAD


def plaster() -> NDArray[np.int16]:
    """Water in a ring of plaster: by size, ring and HU it is a head."""
    section = disc(256, spacing_mm=1.0, diameter_mm=180, hu=900)
    section[disc(256, spacing_mm=1.0, diameter_mm=164, hu=1) == 1] = 20
    return section


@pytest.mark.parametrize(
    ("section", "spacing_mm"),
    [
        (disc(256, spacing_mm=1.5, diameter_mm=320, hu=40), 1.5),  # a body-sized cylinder
        (disc(256, spacing_mm=1.0, diameter_mm=180, hu=0), 1.0),  # a water phantom of a head's size
        (plaster(), 1.0),
        (np.full((256, 256), 40, dtype=np.int16), 1.0),
    ],
    ids=["cylinder", "water", "plaster", "flat"],
)
@pytest.mark.parametrize("noise_hu", [0.0, 5.0])
def test_what_is_alike_everywhere_is_an_object_of_quality_control(
    section: NDArray[np.int16], spacing_mm: float, noise_hu: float
) -> None:
    noise = np.random.default_rng(1).normal(0, noise_hu, section.shape)
    with pytest.raises(NotAnalysable, match="alike everywhere") as caught:
        require_head(scan_of([(section + noise).astype(np.int16)] * 12, spacing_mm))
    assert caught.value.reason is Reason.QUALITY_CONTROL_OBJECT


def test_how_much_of_a_head_is_there() -> None:
    base, brain, vertex = head(), head(), head(85.0)
    base[60:196, 60:196] = 400  # petrous bone
    base[120:136, 80:100] = -900  # air cells
    whole = require_head(scan_of([base, *[brain] * 8, vertex]))
    assert (whole.reaches_base, whole.reaches_vertex) == (True, True)
    assert whole.whole
    assert not require_head(scan_of([*[brain] * 8, vertex])).reaches_base
    assert not require_head(scan_of([base, *[brain] * 8])).reaches_vertex


def test_a_few_sections_are_not_enough() -> None:
    with pytest.raises(NotAnalysable):
        require_head(scan_of([head()] * 2 + [neck()] * 10))
    require_head(scan_of([head()] * 6 + [neck()] * 6))


def test_numbers_of_a_known_section() -> None:
    (section,) = look_at_sections(scan_of([head(opening_degrees=90)]))
    assert section.diameter_mm == pytest.approx(170, abs=4)
    assert section.ring == pytest.approx(0.75, abs=0.03)
    assert section.air == 0
    assert section.soft > 0.98
