"""WADO-RS: files as they were stored or not at all."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from tests.web.archive import NAMESPACE, Answer, Archive, slices
from tests.web.dicomweb.retrieving import DICOM, address, encoded, get, parts_of


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
