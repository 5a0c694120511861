"""From files to pictures and the objects that hold them, whatever the scanner wrote; others show the same."""

from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread

from ichd.domain.errors import NotAnalysable
from ichd.domain.finding import Finding
from ichd.domain.heatmap import HeatMap
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.pipeline.pictures import display_windows, heat_fields, heat_pictures, key_images, summary_pictures
from ichd.report.capture import build_heat_captures, build_summary
from ichd.report.document import encode
from ichd.report.parametric import HOTTEST, build_parametric_map
from ichd.report.presentation import build_presentation
from ichd.report.summary import PANEL, draw_summary
from ichd.vision.pixels import read_pixels
from ichd.vision.slices import read_header
from ichd.vision.window import BRAIN, SUBDURAL, apply_window
from tests.peers.orthanc import Orthanc, orthanc
from tests.pipeline.shown import CONTEXT, files_of, finding_about, heat_of
from tests.report.judges import complaints, opened_by_dcmtk, presented_by_dcmtk, written
from tests.vision.enhanced import enhanced

__all__ = ["orthanc"]

ROWS = 160
HOT = {"subdural": {6: 0.95, 7: 0.9}, "intraparenchymal": {7: 0.6}, "subarachnoid": {4: 0.8}}
KINDS = ["as usual", "inverted", "multi-frame", "tilted"]
WINDOWS = display_windows()
#: Of grey values: DICOM's window has its ends half a unit and a 1/width away from ours (PS3.3 C.11.2.1.2).
ROUNDING = 4


class Series:
    """Files of one kind, and a finding about them."""

    def __init__(
        self, paths: Sequence[Path], hot: dict[str, dict[int, float]], *, frames: int = 0, revision: int = 1
    ) -> None:
        self.paths = list(paths)
        self.files = files_of(paths)
        self.finding = finding_about(paths, hot, frames=frames)
        self.maps: list[HeatMap] = heat_of(self.finding, ROWS)
        self.headers = [dcmread(paths[0], stop_before_pixels=True)]
        # All are one study, and no two of them may have the same objects.
        self.context = replace(CONTEXT, revision=revision)

    def objects(self) -> list[Dataset]:
        """One of each kind, and all heat maps."""
        finding, files, maps = self.finding, self.files, self.maps
        page = draw_summary(finding, summary_pictures(finding, files, maps), self.context)
        return [
            build_summary(page, finding, self.headers, self.context),
            build_presentation(key_images(finding, files), WINDOWS, finding, self.headers, self.context),
            build_parametric_map(heat_fields(finding, files, maps), finding, self.headers, self.context),
            *build_heat_captures(heat_pictures(finding, files, maps), finding, self.headers, self.context),
        ]


def rendered(folder: Path, *, tilt_deg: float = 0.0) -> list[Path]:
    recipe = PhantomRecipe(seed=11, slices=10, rows=ROWS, voxel_mm=3.0, tilt_deg=tilt_deg)
    return write_series(render(recipe), folder)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return rendered(tmp_path_factory.mktemp("usual"))


@pytest.fixture(scope="module", params=KINDS)
def series(request: pytest.FixtureRequest, usual: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Series:
    folder, revision = tmp_path_factory.mktemp("series"), KINDS.index(request.param) + 1
    match request.param:
        case "inverted":
            paths = []
            for path in usual:
                image = dcmread(path)
                image.PhotometricInterpretation = "MONOCHROME1"
                paths.append(folder / path.name)
                image.save_as(paths[-1])
            return Series(paths, HOT, revision=revision)
        case "multi-frame":
            path = folder / "enhanced.dcm"
            enhanced(usual).save_as(path)
            return Series([path], HOT, frames=len(usual), revision=revision)
        case "tilted":
            return Series(rendered(folder, tilt_deg=18.0), HOT, revision=revision)
        case _:
            return Series(usual, HOT, revision=revision)


RECOGNISED = {
    "1.2.840.10008.5.1.4.1.1.7": "SCImage",
    "1.2.840.10008.5.1.4.1.1.11.1": "GrayscaleSoftcopyPresentationState",
    "1.2.840.10008.5.1.4.1.1.30": "ParametricMap",
}


def test_the_validator_finds_nothing_in_any_object(series: Series, tmp_path: Path) -> None:
    for each in series.objects():
        assert complaints(each, tmp_path, iod=RECOGNISED[each.SOPClassUID]) == []


def test_every_object_is_the_same_bytes_again(series: Series) -> None:
    assert [encode(each) for each in series.objects()] == [encode(each) for each in series.objects()]


def test_orthanc_keeps_every_object_and_draws_the_page(series: Series, orthanc: Orthanc, tmp_path: Path) -> None:
    objects = series.objects()
    for each in objects:
        answer = orthanc.post_file(written(each, tmp_path))
        assert answer["Status"] in {"Success", "AlreadyStored"}
        (stored,) = orthanc.instances(SOPInstanceUID=str(each.SOPInstanceUID))
        assert stored.SOPClassUID == each.SOPClassUID
        if each is objects[0]:
            with Image.open(BytesIO(orthanc.get(f"/instances/{answer['ID']}/preview"))) as drawn:
                shown = np.frombuffer(each.PixelData, dtype=np.uint8).reshape(each.Rows, each.Columns, 3)
                assert np.array_equal(np.asarray(drawn.convert("RGB")), shown)


def test_dcmtk_shows_key_slices_as_we_do(series: Series, tmp_path: Path) -> None:
    """In the window that is meant, and blood is bright, whatever the Photometric Interpretation."""
    images = key_images(series.finding, series.files)
    state = build_presentation(images, WINDOWS, series.finding, series.headers, CONTEXT)
    windows = []
    for image in images:
        path = series.files[image.sop_instance_uid]
        hu_HW = read_pixels(read_header(path, image.frame_number)).hu_HW
        shown = presented_by_dcmtk(path, state, tmp_path, image.frame_number or 1).astype(float)
        windows.append(
            [bool(np.abs(shown - 255 * apply_window(hu_HW, window)).max() <= ROUNDING) for window in (BRAIN, SUBDURAL)]
        )
    assert windows == [[True, False], [False, True], [False, True]], "subarachnoid; subdural, twice"


def test_heat_lies_where_the_map_says(series: Series) -> None:
    fields = heat_fields(series.finding, series.files, series.maps)
    heat = build_parametric_map(fields, series.finding, series.headers, CONTEXT)
    frames = np.frombuffer(heat.PixelData, dtype="<u2").reshape(heat.NumberOfFrames, heat.Rows, heat.Columns)
    for frame, groups in zip(frames, heat.PerFrameFunctionalGroupsSequence, strict=True):
        assert frame.max() == HOTTEST
        hottest = [int(place) for place in np.unravel_index(frame.argmax(), frame.shape)]
        assert hottest == pytest.approx([3.5 * ROWS / 8, 5.5 * ROWS / 8], abs=1)
        origin = groups.DerivationImageSequence[0].SourceImageSequence[0]
        header = read_header(
            series.files[origin.ReferencedSOPInstanceUID], int(origin.get("ReferencedFrameNumber", 0)) or None
        )
        position = [float(v) for v in groups.PlanePositionSequence[0].ImagePositionPatient]
        assert position == pytest.approx(list(header.position), abs=1e-5)


def test_the_page_shows_the_top_slice_in_three_windows(usual: list[Path]) -> None:
    series = Series(usual, HOT)
    shown = summary_pictures(series.finding, series.files, series.maps)
    assert [panel.title for panel in shown.windows] == ["Brain window", "Subdural window", "Bone window"]
    assert shown.slice == series.finding.prediction.slices[6]
    assert shown.heat.detail == "subdural"
    for panel in (*shown.windows, shown.heat):
        assert panel.picture is not None
        assert max(panel.picture.size) == PANEL
    assert len({panel.picture.tobytes() for panel in shown.windows if panel.picture}) == 3


def test_without_a_map_the_page_says_why(usual: list[Path]) -> None:
    called, healthy = Series(usual, HOT), Series(usual, {})
    assert "No heat map was made" in summary_pictures(called.finding, called.files, []).heat.instead
    assert "no haemorrhage is called" in summary_pictures(healthy.finding, healthy.files, []).heat.instead


def test_a_lost_file_leaves_the_page_without_pictures_and_the_finding_on_it(usual: list[Path]) -> None:
    series = Series(usual, HOT)
    shown = summary_pictures(series.finding, {}, series.maps)
    assert all(panel.picture is None and "can't be shown" in panel.instead for panel in shown.windows)
    assert draw_summary(series.finding, shown, CONTEXT).width == 1024
    with pytest.raises(NotAnalysable):
        heat_pictures(series.finding, {}, series.maps)


def test_maps_of_an_earlier_reading_are_left_out(usual: list[Path]) -> None:
    series = Series(usual, HOT)
    later: Finding = finding_about(usual, {"epidural": {2: 0.9}})
    assert heat_pictures(later, series.files, series.maps) == ()


def test_dcmtk_shows_a_heat_map_as_we_do(usual: list[Path], tmp_path: Path) -> None:
    series = Series(usual, HOT)
    pictures = heat_pictures(series.finding, series.files, series.maps)
    (capture, *_) = build_heat_captures(pictures, series.finding, series.headers, CONTEXT)
    assert np.array_equal(opened_by_dcmtk(capture, tmp_path), np.asarray(pictures[0].picture))
