"""STOW-RS over real HTTP: what is stored, what is refused, and what the client is told of each."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient

from ichd.domain.errors import Refused, Transient
from ichd.domain.reason import Reason
from ichd.domain.retention import Watermarks
from ichd.domain.study import CT_IMAGE_STORAGE
from ichd.intake.claim import Claim, require_acceptable, require_plausible
from ichd.intake.header import parse_header
from ichd.intake.part10 import FileHead
from ichd.store.arrivals import ArrivalKind, Arrivals
from ichd.store.tables import AssociationRow, RefusalRow
from tests.intake.images import MARKED_NAME, ROOT, image
from tests.intake.stowing import BOUNDARY, CONTENT_TYPE, StowHouse, file, message, stow_house

STUDY = f"{ROOT}.2"

REFERENCED = "00081199"
FAILED = "00081198"
OTHER_FAILURES = "0008119A"
FAILURE_REASON = "00081197"
WARNING_REASON = "00081196"
RETRIEVE_URL = "00081190"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[StowHouse]:
    with stow_house(tmp_path) as opened:
        yield opened


def post(house: StowHouse, *parts: bytes, path: str = "/studies", **headers: str) -> httpx.Response:
    return httpx.post(
        house.url + path,
        content=message(*parts),
        headers={"Content-Type": CONTENT_TYPE, **headers},
        timeout=30,
    )


def items(answer: httpx.Response, tag: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer.json().get(tag, {}).get("Value", [])
    return found


def reasons(answer: httpx.Response, tag: str) -> list[int]:
    return [item[FAILURE_REASON]["Value"][0] for item in items(answer, tag)]


def test_images_are_stored_and_each_is_named_in_the_answer(house: StowHouse) -> None:
    answer = post(house, file(1), file(2), file(3))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/dicom+json"
    assert [i["00081155"]["Value"][0] for i in items(answer, REFERENCED)] == [f"{ROOT}.1.{n}" for n in (1, 2, 3)]
    assert items(answer, REFERENCED)[0]["00081150"]["Value"] == [CT_IMAGE_STORAGE]
    assert items(answer, REFERENCED)[0][RETRIEVE_URL]["Value"] == [
        f"{house.url}/studies/{STUDY}/series/{ROOT}.3/instances/{ROOT}.1.1"
    ]
    assert answer.json()[RETRIEVE_URL] == {"vr": "UR", "Value": [f"{house.url}/studies/{STUDY}"]}
    assert FAILED not in answer.json()
    assert house.count() == len(house.files()) == 3
    (association,) = house.rows(AssociationRow)
    assert (association.door, association.calling_ae_title, association.address) == ("stow", "clinic", "127.0.0.1")
    assert association.released


def test_the_file_in_the_spool_is_the_one_that_the_other_door_writes(house: StowHouse) -> None:
    """Preamble and meta information are ours whatever the sender wrote: a resend by C-STORE is a duplicate."""
    foreign = pydicom.dcmread(io.BytesIO(file(1)))
    foreign.file_meta.SourceApplicationEntityTitle = "ELSEWHERE"
    foreign.preamble = b"II*\0" + bytes(124)
    written = io.BytesIO()
    foreign.save_as(written, enforce_file_format=True)
    assert post(house, written.getvalue()).status_code == 200
    assert post(house, file(1)).status_code == 200
    (stored,) = house.files()
    assert stored.read_bytes() == file(1)


def test_what_fails_does_not_keep_the_rest_out(house: StowHouse) -> None:
    answer = post(house, file(1), file(2, Modality="MR"), file(3, PixelData=None), b"no DICOM", file(4))
    assert answer.status_code == 202
    assert len(items(answer, REFERENCED)) == 2
    assert reasons(answer, FAILED) == [0xA900, 0xC001]
    assert items(answer, FAILED)[0]["00081155"]["Value"] == [f"{ROOT}.1.2"]
    assert reasons(answer, OTHER_FAILURES) == [0xC000]
    assert house.count() == len(house.files()) == 2
    assert [row.reason for row in house.rows(RefusalRow)] == ["wrong_modality", "truncated", "not_dicom"]
    assert MARKED_NAME not in answer.text


def test_nothing_stored_is_a_conflict(house: StowHouse) -> None:
    answer = post(house, file(1, Modality="MR"))
    assert answer.status_code == 409
    assert reasons(answer, FAILED) == [0xA900]
    assert answer.json()[RETRIEVE_URL] == {"vr": "UR"}
    assert house.files() == []


def test_images_of_another_study_fail_where_the_address_names_one(house: StowHouse) -> None:
    other = f"{ROOT}.777"
    answer = post(house, file(1), file(2, StudyInstanceUID=other), path=f"/studies/{other}")
    assert answer.status_code == 202
    assert reasons(answer, FAILED) == [0xA900]
    assert items(answer, FAILED)[0]["00081155"]["Value"] == [f"{ROOT}.1.1"]
    assert post(house, file(1), path="/studies/none").status_code == 400


def test_other_bytes_under_a_known_uid_are_stored_with_a_warning(house: StowHouse) -> None:
    assert post(house, file(1)).status_code == 200
    answer = post(house, file(1, SeriesDescription="changed"))
    assert answer.status_code == 202
    assert items(answer, REFERENCED)[0][WARNING_REASON]["Value"] == [0xB0C0]
    assert len(house.files()) == 2


def test_an_unknown_transfer_syntax_has_its_own_failure_reason(house: StowHouse) -> None:
    mpeg = b"1.2.840.10008.1.2.4.100\0"
    ours = b"1.2.840.10008.1.2.1\0"
    content = file(1).replace(b"\x14\0" + ours, b"\x18\0" + mpeg, 1)
    answer = post(house, content)
    assert (answer.status_code, reasons(answer, FAILED)) == (409, [0xC122])


def test_uids_that_are_none_are_not_repeated(house: StowHouse) -> None:
    content = file(1).replace(f"{ROOT}.1.1".encode(), b"../../../../etc/passwd" + b"A" * 9)
    answer = post(house, content)
    assert (answer.status_code, reasons(answer, OTHER_FAILURES)) == (409, [0xC002])
    assert "passwd" not in answer.text


@pytest.mark.parametrize("accept", ["application/dicom+xml", "application/dicom+json;q=0.5, application/dicom+xml"])
def test_the_answer_is_xml_where_the_client_prefers_it(house: StowHouse, accept: str) -> None:
    client = DICOMwebClient(house.url, headers={"Accept": accept})
    answer = client.store_instances([pydicom.dcmread(io.BytesIO(file(1)))])
    assert answer.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == f"{ROOT}.1.1"
    # Its Host header leaves out the port.
    assert answer.RetrieveURL.endswith(f"/dicom-web/studies/{STUDY}")
    text = post(house, file(2), b"no DICOM", Accept=accept)
    assert text.headers["content-type"] == "application/dicom+xml"
    assert '<DicomAttribute tag="00081197" vr="US" keyword="FailureReason"><Value number="1">49152</Value>' in text.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Accept": "text/html"}, 406),
        ({"Accept": "application/dicom+json;q=0"}, 406),
        ({"Accept": "*/*"}, 200),
        ({"Content-Type": "application/dicom"}, 415),
        ({"Content-Type": f'multipart/related; type="application/dicom+json"; boundary={BOUNDARY}'}, 415),
        ({"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}, 415),
        ({"Content-Type": f"multipart/related; boundary={BOUNDARY}"}, 200),
        ({"Content-Type": 'multipart/related; type="application/dicom"'}, 400),
        ({"Content-Type": f'multipart/related; type="application/dicom"; boundary={"b" * 71}'}, 400),
        ({"Content-Type": 'multipart/related; type="application/dicom"; boundary=other'}, 400),
    ],
)
def test_a_request_that_is_no_store_request_is_told_so(house: StowHouse, headers: dict[str, str], status: int) -> None:
    assert post(house, file(1), **headers).status_code == status


def test_a_full_disk_asks_to_come_back(tmp_path: Path) -> None:
    with stow_house(tmp_path, watermarks=Watermarks(high=0, low=0)) as house:
        answer = post(house, file(1), file(2))
        assert (answer.status_code, reasons(answer, FAILED)) == (503, [0xA700, 0xA700])
        assert int(answer.headers["retry-after"]) > 0
        assert house.files() == []


def test_a_database_that_fails_once_leaves_the_rest_stored(tmp_path: Path) -> None:
    class Failing(Arrivals):
        failed = False

        def record(self, *args: Any, **kwargs: Any) -> ArrivalKind:
            if not self.failed:
                self.failed = True
                raise Transient(Reason.STORE_UNAVAILABLE)
            return super().record(*args, **kwargs)

    with stow_house(tmp_path, arrivals=Failing) as house:
        answer = post(house, file(1), file(2))
        assert (answer.status_code, reasons(answer, FAILED)) == (202, [0xA700])
        assert house.count() == 1


def test_an_image_that_is_too_large_fails_alone(tmp_path: Path) -> None:
    with stow_house(tmp_path, max_instance_bytes=1 << 20) as house:
        answer = post(house, file(1), file(2, PixelData=bytes(3 << 20)), file(3))
        assert (answer.status_code, reasons(answer, FAILED)) == (202, [0xC004])
        assert house.count() == len(house.files()) == 2


def test_dicomweb_client_stores(house: StowHouse) -> None:
    client = DICOMwebClient(house.url)
    datasets = [pydicom.dcmread(io.BytesIO(file(number))) for number in range(1, 6)]
    answer = client.store_instances(datasets)
    assert len(answer.ReferencedSOPSequence) == 5
    # Its Host header leaves out the port.
    assert answer.RetrieveURL.endswith(f"/dicom-web/studies/{STUDY}")
    answer = client.store_instances(datasets, study_instance_uid=STUDY)
    assert len(answer.ReferencedSOPSequence) == 5
    assert house.count() == 5


def test_dicomweb_client_stores_in_chunks(house: StowHouse) -> None:
    """What is longer than its chunk size it sends by chunked transfer encoding."""
    client = DICOMwebClient(house.url, chunk_size=1000)
    large = pydicom.dcmread(io.BytesIO(file(1, Rows=512, Columns=512, PixelData=bytes(2 * 512 * 512))))
    assert len(client.store_instances([large]).ReferencedSOPSequence) == 1
    assert house.count() == 1


def test_malformed_files_get_the_verdict_of_the_other_door(house: StowHouse, data_folder: Path) -> None:
    """C-STORE with the UIDs that the meta information claims ends alike: the same header, the same checks."""
    seen: set[bool] = set()
    for path in sorted((data_folder / "malformed").rglob("*.dcm")):
        content = path.read_bytes()
        before = len(house.rows(RefusalRow))
        answer = post(house, content)
        expected = verdict(content)
        assert answer.status_code in ({200, 202} if expected is None else {409}), path.name
        refusals = house.rows(RefusalRow)[before:]
        assert [row.reason for row in refusals] == ([] if expected is None else [expected]), path.name
        seen.add(expected is None)
    assert seen == {True, False}
    assert len(house.files()) >= house.count() > 50


def verdict(content: bytes) -> Reason | None:
    head = FileHead()
    try:
        rest = head.feed(content)
        claim = Claim(
            sop_class_uid=head.sop_class_uid,
            sop_instance_uid=head.sop_instance_uid,
            transfer_syntax_uid=head.transfer_syntax_uid,
        )
        dataset = head.finish() if rest is None else rest
        require_plausible(claim)
        require_acceptable(parse_header(dataset, claim.transfer_syntax_uid), claim)
    except Refused as error:
        return error.reason
    return None


def test_an_image_as_pydicom_writes_it(house: StowHouse) -> None:
    ds = image(1)
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    content = io.BytesIO()
    ds.save_as(content, enforce_file_format=True)
    assert post(house, content.getvalue()).status_code == 200
