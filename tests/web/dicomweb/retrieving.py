"""What tests of WADO-RS ask for, and how they read the answers."""

from email.parser import BytesParser
from io import BytesIO

import numpy as np
from fastapi.testclient import TestClient
from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from tests.web.archive import NAMESPACE, Answer

DICOM = 'multipart/related; type="application/dicom"'


OCTETS = 'multipart/related; type="application/octet-stream"'


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
