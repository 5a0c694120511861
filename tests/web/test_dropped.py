"""Images that were dropped, seen by viewers and on the study page."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient

from ichd.domain.completeness import CompletenessPolicy
from ichd.domain.job import JobKind
from ichd.domain.retention import RetentionPolicy
from ichd.domain.study import InstanceFacts
from ichd.intake.header import parse_header
from ichd.intake.part10 import split_file
from ichd.store.queue import Queue
from ichd.store.retention import Retention
from ichd.store.studies import Studies
from tests.store.house import unread
from tests.web.archive import NAMESPACE, Archive, slices

AVAILABILITY, ADDRESS = "00080056", "00081190"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """A study of four slices that was dropped, of which one came again; and another one that is whole."""
    archive = Archive(tmp_path_factory.mktemp("dropped"))
    for content in slices():
        archive.file(content)
    archive.arrivals.end_association(archive.association, released=True, now=archive.now)
    archive.now += timedelta(minutes=5)
    studies, queue = Studies(archive.engine, archive.spool), Queue(archive.engine)
    studies.close_complete(CompletenessPolicy(), now=archive.now)
    job = queue.claim(owner="worker", lease_s=15, now=archive.now, kinds=(JobKind.ANALYSE,))
    assert job is not None
    studies.begin_analysis(job, now=archive.now)
    studies.not_analysed(job, record=unread(), now=archive.now)
    archive.now += timedelta(days=2)
    policy = RetentionPolicy(keep_for=timedelta(days=1))
    assert Retention(archive.engine, archive.spool, policy).run(archive.now).total.images == 4
    archive.association = archive.arrivals.open_association(calling_ae_title="CT1", address="", now=archive.now)
    archive.file(slices()[0])
    for content in slices(seed=4):
        archive.file(content)
    return archive


@pytest.fixture
def viewer(archive: Archive) -> Iterator[TestClient]:
    with archive.client() as client:
        yield client


def study_of(content: bytes) -> InstanceFacts:
    syntax, dataset = split_file(content)
    return parse_header(dataset, syntax)


TORN = [study_of(content) for content in slices()]
WHOLE = study_of(slices(seed=4)[0])
STUDY = f"{NAMESPACE}/studies/{TORN[0].study_instance_uid}"
SERIES = f"{STUDY}/series/{TORN[0].series_instance_uid}"


def instance(facts: InstanceFacts) -> str:
    return f"{SERIES}/instances/{facts.sop_instance_uid}"


@pytest.mark.parametrize(
    "path", [STUDY, SERIES, f"{STUDY}/metadata", *(instance(TORN[1]) + end for end in ("", "/rendered", "/frames/1"))]
)
def test_what_is_not_all_here_is_gone_and_the_answer_says_why(viewer: TestClient, path: str) -> None:
    answer = viewer.get(path, headers={"Accept": "*/*"})
    assert answer.status_code == 410
    assert answer.json()["reason"] == "images_dropped"


def test_an_image_that_came_again_is_served(viewer: TestClient) -> None:
    accept = {"Accept": 'multipart/related; type="application/dicom"'}
    assert viewer.get(instance(TORN[0]), headers=accept).status_code == 200


def availability(answer: dict[str, dict[str, list[str]]]) -> tuple[str, bool]:
    return answer[AVAILABILITY]["Value"][0], ADDRESS in answer


def test_a_search_says_what_can_be_retrieved(viewer: TestClient) -> None:
    answer = viewer.get(f"{NAMESPACE}/studies")
    studies = {study["0020000D"]["Value"][0]: availability(study) for study in answer.json()}
    assert studies == {
        TORN[0].study_instance_uid: ("UNAVAILABLE", False),
        WHOLE.study_instance_uid: ("ONLINE", True),
    }
    assert "Warning" not in answer.headers, "nothing is damaged"
    (series,) = viewer.get(f"{STUDY}/series").json()
    assert availability(series) == ("UNAVAILABLE", False)
    assert series["00080060"]["Value"] == ["CT"]
    images = {each["00080018"]["Value"][0]: availability(each) for each in viewer.get(f"{STUDY}/instances").json()}
    assert images == {
        facts.sop_instance_uid: ("UNAVAILABLE", False) if number else ("ONLINE", True)
        for number, facts in enumerate(TORN)
    }


def test_what_the_database_knows_of_a_dropped_image_is_said(viewer: TestClient) -> None:
    found = viewer.get(f"{STUDY}/instances", params={"SOPInstanceUID": TORN[1].sop_instance_uid}).json()[0]
    assert found["00280010"]["Value"] == [TORN[1].rows]
    assert found["00200013"]["Value"] == [TORN[1].instance_number]


def test_the_study_page_and_the_api_say_since_when(viewer: TestClient, archive: Archive) -> None:
    page = viewer.get(f"/studies/{TORN[0].study_instance_uid}").text
    assert "4, 3 of them dropped on 2026-11-03" in page
    study = viewer.get(f"/api/studies/{TORN[0].study_instance_uid}").json()
    assert study["images_dropped"] == 3
    assert study["images_dropped_at"].startswith("2026-11-03")
