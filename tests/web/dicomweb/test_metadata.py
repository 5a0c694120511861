"""WADO-RS: headers, with addresses for what is long, which lead back to us."""

from io import BytesIO
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydicom.dataset import FileDataset

from ichd.web import Entry
from tests.web.archive import NAMESPACE, Archive, changed, slices
from tests.web.dicomweb.retrieving import address, parts_of


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
