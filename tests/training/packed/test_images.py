"""What a study's images come to before they are written."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.config import disable_value_validation

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from ichd.vision.scan import SliceSource, load_scan
from tests.training.packed.site import Image, Study, head, plain_study, write_site
from training.packed.images import LeftOut, StudyImages, highest, read_images
from training.packed.indexed import indexed_studies
from training.packed.study import UNKNOWN


def read(folder: Path, *images: Image) -> tuple[StudyImages, tuple[LeftOut, ...]]:
    (study,) = indexed_studies(write_site(folder, [Study(name="ID_a", images=images)]))
    read, left_out = read_images(study)
    assert read is not None
    return read, left_out


# The identifiers are a data set's and no UIDs, of which the daemon's reader warns.
@disable_value_validation()
def test_slices_are_those_of_the_daemon(tmp_path: Path) -> None:
    """Stored on its side and mirrored: turned upright, just as `load_scan` turns them."""
    sideways = (0.0, -1.0, 0.0, -1.0, 0.0, 0.0)
    images = [
        Image(hu_HW=head(48, 32, seed=z, shift=4), z_mm=5.0 * z, orientation=sideways, spacing_mm=(0.4, 0.6))
        for z in range(3)
    ]
    packed, left_out = read(tmp_path, *images)
    scan = load_scan([SliceSource(path=path) for path in sorted(tmp_path.rglob("*.dcm"))])
    assert np.array_equal(packed.hu_SHW, scan.hu_SHW)
    assert packed.pixel_spacing_mm == scan.pixel_spacing_mm == (0.6, 0.4)
    assert packed.z_mm == (0.0, 5.0, 10.0)
    assert left_out == ()


def test_air_is_clamped_and_the_twelve_bit_fault_is_repaired(tmp_path: Path) -> None:
    outside = Image(hu_HW=head() - np.int16(1000), intercept=0.0)
    shifted = Image(hu_HW=head(), z_mm=5, intercept=0.0, bits_stored=12, signed=False)
    packed, _ = read(tmp_path, outside, shifted)
    assert packed.hu_SHW[0].min() == -1024
    assert packed.repaired == 1
    assert np.array_equal(packed.hu_SHW[1], head())


def test_hu_that_are_not_whole_are_rounded_and_counted(tmp_path: Path) -> None:
    fine = Image(hu_HW=head(), slope=0.25, intercept=-1024.5)
    packed, _ = read(tmp_path, fine, Image(hu_HW=head(seed=1), z_mm=5))
    assert packed.hu_SHW.dtype == np.int16
    assert packed.rounded == 1
    assert np.abs(packed.hu_SHW[0] - head()).max() <= 1


def test_thin_slices_are_averaged_and_their_labels_are_the_highest(tmp_path: Path) -> None:
    labels: list[dict[str, int | None]] = [
        {"any": 0, "epidural": 0},
        {"any": 1, "epidural": None},
        {"any": 0, "epidural": 0},
    ]
    images = [
        Image(hu_HW=head(seed=index), z_mm=1.25 * index, slab=index // 2, labels=said)
        for index, said in enumerate(labels)
    ]
    packed, _ = read(tmp_path, *images)
    mean_HW = np.rint((head(seed=0).astype(float) + head(seed=1)) / 2)
    assert np.array_equal(packed.hu_SHW, [mean_HW, head(seed=2)])
    assert packed.image_ids == (("ID_a.0", "ID_a.1"), ("ID_a.2",))
    assert packed.z_mm == (0.625, 2.5)
    any_, epidural = CLASSES.index("any"), CLASSES.index("epidural")
    assert packed.labels_SC[:, any_].tolist() == [1, 0]
    assert packed.labels_SC[:, epidural].tolist() == [UNKNOWN, 0]


@given(st.lists(st.lists(st.sampled_from([1, 0, UNKNOWN]), min_size=6, max_size=6), min_size=1, max_size=5))
def test_the_highest_label_is_only_what_can_be_told(rows: Sequence[Sequence[int]]) -> None:
    found = highest(np.array(rows, dtype=np.int8)).tolist()
    for known, column in zip(found, zip(*rows, strict=True), strict=True):
        assert known == (1 if 1 in column else UNKNOWN if UNKNOWN in column else 0)


def test_an_image_of_another_size_is_left_out(tmp_path: Path) -> None:
    scout = Image(hu_HW=head(64, 64), z_mm=-5)
    packed, left_out = read(tmp_path, scout, Image(hu_HW=head()), Image(hu_HW=head(seed=1), z_mm=5))
    assert packed.image_ids == (("ID_a.1",), ("ID_a.2",))
    (lost,) = left_out
    assert lost.image_id == "ID_a.0"
    assert lost.reason == "another size than the study's other images (64x64, 48x40)"


def test_an_image_that_is_cut_short_is_left_out(tmp_path: Path) -> None:
    packed, left_out = read(tmp_path, Image(hu_HW=head()), Image(hu_HW=head(), z_mm=5, cut_to=1000))
    assert len(packed.z_mm) == 1
    assert [(lost.image_id, lost.kind) for lost in left_out] == [
        ("ID_a.1", "the file is missing, damaged or cut short")
    ]
    assert "001.dcm holds 1000 of 3840 bytes" in left_out[0].reason


def test_a_study_without_any_image_is_left_out_as_a_whole(tmp_path: Path) -> None:
    broken = Study(name="ID_b", images=[Image(hu_HW=head(), cut_to=10)])
    (study,) = indexed_studies(write_site(tmp_path, [broken]))
    nothing, left_out = read_images(study)
    assert nothing is None
    assert [lost.image_id for lost in left_out] == ["ID_b.0", None]


def test_one_file_that_is_gone_is_left_out_but_a_folder_that_is_gone_stops(tmp_path: Path) -> None:
    (study,) = indexed_studies(write_site(tmp_path, [plain_study("ID_c")]))
    (tmp_path / "ID_c" / "001.dcm").unlink()
    packed, left_out = read_images(study)
    assert packed is not None
    assert len(packed.z_mm) == 2
    assert "001.dcm is missing" in left_out[0].reason
    (tmp_path / "ID_c").rename(tmp_path / "unmounted")
    with pytest.raises(UserError, match="ID_c is not there; bring it back"):
        read_images(study)


def test_groups_say_what_is_usual_in_a_study(tmp_path: Path) -> None:
    index = write_site(tmp_path, [plain_study("ID_d")])
    (study,) = indexed_studies(index)
    assert study.groups == {"encoding": "16-bit signed -1024", "thickness": "not said", "manufacturer": "Maker"}
