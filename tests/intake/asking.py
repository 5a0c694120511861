"""An archive to be asked: Orthanc with CT images in it, over DIMSE and over the web."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE

from ichd.intake.ask.sources import DimseSource, WebSource
from tests.intake.images import image
from tests.peers.orthanc import MISSING, Orthanc, running_orthanc

DICOMWEB_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@dataclass(frozen=True, kw_only=True)
class Pacs:
    """A running archive."""

    orthanc: Orthanc

    def dimse(self, **changed: Any) -> DimseSource:
        named: dict[str, Any] = {
            "name": "pacs",
            "host": "127.0.0.1",
            "port": self.orthanc.dicom_port,
            "ae_title": "ORTHANC",
        }
        return DimseSource(**(named | {"timeout_s": 20.0} | changed))

    def web(self, **changed: Any) -> WebSource:
        named: dict[str, Any] = {"name": "pacs", "url": f"http://127.0.0.1:{self.orthanc.http_port}/dicom-web/"}
        return WebSource(**(named | {"timeout_s": 20.0} | changed))

    def keep(self, datasets: Sequence[Dataset]) -> None:
        """Send images there."""
        send(self.orthanc.dicom_port, datasets)


@contextmanager
def running_pacs(folder: Path, *, listener_port: int | None = None, **settings: Any) -> Iterator[Pacs]:
    """An Orthanc that answers DIMSE and DICOMweb, and sends to ICHD at a port of choice."""
    if MISSING:
        pytest.skip(MISSING)
    if not DICOMWEB_PLUGIN.exists():
        pytest.skip("the DICOMweb plug-in is not installed (Debian: apt-get install orthanc-dicomweb)")
    opened = {
        "Plugins": [str(DICOMWEB_PLUGIN)],
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "DicomModalities": {} if listener_port is None else {"ichd": ["ICHD", "127.0.0.1", listener_port]},
    }
    with running_orthanc(folder, **(opened | settings)) as server:
        yield Pacs(orthanc=server)


def send(port: int, datasets: Sequence[Dataset]) -> None:
    """C-STORE of data sets, each of any SOP class."""
    ae = AE(ae_title="SCANNER")
    for sop_class in {str(each.SOPClassUID) for each in datasets}:
        ae.add_requested_context(sop_class, ExplicitVRLittleEndian)
    association = ae.associate("127.0.0.1", port, ae_title="ORTHANC")
    assert association.is_established
    for each in datasets:
        assert association.send_c_store(as_file(each)).Status == 0
    association.release()


def as_file(dataset: Dataset) -> Dataset:
    """The data set with file meta information, as pynetdicom wants it."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    content = BytesIO()
    dataset.file_meta = meta
    pydicom.dcmwrite(content, dataset, enforce_file_format=True)
    content.seek(0)
    return pydicom.dcmread(content)


def series(study: str, number: int, images: int, **attributes: Any) -> list[Dataset]:
    """One series of a study whose UIDs tell where each image belongs: STUDY.SERIES.IMAGE."""
    uid = f"{study}.{number}"
    return [
        image(
            each,
            StudyInstanceUID=study,
            SeriesInstanceUID=uid,
            SOPInstanceUID=f"{uid}.{each}",
            SeriesNumber=number,
            StudyID="1",
            **attributes,
        )
        for each in range(1, images + 1)
    ]
