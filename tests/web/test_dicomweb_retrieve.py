"""WADO-RS: files as they were stored or not at all, headers, frames, pictures."""

import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.parser import BytesParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGExtended12Bit,
    RLELossless,
)

from ichd.domain.study import InstanceFacts
from ichd.web import Entry
from ichd.web.dicomweb import routes
from tests.vision.transcoding import transcode
from tests.web.archive import NAMESPACE, Answer, Archive, changed, slices

DICOM = 'multipart/related; type="application/dicom"'
OCTETS = 'multipart/related; type="application/octet-stream"'


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """A study of four slices."""
    archive = Archive(tmp_path_factory.mktemp("retrieve"))
    for content in slices():
        archive.file(content)
    return archive


@pytest.fixture(scope="module")
def viewer(archive: Archive) -> Iterator[TestClient]:
    with archive.client() as client:
        yield client


@pytest.fixture(scope="module")
def sources() -> list[FileDataset]:
    return [dcmread(BytesIO(content)) for content in slices()]


def address(dataset: FileDataset) -> str:
    series = f"{NAMESPACE}/studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}"
    return f"{series}/instances/{dataset.SOPInstanceUID}"


def parts_of(answer: Answer) -> list[tuple[str, bytes]]:
    """Media type and content of each part, by an independent parser."""
    assert answer.status_code == 200, answer.text
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser().parsebytes(head + answer.content)
    boundary = str(message.get_boundary()).encode()
    bodies = answer.content.split(b"--" + boundary)[1:-1]
    assert answer.content.endswith(b"--" + boundary + b"--\r\n")
    found = []
    for body in bodies:
        headers, _, content = body.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        found.append((headers.decode(), content[:-2]))
    return found


def get(viewer: TestClient, path: str, accept: str) -> Answer:
    return viewer.get(path, headers={"Accept": accept})


@pytest.mark.parametrize("depth", ["study", "series", "instance"])
def test_files_leave_as_they_were_stored(viewer: TestClient, sources: list[FileDataset], depth: str) -> None:
    path = address(sources[0])
    path = {"study": path.partition("/series")[0], "series": path.partition("/instances")[0], "instance": path}[depth]

    parts = parts_of(get(viewer, path, f"{DICOM}; transfer-syntax=*"))

    assert [content for _, content in parts] == list(slices())[: 1 if depth == "instance" else 4]
    assert "application/dicom; transfer-syntax=1.2.840.10008.1.2.1" in parts[0][0]


@pytest.mark.parametrize("accept", ["*/*", DICOM, "application/dicom", f"{DICOM}; transfer-syntax=1.2.840.10008.1.2.1"])
def test_a_file_is_had_by_every_name_of_its_type(viewer: TestClient, sources: list[FileDataset], accept: str) -> None:
    answer = get(viewer, address(sources[1]), accept)

    assert slices()[1] in answer.content


@pytest.mark.parametrize(
    "accept", ["image/png", "application/dicom+xml", f"{DICOM}; transfer-syntax=1.2.840.10008.1.2.4.80"]
)
def test_what_there_is_not_is_not_acceptable(viewer: TestClient, sources: list[FileDataset], accept: str) -> None:
    answer = get(viewer, address(sources[0]), accept)

    assert answer.status_code == 406
    assert "to be had" in answer.json()["error"]


@pytest.mark.parametrize("path", ["/studies/9.9", "/studies/9.9/metadata", "/studies/..%2Fetc", "/studies/x/series/y"])
def test_what_is_not_stored_is_not_found(viewer: TestClient, path: str) -> None:
    assert viewer.get(f"{NAMESPACE}{path}").status_code == 404


def test_an_image_is_not_found_under_another_study(viewer: TestClient, sources: list[FileDataset]) -> None:
    path = address(sources[0]).replace(str(sources[0].StudyInstanceUID), "1.2.3")

    assert viewer.get(path).status_code == 404


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
def test_every_client_can_read_the_default_syntax(tmp_path: Path, syntax: str) -> None:
    archive = Archive(tmp_path)
    source = dcmread(BytesIO(slices()[2]))
    facts = archive.file(encoded(slices()[2], syntax))

    with archive.client() as client:
        path = f"{NAMESPACE}/studies/{facts.study_instance_uid}"
        (default,) = parts_of(get(client, path, DICOM))
        (stored,) = parts_of(get(client, path, f"{DICOM}; transfer-syntax=*"))

    converted = dcmread(BytesIO(default[1]))
    assert converted.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert converted.SOPInstanceUID == source.SOPInstanceUID
    np.testing.assert_array_equal(converted.pixel_array, source.pixel_array)
    assert stored[1] == archive.path_of(facts).read_bytes()


def encoded(content: bytes, syntax: str) -> bytes:
    """The same image in another transfer syntax."""
    dataset = dcmread(BytesIO(content))
    buffer = BytesIO()
    if syntax == RLELossless:
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(buffer)
        return buffer.getvalue()
    renewed = Dataset()
    renewed.file_meta = dataset.file_meta
    for element in dataset:
        renewed.add(element)
    renewed.file_meta.TransferSyntaxUID = UID(syntax)
    if syntax == ExplicitVRBigEndian:
        renewed.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    little = syntax != ExplicitVRBigEndian
    implicit = syntax == ImplicitVRLittleEndian
    renewed.save_as(buffer, implicit_vr=implicit, little_endian=little, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize("harm", ["gone", "cut", "changed"])
def test_a_damaged_file_is_never_served(tmp_path: Path, harm: str) -> None:
    archive = Archive(tmp_path)
    facts = archive.file(slices()[0])
    path = archive.path_of(facts)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.unlink()
    if harm != "gone":
        path.write_bytes(content if harm == "changed" else content[:-100])

    with archive.client() as client:
        image = address(dcmread(BytesIO(slices()[0])))
        answers: list[Answer] = [
            get(client, image, f"{DICOM}; transfer-syntax=*"),
            client.get(f"{image}/frames/1"),
            client.get(f"{image}/rendered"),
            client.get(f"{image}/metadata"),
        ]

    for answer in answers:
        assert answer.status_code == 500
        assert answer.json()["reason"] == "file_damaged"


def test_damage_in_the_middle_of_a_study_breaks_the_answer_off(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    facts = [archive.file(content) for content in slices()]
    path = archive.path_of(facts[2])
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)

    with archive.client() as client, pytest.raises(RuntimeError, match="response already started"):
        client.get(f"{NAMESPACE}/studies/{facts[0].study_instance_uid}", headers={"Accept": DICOM})


def test_metadata_are_the_header_with_addresses_for_what_is_long(
    viewer: TestClient, sources: list[FileDataset]
) -> None:
    answer = viewer.get(f"{address(sources[0]).partition('/series')[0]}/metadata")
    headers = answer.json()

    assert answer.headers["content-type"] == "application/dicom+json"
    assert len(headers) == 4
    assert headers[0]["00080018"]["Value"] == [sources[0].SOPInstanceUID]
    assert headers[0]["00200032"]["Value"] == [float(v) for v in sources[0].ImagePositionPatient]
    assert "00020010" not in headers[0]
    bulk = headers[0]["7FE00010"]
    assert bulk == {"vr": "OW", "BulkDataURI": f"http://127.0.0.1:8642{address(sources[0])}/bulkdata/7FE00010"}
    (pixels,) = parts_of(viewer.get(bulk["BulkDataURI"]))
    assert pixels[1] == sources[0].PixelData


def test_long_private_values_have_addresses_of_their_own(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    dataset = changed(slices()[0])
    block = dataset.private_block(0x0029, "ICHD TEST", create=True)
    block.add_new(0x01, "OB", b"\x01" * 3000)
    block.add_new(0x02, "OB", b"\x02\x02")
    archive.file_dataset(dataset)

    with archive.client() as client:
        (header,) = client.get(f"{address(dataset)}/metadata").json()
        (long,) = parts_of(client.get(header["00291001"]["BulkDataURI"]))
        missing = client.get(f"{address(dataset)}/bulkdata/00291099")
        inline = client.get(f"{address(dataset)}/bulkdata/00100010")

    assert header["00291002"]["InlineBinary"] == "AgI="
    assert long[1] == b"\x01" * 3000
    assert (missing.status_code, inline.status_code) == (404, 404)


def test_a_header_with_values_that_make_no_sense_is_still_had(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    dataset = changed(slices()[0])
    content = BytesIO()
    dataset.save_as(content)
    thickness = str(dataset.SliceThickness).encode()
    facts = archive.file(content.getvalue().replace(thickness, b"x" * len(thickness), 1))

    with archive.client() as client:
        (header,) = client.get(f"{address(dataset)}/metadata").json()

    assert header["00080018"]["Value"] == [facts.sop_instance_uid]
    assert "Value" not in header.get("00180050", {})


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


def picture_of(answer: Answer) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(BytesIO(answer.content)))


def hu_of(dataset: FileDataset) -> np.ndarray:
    hu: np.ndarray = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    return hu


def test_a_picture_is_windowed_as_asked(viewer: TestClient, sources: list[FileDataset]) -> None:
    answer = viewer.get(f"{address(sources[2])}/rendered?window=75,215,linear-exact", headers={"Accept": "image/png"})
    hu = hu_of(sources[2])

    picture = picture_of(answer)

    assert answer.headers["content-type"] == "image/png"
    expected = np.rint(np.clip((hu - 75) / 215 + 0.5, 0, 1) * 255)
    assert np.abs(picture.astype(int) - expected).max() <= 1
    assert 0 < (picture == 255).mean() < 0.5


def test_a_picture_without_a_window_takes_the_files_own_or_brain(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    own = changed(slices()[2], WindowCenter=[600, 40], WindowWidth=[2800, 80], SOPInstanceUID="1.2.3.1")
    bare = changed(slices()[2], SOPInstanceUID="1.2.3.2")
    for keyword in ("WindowCenter", "WindowWidth"):
        if keyword in bare:
            delattr(bare, keyword)
    for each in (own, bare):
        archive.file_dataset(each)
    png = {"Accept": "image/png"}

    with archive.client() as client:
        for dataset, window in ((own, "600,2800"), (bare, "40,80")):
            default = picture_of(client.get(f"{address(dataset)}/rendered", headers=png))
            asked = picture_of(client.get(f"{address(dataset)}/rendered?window={window},linear", headers=png))
            np.testing.assert_array_equal(default, asked)


def test_a_picture_fits_into_its_viewport(viewer: TestClient, sources: list[FileDataset]) -> None:
    path = f"{address(sources[2])}/rendered"

    jpeg = viewer.get(f"{path}?viewport=64,200&quality=50")
    corner = viewer.get(f"{path}?viewport=100,100,0,0,10,20")

    assert jpeg.headers["content-type"] == "image/jpeg"
    assert picture_of(jpeg).shape == (64, 64)
    assert picture_of(corner).shape == (100, 50)
    assert len(viewer.get(f"{path}?quality=95").content) > len(viewer.get(f"{path}?quality=20").content)


@pytest.mark.parametrize(
    "query",
    [
        "window=40",
        "window=40,80,cubic",
        "window=40,0",
        "window=nan,80",
        "quality=0",
        "quality=high",
        "viewport=0,10",
        "viewport=99999,99999",
        "viewport=10",
        "viewport=10,10,5000,5000,10,10",
        "viewport=10,10,-1,0,10,10",
    ],
)
def test_a_picture_that_makes_no_sense_is_refused(viewer: TestClient, sources: list[FileDataset], query: str) -> None:
    answer = viewer.get(f"{address(sources[0])}/rendered?{query}")

    assert answer.status_code == 400
    assert answer.json()["error"]


def test_a_picture_is_no_tiff(viewer: TestClient, sources: list[FileDataset]) -> None:
    assert get(viewer, f"{address(sources[0])}/rendered", "image/tiff").status_code == 406


@pytest.mark.parametrize(
    ("host", "proxied", "root"),
    [
        ("127.0.0.1:8642", False, "http://127.0.0.1:8642"),
        # dicomweb-client leaves the port out.
        ("127.0.0.1", False, "http://127.0.0.1:8642"),
        ("pacs.example", True, "https://pacs.example"),
    ],
)
def test_addresses_lead_back_to_us(archive: Archive, host: str, proxied: bool, root: str) -> None:
    entry = Entry(hosts=["pacs.example"], behind_proxy=proxied)
    with archive.client(entry=entry) as client:
        (study,) = client.get(f"{NAMESPACE}/studies", headers={"Host": host}).json()

    assert study["00081190"]["Value"][0].startswith(f"{root}{NAMESPACE}/studies/")
