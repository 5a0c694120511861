"""WADO-RS: frames, as they are stored or decoded, and how many are decoded at a time."""

import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEGExtended12Bit,
    RLELossless,
)

from ichd.domain.study import InstanceFacts
from ichd.web.dicomweb import routes
from tests.vision.transcoding import transcode
from tests.web.archive import NAMESPACE, Archive, changed, slices
from tests.web.dicomweb.retrieving import DICOM, OCTETS, address, encoded, get, parts_of


def test_a_frame_is_its_pixels(viewer: TestClient, sources: list[FileDataset]) -> None:
    (frame,) = parts_of(get(viewer, f"{address(sources[3])}/frames/1", OCTETS))

    assert "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1" in frame[0]
    assert frame[1] == sources[3].PixelData


def test_a_compressed_frame_is_decoded_or_had_as_stored(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    source = dcmread(BytesIO(slices()[0]))
    archive.file(encoded(slices()[0], RLELossless))

    with archive.client() as client:
        path = f"{address(source)}/frames/1"
        (decoded,) = parts_of(get(client, path, OCTETS))
        (stored,) = parts_of(get(client, path, f"{OCTETS}; transfer-syntax=*"))
        (as_image,) = parts_of(get(client, path, 'multipart/related; type="image/dicom-rle"'))
        refused = get(client, path, 'multipart/related; type="image/jls"')

    assert decoded[1] == source.PixelData
    assert stored[1] == as_image[1]
    assert len(stored[1]) < len(decoded[1])
    assert "transfer-syntax=1.2.840.10008.1.2.5" in stored[0]
    assert refused.status_code == 406


@pytest.mark.skipif(shutil.which("dcmcjpeg") is None, reason="dcmtk is not installed (Debian: apt-get install dcmtk)")
def test_jpeg_of_twelve_bits_is_drawn_and_decoded(tmp_path: Path) -> None:
    (tmp_path / "plain.dcm").write_bytes(slices()[0])
    source = dcmread(BytesIO(slices()[0]))
    coded = transcode(tmp_path / "plain.dcm", tmp_path, JPEGExtended12Bit)
    archive = Archive(tmp_path / "archive")
    archive.file(coded.read_bytes())

    with archive.client() as client:
        picture = get(client, f"{address(source)}/rendered", "image/png")
        whole = get(client, address(source), DICOM)

    assert picture.status_code == whole.status_code == 200
    assert picture.content.startswith(b"\x89PNG")
    ((_, file),) = parts_of(whole)
    decoded = dcmread(BytesIO(file))
    assert decoded.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    np.testing.assert_array_equal(decoded.pixel_array, dcmread(coded).pixel_array)


@pytest.fixture
def film(tmp_path: Path) -> tuple[Archive, InstanceFacts, np.ndarray]:
    """Three frames in one file."""
    archive = Archive(tmp_path)
    values = np.arange(3 * 128 * 128, dtype="<u2").reshape(3, 128, 128)
    dataset = changed(slices()[0], NumberOfFrames=3, PixelData=values.tobytes())
    return archive, archive.file_dataset(dataset), values


def test_frames_come_in_the_order_of_the_question(film: tuple[Archive, InstanceFacts, np.ndarray]) -> None:
    archive, facts, values = film
    path = f"{NAMESPACE}/studies/{facts.study_instance_uid}/series/{facts.series_instance_uid}"
    path += f"/instances/{facts.sop_instance_uid}"

    with archive.client() as client:
        frames = parts_of(client.get(f"{path}/frames/3,1"))
        beyond = client.get(f"{path}/frames/4")
        nonsense = client.get(f"{path}/frames/one")
        zero = client.get(f"{path}/frames/0")
        picture = client.get(f"{path}/frames/2/rendered")
        several = client.get(f"{path}/frames/1,2/rendered")

    assert [content for _, content in frames] == [values[2].tobytes(), values[0].tobytes()]
    assert (beyond.status_code, nonsense.status_code, zero.status_code) == (404, 400, 404)
    assert (picture.status_code, several.status_code) == (200, 400)


class Crowd:
    """How many are inside of a function at the same time."""

    def __init__(self, real: Callable[..., bytes]) -> None:
        self._real = real
        self._changed = threading.Condition()
        self.inside = 0
        self.most = 0

    def __call__(self, *arguments: object) -> bytes:
        with self._changed:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self._changed.notify_all()
            # As many as can come in shall meet here.
            self._changed.wait_for(lambda: self.most > 4, 0.2)
        try:
            return self._real(*arguments)
        finally:
            with self._changed:
                self.inside -= 1


@pytest.mark.parametrize(("name", "path"), [("in_explicit_little_endian", ""), ("frame_bytes", "/frames/3,1,2")])
def test_four_are_decoded_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, path: str) -> None:
    archive = Archive(tmp_path)
    values = np.arange(3 * 128 * 128, dtype="<u2").reshape(3, 128, 128)
    buffer = BytesIO()
    changed(slices()[0], NumberOfFrames=3, PixelData=values.tobytes()).save_as(buffer)
    archive.file(encoded(buffer.getvalue(), RLELossless))
    image = address(dcmread(BytesIO(slices()[0]))) + path
    crowd = Crowd(getattr(routes, name))
    monkeypatch.setattr(routes, name, crowd)

    with archive.client() as client, ThreadPoolExecutor(8) as viewers:
        answers = list(viewers.map(lambda _: client.get(image, headers={} if path else {"Accept": DICOM}), range(8)))

    assert {answer.status_code for answer in answers} == {200}
    assert crowd.most == 4
