"""What is no HeadScan, with its coded reason."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ichd.domain.errors import NotAnalysable
from ichd.domain.reason import Reason

from .images import Image, load_files, ramp
from .loading import refusal


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"orientation": (1, 0, 0, 0, 0, -1)}, Reason.NOT_AXIAL),
            ({"orientation": (1, 0, 0, 1, 0, 0)}, Reason.MISSING_GEOMETRY),
            ({"orientation": ()}, Reason.MISSING_GEOMETRY),
            ({"position": (0.0, 0.0)}, Reason.MISSING_GEOMETRY),
            ({"spacing": (0.0, 1.0)}, Reason.MISSING_GEOMETRY),
            ({"spacing": (1e-310, 1e-310)}, Reason.MISSING_GEOMETRY),
            ({"slope": None}, Reason.NO_HOUNSFIELD_UNITS),
            ({"intercept": None}, Reason.NO_HOUNSFIELD_UNITS),
            ({"slope": 0.0}, Reason.NO_HOUNSFIELD_UNITS),
            ({"photometric": "RGB"}, Reason.PIXELS_UNREADABLE),
            ({"bits_stored": 12, "high_bit": 15}, Reason.PIXELS_UNREADABLE),
            ({"frames": 3}, Reason.MULTI_FRAME),
            ({"stored": ramp(8, 8)}, Reason.PIXELS_UNREADABLE),
        ],
    )
    def test_of_one_image(self, tmp_path: Path, changes: dict[str, Any], reason: Reason) -> None:
        assert refusal(tmp_path, replace(Image(stored=ramp()), **changes)).reason is reason

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"stored": ramp(24, 20)}, "image sizes"),
            ({"series_instance_uid": "1.2.9"}, "series"),
            ({"frame_of_reference_uid": "1.2.9"}, "frames of reference"),
            ({"orientation": (1, 0, 0, 0, 0.995, 0.0998)}, "not parallel"),
            ({"orientation": (-1, 0, 0, 0, -1, 0)}, "not parallel"),  # same plane, turned: does not stack
            ({"spacing": (1.0, 1.1)}, "Pixel Spacing"),
        ],
    )
    def test_of_slices_that_dont_belong_together(self, tmp_path: Path, changes: dict[str, Any], said: str) -> None:
        image = Image(stored=ramp())
        error = refusal(tmp_path, image, replace(image, position=(0, 0, 5), **changes))
        assert error.reason is Reason.INCONSISTENT_SERIES
        assert said in error.detail

    def test_of_no_file_at_all(self) -> None:
        with pytest.raises(NotAnalysable) as caught:
            load_files([])
        assert caught.value.reason is Reason.NO_CT_IMAGES

    def test_of_missing_foreign_and_short_files(self, tmp_path: Path) -> None:
        whole = Image(stored=ramp()).write(tmp_path / "whole.dcm")
        foreign = tmp_path / "foreign.dcm"
        foreign.write_bytes(b"no image" * 100)
        short = tmp_path / "short.dcm"
        short.write_bytes(whole.read_bytes()[:-300])
        for path in (tmp_path / "missing.dcm", foreign, short):
            with pytest.raises(NotAnalysable) as caught:
                load_files([path])
            assert caught.value.reason is Reason.FILE_DAMAGED, path

    def test_of_pixel_data_shorter_than_the_image(self, tmp_path: Path) -> None:
        dataset = Image(stored=ramp()).dataset()
        dataset.PixelData = dataset.PixelData[:500]
        dataset.save_as(tmp_path / "half.dcm", enforce_file_format=True)
        with pytest.raises(NotAnalysable, match="500 of 960 bytes") as caught:
            load_files([tmp_path / "half.dcm"])
        assert caught.value.reason is Reason.FILE_DAMAGED

    @pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom comments on each flaw
    @settings(max_examples=80, deadline=None)
    @given(
        damage=st.lists(st.tuples(st.integers(0, 1200), st.integers(0, 255)), min_size=1, max_size=6),
        cut=st.integers(0, 400),
    )
    def test_of_damaged_bytes_is_coded_and_nothing_else_escapes(
        self, tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, int]], cut: int
    ) -> None:
        path = Image(stored=ramp(16, 16)).write(tmp_path_factory.mktemp("damage") / "a.dcm")
        content = bytearray(path.read_bytes())
        for offset, value in damage:
            content[132 + offset % (len(content) - 132)] = value
        path.write_bytes(content[: len(content) - cut] if cut > 200 else content)
        try:
            scan = load_files([path])
        except NotAnalysable as error:
            assert error.detail  # noqa: PT017  whether it is refused depends on the damage
        else:
            assert scan.hu_SHW.ndim == 3
