"""QIDO-RS: what a search finds, what it says of it, what it leaves aside and says so."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydicom import Dataset

from ichd.store.catalogue import Catalogue, CataloguedSeries
from ichd.store.criteria import Criteria
from ichd.web.dicomweb import search as search_module
from ichd.web.dicomweb.attributes import CATALOGUED, READ, Level
from tests.web.archive import NAMESPACE, Answer, Archive, changed, slices

STUDY, OTHER = "1.2.826.0.1.3680043.10.1553.7", "1.2.826.0.1.3680043.10.1553.8"


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Two studies: four slices of Ürsula, filed first, and two of somebody else, in two series."""
    archive = Archive(tmp_path_factory.mktemp("search"))
    for index, content in enumerate(slices()):
        archive.file_dataset(
            changed(
                content,
                SpecificCharacterSet="ISO_IR 100",
                PatientName="Müller^Ürsula",
                PatientID="P-1",
                PatientBirthDate="19500401",
                StudyInstanceUID=STUDY,
                SeriesInstanceUID=f"{STUDY}.1",
                SOPInstanceUID=f"{STUDY}.1.{index + 1}",
                StudyDate="20260101",
                StudyTime="081500",
                StudyDescription="Head",
                AccessionNumber="ACC1",
            )
        )
    for index, content in enumerate(slices()[:2]):
        archive.file_dataset(
            changed(
                content,
                PatientName="Smith^John",
                PatientID="P-2",
                StudyInstanceUID=OTHER,
                SeriesInstanceUID=f"{OTHER}.{index + 1}",
                SeriesNumber=index + 1,
                SOPInstanceUID=f"{OTHER}.{index + 1}.1",
                StudyDate="20260301",
                StudyTime="120000",
                AccessionNumber="ACC2",
            )
        )
    with archive.client() as client:
        yield client


def ask(viewer: TestClient, path: str, **parameters: object) -> list[Dataset]:
    answer = get(viewer, path, **parameters)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/dicom+json"
    return [Dataset.from_json(result) for result in answer.json()]


def get(viewer: TestClient, path: str, **parameters: object) -> Answer:
    return viewer.get(f"{NAMESPACE}{path}", params=parameters)  # type: ignore[arg-type]


def test_a_study_is_described(viewer: TestClient) -> None:
    newest, oldest = ask(viewer, "/studies")

    assert newest.StudyInstanceUID == OTHER
    assert oldest.StudyInstanceUID == STUDY
    assert str(oldest.PatientName) == "Müller^Ürsula"
    assert (oldest.PatientID, oldest.PatientBirthDate) == ("P-1", "19500401")
    assert (oldest.StudyDate, oldest.StudyTime, oldest.AccessionNumber) == ("20260101", "081500", "ACC1")
    assert (oldest.NumberOfStudyRelatedSeries, oldest.NumberOfStudyRelatedInstances) == (1, 4)
    assert (newest.NumberOfStudyRelatedSeries, newest.NumberOfStudyRelatedInstances) == (2, 2)
    assert oldest.ModalitiesInStudy == "CT"
    assert oldest.InstanceAvailability == "ONLINE"
    assert oldest.RetrieveURL == f"http://127.0.0.1:8642{NAMESPACE}/studies/{STUDY}"
    assert oldest.SpecificCharacterSet == "ISO_IR 192"
    assert "SeriesInstanceUID" not in oldest


def test_a_series_is_described(viewer: TestClient) -> None:
    (series,) = ask(viewer, f"/studies/{STUDY}/series")

    assert (series.SeriesInstanceUID, series.Modality) == (f"{STUDY}.1", "CT")
    assert series.NumberOfSeriesRelatedInstances == 4
    assert series.RetrieveURL.endswith(f"/studies/{STUDY}/series/{STUDY}.1")
    assert "PatientName" not in series


def test_an_image_is_described(viewer: TestClient) -> None:
    images = ask(viewer, f"/studies/{STUDY}/series/{STUDY}.1/instances")

    assert [image.SOPInstanceUID for image in images] == [f"{STUDY}.1.{n}" for n in (1, 2, 3, 4)]
    assert [image.InstanceNumber for image in images] == [1, 2, 3, 4]
    assert (images[0].Rows, images[0].Columns, images[0].BitsAllocated) == (128, 128, 16)
    assert images[0].AvailableTransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert images[0].RetrieveURL.endswith(f"/instances/{STUDY}.1.1")
    assert "NumberOfSeriesRelatedInstances" not in images[0]


def test_a_search_over_all_describes_the_levels_above(viewer: TestClient) -> None:
    series = ask(viewer, "/series")
    images = ask(viewer, "/instances", PatientID="P-1")

    assert {str(each.PatientName) for each in series} == {"Müller^Ürsula", "Smith^John"}
    assert {each.NumberOfStudyRelatedSeries for each in series} == {1, 2}
    assert len(images) == 4
    assert images[0].NumberOfStudyRelatedInstances == images[0].NumberOfSeriesRelatedInstances == 4


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({"StudyInstanceUID": STUDY}, [STUDY]),
        ({"0020000D": f"{STUDY},{OTHER}"}, [OTHER, STUDY]),
        ({"StudyInstanceUID": f"{STUDY}\\9.9"}, [STUDY]),
        ({"AccessionNumber": "ACC2"}, [OTHER]),
        ({"AccessionNumber": "ACC*"}, [OTHER, STUDY]),
        ({"AccessionNumber": "*"}, [OTHER, STUDY]),
        ({"AccessionNumber": ""}, [OTHER, STUDY]),
        ({"StudyDate": "20260101"}, [STUDY]),
        ({"StudyDate": "20260102-"}, [OTHER]),
        ({"StudyDate": "-20260102"}, [STUDY]),
        ({"StudyDate": "20260101-20260301"}, [OTHER, STUDY]),
        ({"StudyDate": "20260101-20260301", "StudyTime": "0800-0900"}, [STUDY]),
        ({"StudyTime": "12"}, [OTHER]),
        ({"ModalitiesInStudy": "CT"}, [OTHER, STUDY]),
        ({"Modality": "MR"}, []),
        ({"PatientID": "P-1"}, [STUDY]),
        ({"PatientID": "P-?"}, [OTHER, STUDY]),
        ({"PatientName": "müller*"}, [STUDY]),
        ({"PatientName": "*JOHN"}, [OTHER]),
        ({"PatientName": "Smith"}, []),
        ({"PatientName": "S.*"}, []),
        ({"PatientBirthDate": "19500101-19501231"}, [STUDY]),
        ({"PatientName": "*", "StudyDescription": "head"}, [STUDY]),
    ],
)
def test_studies_are_found(viewer: TestClient, parameters: dict[str, str], found: list[str]) -> None:
    assert [study.StudyInstanceUID for study in ask(viewer, "/studies", **parameters)] == found


def test_series_and_images_are_found_by_number(viewer: TestClient) -> None:
    assert [s.SeriesInstanceUID for s in ask(viewer, "/series", SeriesNumber=2, PatientID="P-2")] == [f"{OTHER}.2"]
    assert [s.SeriesInstanceUID for s in ask(viewer, f"/studies/{OTHER}/series", SeriesNumber=1)] == [f"{OTHER}.1"]
    images = ask(viewer, f"/studies/{STUDY}/instances", InstanceNumber=3)
    assert [image.SOPInstanceUID for image in images] == [f"{STUDY}.1.3"]
    assert ask(viewer, "/instances", SOPInstanceUID=f"{STUDY}.1.3")[0].InstanceNumber == 3
    assert ask(viewer, f"/studies/{STUDY}/instances", StudyInstanceUID=OTHER) == []


def test_pages_follow_one_another_and_say_when_there_is_more(viewer: TestClient) -> None:
    first = get(viewer, f"/studies/{STUDY}/instances", limit=3)
    second = get(viewer, f"/studies/{STUDY}/instances", limit=3, offset=3)
    by_patient = get(viewer, "/instances", PatientID="P-1", limit=2, offset=1)

    assert [len(page.json()) for page in (first, second, by_patient)] == [3, 1, 2]
    assert "299" in first.headers["warning"]
    assert "offset" in first.headers["warning"]
    assert "warning" not in second.headers
    assert by_patient.json()[0]["00080018"]["Value"] == [f"{STUDY}.1.2"]


def test_nothing_found_is_an_empty_list(viewer: TestClient) -> None:
    answer = get(viewer, "/studies", StudyInstanceUID="9.9")

    assert (answer.status_code, answer.json()) == (200, [])


def test_more_attributes_are_had_for_the_asking(viewer: TestClient) -> None:
    path = f"/studies/{STUDY}/instances"

    assert "SliceThickness" not in ask(viewer, path)[0]
    assert "SliceThickness" in ask(viewer, path, includefield="SliceThickness,00200032")[0]
    assert "ImagePositionPatient" in ask(viewer, path, includefield="all")[0]


def test_images_of_many_series_are_placed_a_page_at_a_time(viewer: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = get(viewer, "/instances").json()
    monkeypatch.setattr(search_module, "_PAGE", 1)
    asked: list[int] = []
    real = Catalogue.series

    def count(self: Catalogue, criteria: Criteria, *, limit: int, offset: int = 0) -> list[CataloguedSeries]:
        asked.append(len(criteria.series_uids))
        return real(self, criteria, limit=limit, offset=offset)

    monkeypatch.setattr(Catalogue, "series", count)

    assert get(viewer, "/instances").json() == at_once
    assert len(asked) > 1
    assert max(asked) == 1


def test_long_binary_values_are_left_out_of_results(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    dataset = changed(slices()[0])
    block = dataset.private_block(0x0029, "ICHD TEST", create=True)
    block.add_new(0x01, "OB", b"\x01" * 3000)
    block.add_new(0x02, "OB", b"\x02\x02")
    icon = Dataset()
    icon.Rows, icon.Columns, icon.PixelData = 50, 50, bytes(2500)
    icon["PixelData"].VR = "OB"
    dataset.IconImageSequence = [icon]
    facts = archive.file_dataset(dataset)

    with archive.client() as client:
        for fields in ("all", "00291001,00291002,IconImageSequence"):
            (found,) = client.get(
                f"{NAMESPACE}/studies/{facts.study_instance_uid}/instances", params={"includefield": fields}
            ).json()
            assert "00291001" not in found
            assert found["00291002"]["InlineBinary"] == "AgI="
            assert set(found["00880200"]["Value"][0]) == {"00280010", "00280011"}


def test_what_is_left_aside_is_said(viewer: TestClient) -> None:
    answer = get(viewer, "/studies", fuzzymatching="true", InstitutionName="X", PatientID="P-1")

    assert len(answer.json()) == 1
    assert "fuzzymatching" in answer.headers["warning"]
    assert "InstitutionName" in answer.headers["warning"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"limit": "-1"},
        {"limit": "many"},
        {"offset": "1.5"},
        {"StudyDate": "2026"},
        {"StudyDate": "-"},
        {"StudyInstanceUID": "1.2.x"},
        {"SeriesNumber": "two"},
        {"Modality": "C\0T"},
        {"ModalitiesInStudy": "C*"},
        {"Nonsense": "1"},
        {"includefield": "Nonsense"},
        {"PatientBirthDate": "1950"},
    ],
)
def test_a_query_that_makes_no_sense_is_refused_in_a_sentence(viewer: TestClient, parameters: dict[str, str]) -> None:
    answer = get(viewer, "/series", **parameters)

    assert answer.status_code == 400
    assert len(answer.json()["error"]) > 10


def test_a_search_for_a_patient_stops_and_says_so(viewer: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "_MOST_LOOKS", 1)
    monkeypatch.setattr(search_module, "_PAGE", 1)

    newest = get(viewer, "/studies", PatientID="P-2")
    older = get(viewer, "/studies", PatientID="P-1")

    assert len(newest.json()) == 1
    assert older.json() == []
    assert "newest 1" in older.headers["warning"]


def test_a_damaged_file_is_found_and_the_damage_said(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    facts = archive.file(slices()[0])
    archive.path_of(facts).unlink()

    with archive.client() as client:
        answer = get(client, "/studies")

    assert answer.json()[0]["0020000D"]["Value"] == [facts.study_instance_uid]
    assert "damaged" in answer.headers["warning"]


def test_what_is_no_json_is_not_to_be_had(viewer: TestClient) -> None:
    answer = viewer.get(f"{NAMESPACE}/studies", headers={"Accept": "application/dicom+xml"})

    assert answer.status_code == 406


def test_nothing_that_a_stranger_types_is_a_defect(viewer: TestClient) -> None:
    chance = random.Random(20261124)
    image = f"/studies/{STUDY}/series/{STUDY}.1/instances/{STUDY}.1.1"
    paths = ["/studies", "/series", "/instances", image, f"{image}/metadata", f"{image}/rendered"]
    paths += [f"{image}/frames/{'9' * 30}", f"{image}/frames/1/rendered", f"{image}/bulkdata/00100010"]
    names = [*CATALOGUED[Level.STUDY], *READ[Level.STUDY], "SeriesNumber", "limit", "offset", "includefield"]
    names += ["window", "viewport", "quality", "accept", "0040A043", "", "\0", "RequestAttributesSequence.StudyID"]
    values = ["", "*", "?", "\\", "-1", "20260101-20251231", "\u0663", "nan", "%", "\0", "a" * 5000, "1,2,linear", "--"]
    values += ["[", "(", '"', ",", ";;q=1", 'multipart/related; type="x', "FFFFFFFF", "0" * 30, "9" * 12, "4096,4096"]

    for _ in range(400):
        parameters = {chance.choice(names): chance.choice(values) for _ in range(chance.randint(0, 3))}
        path, accept = chance.choice(paths), chance.choice(["*/*", "image/*", ",,;", "a" * 3000])
        answer = viewer.get(f"{NAMESPACE}{path}", params=parameters, headers={"Accept": accept})
        assert answer.status_code < 500, (path, parameters)
