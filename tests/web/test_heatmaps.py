"""Heat maps over the web: listed, drawn from the stored image, and shown beside the findings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from ichd.domain.finding import Finding, Prediction, SlicePrediction, conclude
from ichd.domain.heatmap import HeatMap, maps_wanted
from ichd.domain.job import JobKind
from ichd.domain.record import record_of
from ichd.store.heatmaps import HeatMaps
from ichd.store.queue import Queue
from ichd.store.studies import Studies
from ichd.web import Entry
from ichd.web.access.accounts import Accounts
from tests.store.house import POLICY
from tests.web.archive import Archive, slices
from tests.web.worklist_of_all_states import DEMO, RULE

#: Heat in the upper left quarter of the image alone.
CORNER = tuple(bytes(255 if row < 4 and column < 4 else 0 for column in range(8)) for row in range(8))


@dataclass(frozen=True)
class Read:
    """A study of four slices, of which the third has a subdural."""

    archive: Archive
    finding: Finding
    study_uid: str
    sop_uid: str


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Read:
    read = read_study(Archive(tmp_path_factory.mktemp("archive")))
    heat_maps = HeatMaps(read.archive.engine, read.archive.spool)
    (number,) = heat_maps.findings(after=0, limit=9)
    work = heat_maps.begin(number)
    assert work is not None
    wanted = maps_wanted(read.finding)
    heat_maps.keep(work, [corner(each.slice, name) for each in wanted for name in each.class_names])
    heat_maps.let_go(work)
    return read


def read_study(archive: Archive) -> Read:
    """A study that was read, and has no maps yet."""
    facts = [archive.file(content) for content in slices()]
    archive.arrivals.end_association(archive.association, released=True, refused=0, now=archive.now)
    studies, queue = Studies(archive.engine, archive.spool), Queue(archive.engine)
    assert studies.close_complete(POLICY, now=archive.now.replace(hour=1))
    job = queue.claim(owner="w", lease_s=60.0, now=archive.now.replace(hour=2))
    assert job is not None
    assert job.kind is JobKind.ANALYSE
    prediction = Prediction(
        study_instance_uid=facts[0].study_instance_uid,
        series_instance_uid=facts[0].series_instance_uid,
        model=DEMO,
        slices=tuple(
            SlicePrediction(
                sop_instance_uid=each.sop_instance_uid,
                sop_class_uid=each.sop_class_uid,
                z_mm=5.0 * index,
                probabilities=(0.9, 0.0, 0.0, 0.0, 0.8, 0.0) if index == 2 else (0.1,) * 6,
            )
            for index, each in enumerate(facts)
        ),
    )
    finding = conclude(prediction, RULE)
    record = record_of(finding, rule=RULE, state="analysing", skipped=(), software_version="1")
    studies.begin_analysis(job, now=archive.now)
    studies.finish_analysis(job, record=record, destinations=(), now=archive.now)
    return Read(archive, finding, facts[0].study_instance_uid, facts[2].sop_instance_uid)


def corner(shown: SlicePrediction, class_name: str) -> HeatMap:
    return HeatMap(
        sop_instance_uid=shown.sop_instance_uid,
        frame_number=None,
        class_name=class_name,
        cells=CORNER,
        first_cell=(7.5, 7.5),
        cell_pitch=(16.0, 16.0),
        cell_mm=(19.2, 19.2),
        probability_alone=0.625,
    )


@pytest.fixture
def client(read: Read) -> Iterator[TestClient]:
    with read.archive.client() as client:
        yield client


def picture(client: TestClient, url: str) -> Image.Image:
    answer = client.get(url)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    return Image.open(BytesIO(answer.content))


def test_maps_are_listed_with_what_the_finding_says_of_their_slice(client: TestClient, read: Read) -> None:
    listed = client.get(f"/api/studies/{read.study_uid}/heatmaps").json()

    assert [(m["class"], m["sop_uid"], m["slice"], m["p"], m["p_alone"]) for m in listed] == [
        ("any", read.sop_uid, 3, 0.9, 0.625),
        ("subdural", read.sop_uid, 3, 0.8, 0.625),
    ]


def test_the_heat_lies_where_the_map_says(client: TestClient, read: Read) -> None:
    url = f"/api/studies/{read.study_uid}/heatmaps/{read.sop_uid}/subdural.png?side=128"

    plain = np.asarray(picture(client, f"{url}&view=slice").convert("RGB"), dtype=int)
    hot = np.asarray(picture(client, f"{url}&view=heat").convert("RGB"), dtype=int)

    assert plain.shape == (128, 128, 3)
    changed_HW = np.abs(plain - hot).sum(axis=2) > 0
    # The colour fades out over a cell of 16 pixels.
    assert changed_HW[4:48, 4:48].all()
    assert not changed_HW[80:].any()
    assert not changed_HW[:, 80:].any()


def test_a_figure_shows_both_and_grows_with_the_side(client: TestClient, read: Read) -> None:
    (figure, _) = (m["png"] for m in client.get(f"/api/studies/{read.study_uid}/heatmaps").json())

    normal, small = picture(client, figure), picture(client, f"{figure}&side=64")

    assert normal.width > 2 * 512
    assert small.width < normal.width


def test_a_study_page_shows_each_pair(client: TestClient, read: Read) -> None:
    page = client.get(f"/studies/{read.study_uid}").text

    shown = re.findall(r'<img src="([^"]*heatmaps[^"]*)"', page)
    assert len(shown) == 4
    for url in shown:
        assert picture(client, url.replace("&amp;", "&")).size == (256, 256)
    assert "Where the model saw it" in page
    assert "in slice 3, 62.5 % without its neighbours" in page
    assert "in cells of 19 mm" in page
    assert "No heat maps yet" not in page


def test_a_study_page_says_that_maps_are_not_made_yet(tmp_path: Path) -> None:
    read = read_study(Archive(tmp_path))

    with read.archive.client() as client:
        assert client.get(f"/api/studies/{read.study_uid}/heatmaps").json() == []
        assert "No heat maps yet" in client.get(f"/studies/{read.study_uid}").text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("1.2.3/heatmaps", 404),
        ("{study}/heatmaps/1.2.3/subdural.png", 404),
        ("{study}/heatmaps/{sop}/epidural.png", 404),
        ("{study}/heatmaps/{sop}/nonsense.png", 404),
        ("{study}/heatmaps/{sop}/subdural.png?frame=1", 404),
        ("{study}/heatmaps/{sop}/subdural.png?side=9999", 422),
        ("{study}/heatmaps/{sop}/subdural.png?view=other", 422),
    ],
)
def test_what_is_not_there_is_said(client: TestClient, read: Read, path: str, status: int) -> None:
    answer = client.get(f"/api/studies/{path.format(study=read.study_uid, sop=read.sop_uid)}")

    assert answer.status_code == status


def test_a_study_without_maps_has_an_empty_list(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    facts = archive.file(slices()[0])

    with archive.client() as client:
        assert client.get(f"/api/studies/{facts.study_instance_uid}/heatmaps").json() == []
        assert "Where the model saw it" not in client.get(f"/studies/{facts.study_instance_uid}").text


def test_no_heat_is_drawn_over_an_image_that_is_damaged(tmp_path: Path) -> None:
    read = read_study(Archive(tmp_path))
    heat_maps = HeatMaps(read.archive.engine, read.archive.spool)
    work = heat_maps.begin(heat_maps.findings(after=0, limit=9)[0])
    assert work is not None
    heat_maps.keep(work, [corner(each.slice, each.class_names[0]) for each in maps_wanted(read.finding)])
    file = work.files[read.sop_uid].path
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)

    with read.archive.client() as client:
        listed = client.get(f"/api/studies/{read.study_uid}/heatmaps").json()
        answer = client.get(listed[0]["png"])
    assert answer.status_code == 500
    assert answer.json()["reason"] == "file_damaged"


def test_maps_stand_behind_the_gate(read: Read) -> None:
    with read.archive.client(entry=Entry(accounts=Accounts({}))) as client:
        for path in ("", f"/{read.sop_uid}/subdural.png"):
            assert client.get(f"/api/studies/{read.study_uid}/heatmaps{path}").status_code == 401
