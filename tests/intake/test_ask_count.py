"""How many CT images a source has, and what is said of one that does not answer: both kinds, against Orthanc."""

from collections.abc import Iterator

import pytest
from pydicom.uid import SecondaryCaptureImageStorage

from ichd.domain.errors import Permanent, Transient
from ichd.domain.reason import Reason
from ichd.intake.ask.archive import archive_of, check_source
from ichd.intake.ask.count import count_ct_images
from ichd.intake.ask.find import StudyQuery, find_images, find_studies
from ichd.intake.ask.sources import DimseSource, Source, WebSource
from tests.intake.asking import Pacs, running_pacs, series
from tests.intake.images import MARKED_ID, MARKED_NAME
from tests.peers.ports import free_port

HEAD = "1.2.826.0.1.3680043.10.1459.71"
FOOT = "1.2.826.0.1.3680043.10.1459.72"
MR = "1.2.826.0.1.3680043.10.1459.73"


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pacs]:
    """A head CT with a screen capture in it and a report of another modality; a later foot; and an MR study."""
    with running_pacs(tmp_path_factory.mktemp("pacs")) as running:
        capture = series(HEAD, 2, 3, AccessionNumber="H1")
        capture[2].SOPClassUID = SecondaryCaptureImageStorage
        running.keep(
            [
                *series(HEAD, 1, 4, AccessionNumber="H1", StudyDate="20240131", StudyTime="101500"),
                *capture,
                *series(HEAD, 3, 2, AccessionNumber="H1", Modality="PR"),
                *series(FOOT, 1, 2, AccessionNumber="F1", StudyDate="20240201", StudyTime="0001"),
                *series(MR, 1, 2, AccessionNumber="M1", Modality="MR"),
            ]
        )
        yield running


@pytest.fixture(params=["dimse", "web"])
def source(request: pytest.FixtureRequest, pacs: Pacs) -> Source:
    return pacs.dimse() if request.param == "dimse" else pacs.web()


def test_images_of_ct_series_are_counted(source: Source) -> None:
    assert count_ct_images(source, HEAD) == 7
    assert count_ct_images(source, FOOT) == 2


@pytest.mark.parametrize("study", [MR, "1.2.3.4"])
def test_a_study_without_ct_images_has_no_count(source: Source, study: str) -> None:
    assert count_ct_images(source, study) is None


def test_objects_that_are_no_ct_images_are_told_apart(source: Source) -> None:
    with archive_of(source) as archive:
        assert find_images(archive, HEAD, f"{HEAD}.2") == ([f"{HEAD}.2.1", f"{HEAD}.2.2"], 1)


def test_studies_are_found_newest_first(source: Source) -> None:
    with archive_of(source) as archive:
        found = find_studies(archive, StudyQuery(first_date="20240131"))
        assert [study.study_uid for study in found if study.study_uid in (HEAD, FOOT)] == [FOOT, HEAD]
        assert (found[0].date, found[0].time) == ("20240201", "0001")
        assert [s.study_uid for s in find_studies(archive, StudyQuery(accession_number="F1"))] == [FOOT]
        assert FOOT not in {s.study_uid for s in find_studies(archive, StudyQuery(last_date="20240131"))}
        assert {s.study_uid for s in find_studies(archive, StudyQuery(patient_id=MARKED_ID))} >= {HEAD, FOOT}


def test_a_number_with_odd_characters_is_found(source: Source, pacs: Pacs) -> None:
    odd = "1.2.826.0.1.3680043.10.1459.74"
    pacs.keep([*series(odd, 1, 1, AccessionNumber="A 4&7+1#1"), *series(f"{odd}.9", 1, 1, AccessionNumber="A-4-7-1-1")])
    with archive_of(source) as archive:
        (found,) = find_studies(archive, StudyQuery(accession_number="A 4&7+1#1"))
    assert found.study_uid == odd


def test_an_identifier_is_no_pattern(source: Source) -> None:
    with archive_of(source) as archive:
        assert find_studies(archive, StudyQuery(patient_id="*")) == []


def test_who_the_patient_is_shows_in_no_representation(source: Source) -> None:
    with archive_of(source) as archive:
        (study, *_) = find_studies(archive, StudyQuery(study_uid=HEAD))
    assert study.patient_id == MARKED_ID
    assert MARKED_ID not in repr(study)
    assert MARKED_NAME not in repr(study)


def test_a_source_that_is_there_says_so(source: Source) -> None:
    assert "answers" in check_source(source)


@pytest.mark.parametrize(
    "away",
    [
        DimseSource(name="pacs", host="127.0.0.1", port=free_port(), ae_title="GONE", timeout_s=3.0),
        WebSource(name="pacs", url=f"http://127.0.0.1:{free_port()}/dicom-web", timeout_s=3.0),
    ],
    ids=["dimse", "web"],
)
def test_a_source_that_is_away_says_so(away: Source) -> None:
    with pytest.raises(Transient) as raised:
        count_ct_images(away, HEAD)
    assert raised.value.reason is Reason.SOURCE_UNREACHABLE


def test_an_archive_without_dicomweb_there_says_so(pacs: Pacs) -> None:
    with pytest.raises(Permanent) as raised:
        check_source(pacs.web(url=f"http://127.0.0.1:{pacs.orthanc.http_port}/elsewhere"))
    assert raised.value.reason is Reason.SOURCE_REFUSED
    assert "404" in str(raised.value)
