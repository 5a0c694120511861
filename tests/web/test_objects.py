"""What was sent about a study: read on a page, taken along by who may."""

from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydicom import dcmread

from ichd.domain.delivery import ObjectKind, Rendered
from ichd.domain.role import Role
from ichd.store.history import History
from ichd.store.outbox import Outbox
from ichd.store.spool import Spool
from ichd.web.visitor import Visitor
from tests.browser.explained import explain
from tests.browser.site import read_phantom
from tests.web.conftest import client_of
from tests.web.test_pages import text_of
from tests.web.test_viewing import As
from tests.web.worklist_of_all_states import Hospital

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sent")


@pytest.fixture(scope="module")
def study_uid(folder: Path) -> str:
    """A phantom that was read and reported, with an HL7 message beside its report."""
    uid = read_phantom(folder, NOW, slices=8)
    explain(folder, uid, NOW)
    hospital = Hospital(folder=folder, now=NOW)
    message = Rendered(sop_class_uid="", sop_instance_uid="m1", content=b"MSH|^~\\&|ichd\rPID|1||<b>4711</b>")
    outbox = Outbox(hospital.engine, hospital.spool)
    outbox.keep(1, 1, {ObjectKind.RESULT: [message]}, destination="ris", now=NOW)
    hospital.engine.dispose()
    return uid


@pytest.fixture
def client(folder: Path, study_uid: str) -> Iterator[TestClient]:
    with client_of(folder) as client:
        yield client


@pytest.fixture
def ids(folder: Path, study_uid: str) -> dict[ObjectKind, int]:
    hospital = Hospital(folder=folder, now=NOW)
    history = History(hospital.engine, Spool(folder / "spool"))
    return {each.kind: each.id for each in history.objects(study_uid)}


def test_the_study_page_leads_to_them(client: TestClient, study_uid: str, ids: dict[ObjectKind, int]) -> None:
    page = client.get(f"/studies/{study_uid}").text
    assert f'href="/studies/{study_uid}/objects/{ids[ObjectKind.SR]}"' in page
    assert f'href="/studies/{study_uid}/objects/{ids[ObjectKind.RESULT]}/file"' in page
    for words in ("Structured Report", "HL7 result", "to ris", "Comprehensive 3D SR Storage", "0x0000"):
        assert words in text_of(page)


def test_the_report_is_shown_readably(client: TestClient, study_uid: str, ids: dict[ObjectKind, int]) -> None:
    answer = client.get(f"/studies/{study_uid}/objects/{ids[ObjectKind.SR]}")
    shown = text_of(answer.text)
    for words in (
        "Intracranial haemorrhage: urgent",
        "Subdural ▲ Present 97.0 %",
        "Epidural ● Absent",
        "phantom-demo 1",
    ):
        assert words in shown, words
    patient = str(dcmread(BytesIO(_file(client, study_uid, ids[ObjectKind.SR]))).PatientName)
    assert patient
    assert patient not in answer.text


def _file(client: TestClient, study_uid: str, number: int) -> bytes:
    answer = client.get(f"/studies/{study_uid}/objects/{number}/file")
    assert answer.status_code == 200
    return bytes(answer.content)


def test_a_message_is_taken_along_and_never_shown_as_a_page(
    client: TestClient, study_uid: str, ids: dict[ObjectKind, int]
) -> None:
    address = f"/studies/{study_uid}/objects/{ids[ObjectKind.RESULT]}"
    answer = client.get(f"{address}/file")
    assert answer.content.startswith(b"MSH|")
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["content-disposition"].startswith("attachment; ")
    assert client.get(address).status_code == 404


def test_a_viewer_reads_the_report_and_gets_no_file(folder: Path, study_uid: str, ids: dict[ObjectKind, int]) -> None:
    viewer = Visitor(account="eve", role=Role.VIEWER)
    client = TestClient(As(client_of(folder).app, viewer), base_url="http://127.0.0.1:8642")
    address = f"/studies/{study_uid}/objects/{ids[ObjectKind.SR]}"
    assert client.get(address).status_code == 200
    assert client.get(f"{address}/file").status_code == 403
    assert f"{address}/file" not in client.get(f"/studies/{study_uid}").text


@pytest.mark.parametrize("path", ["1.2.3/objects/1", "x/objects/1", "1.2.3/objects/99999999999999"])
def test_what_is_unknown_is_not_found(client: TestClient, path: str) -> None:
    assert client.get(f"/studies/{path}").status_code == 404
    assert client.get(f"/studies/{path}/file").status_code == 404


def test_the_history_says_what_each_revision_came_to(client: TestClient, study_uid: str) -> None:
    shown = text_of(client.get(f"/studies/{study_uid}").text.partition('id="revisions"')[2])
    assert "Revisions Revision Came to By 1 ▲ Urgent any haemorrhage 97.0 %" in shown
