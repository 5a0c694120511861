"""Objects of a study at an archive, found and fetched both ways, against Orthanc; and one that hands nothing over."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from pydicom.uid import SecondaryCaptureImageStorage

from ichd.domain.errors import CodedError, Permanent
from ichd.domain.reason import Reason
from ichd.intake.ask.archive import archive_of
from ichd.intake.ask.objects import FoundObject, fetch_object, find_objects
from ichd.intake.ask.sources import DimseSource, Source
from tests.intake.asking import Pacs, running_pacs, series

STUDY = "1.2.826.0.1.3680043.10.1459.81"
CLASSES = [SecondaryCaptureImageStorage]


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pacs]:
    """A CT series and a series of two pages."""
    with running_pacs(tmp_path_factory.mktemp("pacs")) as running:
        pages = series(STUDY, 2, 2, Modality="OT")
        for page in pages:
            page.SOPClassUID = SecondaryCaptureImageStorage
        running.keep([*series(STUDY, 1, 3), *pages])
        yield running


@pytest.fixture(params=["dimse", "web"])
def source(request: pytest.FixtureRequest, pacs: Pacs) -> Source:
    return pacs.dimse() if request.param == "dimse" else pacs.web()


def found_at(source: Source, modality: str) -> list[FoundObject]:
    with archive_of(source) as archive:
        return find_objects(archive, STUDY, modality=modality)


def test_objects_are_found_by_modality_and_fetched_whole(source: Source, pacs: Pacs) -> None:
    pages = found_at(source, "OT")
    assert sorted(page.sop_instance_uid for page in pages) == [f"{STUDY}.2.1", f"{STUDY}.2.2"]
    assert found_at(source, "SR") == []
    for page in pages:
        fetched = fetch_object(source, page, sop_classes=CLASSES)
        (stored,) = pacs.orthanc.instances(SOPInstanceUID=page.sop_instance_uid)
        assert (fetched.PatientName, fetched.PixelData) == (stored.PatientName, stored.PixelData)


def test_what_is_not_there_is_not_handed_over(source: Source) -> None:
    (page, *_) = found_at(source, "OT")
    gone = replace(page, sop_instance_uid=f"{STUDY}.2.9")
    with pytest.raises(Permanent) as refused:
        fetch_object(source, gone, sop_classes=CLASSES)
    assert refused.value.reason in {Reason.NOT_HANDED_OVER, Reason.SOURCE_REFUSED}


def test_an_archive_that_allows_no_c_get_is_no_crash(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("closed")
    with running_pacs(folder, DicomAlwaysAllowGet=False) as closed:
        source = closed.dimse()
        assert isinstance(source, DimseSource)
        wanted = FoundObject(
            study_uid=STUDY, series_uid=f"{STUDY}.2", sop_instance_uid=f"{STUDY}.2.1", sop_class_uid="", modality="OT"
        )
        with pytest.raises(CodedError):
            fetch_object(source, wanted, sop_classes=CLASSES)
