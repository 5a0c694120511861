"""What the slice viewer gets: stacks in order, slices as whole HU, and all images in one file."""

import gzip
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.uid import UID
from starlette.types import ASGIApp, Receive, Scope, Send

from ichd.domain.finding import CLASSES, Prediction, SlicePrediction, conclude
from ichd.domain.role import Role
from ichd.domain.study import InstanceFacts
from ichd.web.viewing.stacks import stack_of_reading, suspicious_in
from ichd.web.visitor import Visitor, admit
from tests.vision.enhanced import enhanced
from tests.web.archive import Answer, Archive, changed, slices
from tests.web.worklist_of_all_states import DEMO, RULE


@dataclass(frozen=True)
class Drawn:
    """A slice as a viewer unpacks it."""

    head: dict[str, Any]
    values_HW: NDArray[np.int16]


def unpack(answer: Answer) -> Drawn:
    assert answer.status_code == 200, answer.text
    length = int.from_bytes(answer.content[:4], "little")
    head = json.loads(answer.content[4 : 4 + length])
    halves = np.frombuffer(answer.content[4 + length :], np.uint8).reshape(2, head["rows"], head["columns"])
    return Drawn(head, (halves[0].astype("<u2") | halves[1].astype("<u2") << 8).view("<i2"))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return Archive(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="module")
def images(archive: Archive) -> list[InstanceFacts]:
    """Four slices, which arrived from the head down."""
    return [archive.file(content) for content in reversed(slices())]


@pytest.fixture
def client(archive: Archive, images: list[InstanceFacts]) -> Iterator[TestClient]:
    with archive.client() as client:
        yield client


def hu_of(facts: InstanceFacts) -> str:
    return f"/api/studies/{facts.study_instance_uid}/images/{facts.sop_instance_uid}/hu"


def stack_of(facts: InstanceFacts) -> str:
    return f"/api/studies/{facts.study_instance_uid}/series/{facts.series_instance_uid}/stack"


def test_a_slice_arrives_as_it_was_stored_with_what_must_be_known_of_it(
    client: TestClient, images: list[InstanceFacts]
) -> None:
    drawn = unpack(client.get(hu_of(images[1])))
    stored = dcmread(BytesIO(slices()[2]))
    assert np.array_equal(drawn.values_HW, np.maximum(stored.pixel_array + int(stored.RescaleIntercept), -1024))
    assert drawn.head == {
        "rows": 128,
        "columns": 128,
        "unit": "HU",
        "spacing_mm": [float(value) for value in stored.PixelSpacing],
        "sides": ["R", "L", "A", "P"],
        "note": "",
    }


def test_a_client_without_gzip_gets_the_same(client: TestClient, images: list[InstanceFacts]) -> None:
    plain = client.get(hu_of(images[0]), headers={"Accept-Encoding": "identity"})
    squeezed = client.get(hu_of(images[0]))
    assert "content-encoding" not in plain.headers
    assert squeezed.headers["content-encoding"] == "gzip"
    assert plain.content == squeezed.content
    assert plain.headers["cache-control"] == "no-store"
    assert len(gzip.compress(plain.content, 1)) < 0.7 * len(plain.content)


def test_sides_are_those_of_the_stored_image(archive: Archive, client: TestClient) -> None:
    turned = changed(slices(seed=5)[0], ImageOrientationPatient=[0, 1, 0, -1, 0, 0], RescaleSlope="0.5")
    drawn = unpack(client.get(hu_of(archive.file_dataset(turned))))
    assert drawn.head["sides"] == ["A", "P", "L", "R"]
    assert drawn.values_HW.dtype == np.int16, "fractions are rounded"


def test_a_stack_starts_at_the_feet_whatever_arrived_first(client: TestClient, images: list[InstanceFacts]) -> None:
    stack = client.get(stack_of(images[0])).json()
    assert [each["sop"] for each in stack["slices"]] == [facts.sop_instance_uid for facts in reversed(images)]
    heights = [each["z"] for each in stack["slices"]]
    assert heights == sorted(heights)
    assert (stack["suspicious"], stack["start"], stack["heat"]) == ([], 2, [])


def test_frames_are_slices(archive: Archive, client: TestClient, tmp_path: Path) -> None:
    paths = []
    for number, content in enumerate(slices(seed=6)):
        paths.append(tmp_path / f"{number}.dcm")
        paths[-1].write_bytes(content)
    image = enhanced(paths)
    buffer = BytesIO()
    image.save_as(buffer)
    facts = archive.file(buffer.getvalue())
    stack = client.get(stack_of(facts)).json()
    assert [each["frame"] for each in stack["slices"]] == [1, 2, 3, 4]
    for frame, path in enumerate(paths, start=1):
        drawn = unpack(client.get(f"{hu_of(facts)}?frame={frame}"))
        stored = dcmread(path)
        assert np.array_equal(drawn.values_HW, np.maximum(stored.pixel_array + int(stored.RescaleIntercept), -1024))
    assert client.get(f"{hu_of(facts)}?frame=5").status_code >= 400
    assert client.get(f"{hu_of(facts)}?frame=0").status_code == 422


def test_what_has_no_hounsfield_units_is_shown_in_grey_and_says_why(archive: Archive, client: TestClient) -> None:
    picture = changed(slices(seed=8)[0])
    del picture.RescaleSlope, picture.ImagePositionPatient
    drawn = unpack(client.get(hu_of(archive.file_dataset(picture))))
    assert (drawn.head["unit"], drawn.head["spacing_mm"], drawn.head["sides"]) == ("grey", None, None)
    assert drawn.head["note"]
    assert 0 <= drawn.values_HW.min() < drawn.values_HW.max() <= 255


def test_a_series_without_images_says_so(archive: Archive, client: TestClient) -> None:
    document = changed(slices(seed=9)[0], SOPClassUID=UID("1.2.840.10008.5.1.4.1.1.88.59"))
    document.file_meta.MediaStorageSOPClassUID = document.SOPClassUID
    del document.Rows, document.Columns, document.PixelData
    answer = client.get(stack_of(archive.file_dataset(document)))
    assert answer.status_code == 404
    assert "Nothing in this series is an image" in answer.json()["error"]


def test_a_damaged_file_is_an_error_with_a_reason(archive: Archive, client: TestClient) -> None:
    facts = archive.file(slices(seed=10)[0])
    path = archive.path_of(facts)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    answer = client.get(hu_of(facts))
    assert answer.status_code == 500
    assert answer.json()["reason"] == "file_damaged"


@pytest.mark.parametrize("path", ["1.2/images/3.4/hu", "x/images/3.4/hu", "1.2/series/3/stack", "1.2/images.zip"])
def test_what_is_unknown_is_not_found(client: TestClient, path: str) -> None:
    assert client.get(f"/api/studies/{path}").status_code == 404


def test_all_images_come_in_one_file_as_they_were_stored(client: TestClient, images: list[InstanceFacts]) -> None:
    study_uid = images[0].study_instance_uid
    answer = client.get(f"/api/studies/{study_uid}/images.zip")
    assert answer.headers["content-disposition"] == f'attachment; filename="study-{study_uid}.zip"'
    with zipfile.ZipFile(BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert [archive.read(name) for name in archive.namelist()] == list(reversed(slices()))
        assert archive.namelist()[0] == "series-1/00001.dcm"


class As:
    """The application as somebody else sees it."""

    def __init__(self, app: ASGIApp, visitor: Visitor) -> None:
        self._app, self._visitor = app, visitor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            admit(scope, self._visitor)
        await self._app(scope, receive, send)


def test_a_viewer_looks_at_slices_and_takes_no_files_along(archive: Archive, images: list[InstanceFacts]) -> None:
    viewer = Visitor(account="eve", role=Role.VIEWER)
    client = TestClient(As(archive.client().app, viewer), base_url="http://127.0.0.1:8642")
    study_uid = images[0].study_instance_uid
    assert client.get(hu_of(images[0])).status_code == 200
    assert client.get(f"/api/studies/{study_uid}/images.zip").status_code == 403
    assert "images.zip" not in client.get(f"/studies/{study_uid}").text


def finding_with(any_p: float, *, peak: int = 5, count: int = 12) -> Any:
    """One whose slices 4 to 6 are suspicious of any haemorrhage, with one peak."""
    prediction = Prediction(
        study_instance_uid="1.2",
        series_instance_uid="1.2.1",
        model=DEMO,
        slices=tuple(
            SlicePrediction(
                sop_instance_uid=f"1.2.1.{index}",
                sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
                z_mm=5.0 * index,
                probabilities=(any_p - 0.1 * abs(index - peak) if abs(index - peak) < 3 else 0.01, 0, 0, 0, 0, 0),
            )
            for index in range(count)
        ),
    )
    return conclude(prediction, RULE)


def test_the_viewer_opens_at_the_peak_and_knows_all_that_is_suspicious() -> None:
    finding = finding_with(0.75)
    stack = stack_of_reading(finding, ())
    assert (stack.start, stack.suspicious) == (5, (4, 5, 6))
    assert suspicious_in(finding, finding.classes[CLASSES.index("epidural")]) == ()


def test_where_nothing_is_called_nothing_is_suspicious_and_it_opens_at_the_highest_all_the_same() -> None:
    stack = stack_of_reading(finding_with(0.3, peak=8), ())
    assert (stack.start, stack.suspicious) == (8, ())
