"""What a person will look at, of real predictions: written as PNG for people to look at.

Into the folder that ICHD_PICTURES names, else into the test's own.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ichd.domain.finding import Finding, Triage, conclude
from ichd.domain.heatmap import HeatMap, maps_wanted
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.pipeline.desk import read_source
from ichd.pipeline.heat import index_of, shows
from ichd.pipeline.pictures import heat_pictures, summary_pictures
from ichd.report.capture import build_heat_captures, build_summary
from ichd.report.summary import draw_summary
from ichd.vision.attribution import Attribution
from ichd.vision.bundle import demo_bundle, load_bundle
from ichd.vision.engines.eager import EagerEngine
from ichd.vision.reader import Reader
from ichd.vision.scan import SliceSource, load_scan
from tests.pipeline.shown import CONTEXT, files_of
from tests.report.judges import complaints

PHANTOMS = {
    "subdural": (PhantomRecipe(seed=910_001, bleeds=("subdural",), slices=24, voxel_mm=2.0), Triage.URGENT),
    "several": (
        PhantomRecipe(seed=910_010, bleeds=("intraparenchymal", "epidural"), slices=20, voxel_mm=2.0, subtlety=0.1),
        Triage.URGENT,
    ),
    "healthy": (PhantomRecipe(seed=910_020, slices=12, voxel_mm=2.0), Triage.ROUTINE),
}
REAL = "real head CT"


@dataclass(frozen=True, kw_only=True)
class Read:
    """One series as the demonstration model reads it."""

    name: str
    expected: Triage
    finding: Finding
    files: dict[str, Path]
    maps: list[HeatMap]


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(os.environ.get("ICHD_PICTURES") or tmp_path_factory.mktemp("pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(EagerEngine(load_bundle(demo_bundle()), device="cpu", threads=1))


@pytest.fixture(scope="module", params=[*PHANTOMS, REAL])
def read(request: pytest.FixtureRequest, reader: Reader, tmp_path_factory: pytest.TempPathFactory) -> Read:
    if request.param == REAL:
        root = os.environ.get("ICHD_TEST_DATA")
        if not root:
            pytest.skip("ICHD_TEST_DATA is not set: the real head CT is not part of this project")
        paths, expected = sorted(Path(root, "head-ct-ge").glob("*.dcm")), Triage.ROUTINE
    else:
        recipe, expected = PHANTOMS[request.param]
        paths = write_series(render(recipe), tmp_path_factory.mktemp("phantom"))
    scan = load_scan([SliceSource(path=path) for path in paths])
    bundle = reader.engine.bundle
    finding = conclude(reader.read(scan), bundle.rule)
    maps: list[HeatMap] = []
    if wanted := maps_wanted(finding):
        attribution, embeddings_SF = Attribution(bundle), reader.embed(scan, range(len(scan.hu_SHW)))
        for each in wanted:
            found = attribution.maps(scan, index_of(scan, each.slice), each.class_names, embeddings_SF)
            maps += [heat for heat in found if shows(heat, each.slice)]
    return Read(name=request.param, expected=expected, finding=finding, files=files_of(paths), maps=maps)


def test_the_page_is_drawn(read: Read, gallery: Path) -> None:
    assert read.finding.triage is read.expected
    page = draw_summary(read.finding, summary_pictures(read.finding, read.files, read.maps), CONTEXT, "A-1234")
    page.save(gallery / f"summary {read.name}.png")
    assert page.width == 1024
    assert page.height <= 1280
    panels = [np.asarray(page.crop((left, 152, left + 304, 456)).convert("L")) for left in (32, 360, 688)]
    assert all(panel.std() > 20 for panel in panels), "a head is on each"


def test_heat_maps_are_drawn_of_what_is_called(read: Read, gallery: Path) -> None:
    pictures = heat_pictures(read.finding, read.files, read.maps)
    assert len(pictures) == sum(len(found.key_slices) for found in read.finding.classes)
    assert bool(pictures) == (read.expected is Triage.URGENT)
    for number, each in enumerate(pictures, start=1):
        each.picture.save(gallery / f"heat {read.name} {number:02d} {each.heat.class_name}.png")
        assert each.picture.width < 1024
        assert coloured(each.picture) > 0.001


def coloured(picture: Image.Image) -> float:
    """The share of pixels that are clearly no grey."""
    rgb = np.asarray(picture, dtype=int)
    return float((np.ptp(rgb, axis=-1) > 60).mean())


def test_objects_of_real_series_are_valid(read: Read, tmp_path: Path) -> None:
    source = read_source(read.files, [s.sop_instance_uid for s in read.finding.prediction.slices])
    page = draw_summary(read.finding, summary_pictures(read.finding, read.files, read.maps), CONTEXT)
    captures = [build_summary(page, read.finding, [source], CONTEXT)]
    captures += build_heat_captures(
        heat_pictures(read.finding, read.files, read.maps), read.finding, [source], CONTEXT
    )[:1]
    for each in captures:
        assert complaints(each, tmp_path, iod="SCImage") == []
