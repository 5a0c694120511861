"""Who sees who is examined, from where, and what is left of it: nothing."""

import sqlite3
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydicom import dcmread
from structlog.testing import capture_logs

from ichd.domain.audit import AuditEvent
from ichd.domain.errors import Transient
from ichd.domain.reason import Reason
from ichd.domain.role import Role
from ichd.web import Entry
from ichd.web.access.accounts import Accounts
from ichd.web.access.secret import new_token
from ichd.web.access.standing import Standing, Standings
from tests.web.archive import NAMESPACE, Archive, slices
from tests.web.conftest import client_of

TOKENS = {name: new_token() for name in Role}
NAME, ID = "Müller-Lüdenscheidt^Anna^Maria", "PID-4711"
LEAST = (Role.VIEWER, Role.OPERATOR, Role.ADMIN, None)


@dataclass
class Ward:
    """A study of somebody, behind a door with an account of each role."""

    archive: Archive
    study: str
    series: str
    sop: str
    told: list[tuple[AuditEvent, str, dict[str, str]]] = field(default_factory=list)
    is_away: bool = False

    def client(self, role: Role, *, least: Role | None = Role.OPERATOR) -> TestClient:
        entry = Entry(
            accounts=Accounts({name: hashed for name, (_, hashed) in TOKENS.items()}),
            standings=Standings({name: Standing(role=name) for name in Role}, names_from=least),
            tell=self._hear,
        )
        client = client_of(self.archive.folder, entry=entry)
        client.headers["Authorization"] = f"Bearer {TOKENS[role][0]}"
        return client

    def _hear(self, event: AuditEvent, account: str, _: str, subject: dict[str, str]) -> None:
        if self.is_away:
            raise Transient(Reason.STORE_UNAVAILABLE)
        self.told.append((event, account, subject))


@pytest.fixture
def ward(tmp_path: Path) -> Ward:
    archive = Archive(tmp_path)
    dataset = dcmread(BytesIO(slices()[0]))
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName, dataset.PatientID = NAME, ID
    dataset.PatientBirthDate, dataset.PatientSex = "19500203", "F"
    facts = archive.file_dataset(dataset)
    return Ward(archive, facts.study_instance_uid, facts.series_instance_uid, facts.sop_instance_uid)


@pytest.mark.parametrize("least", LEAST)
@pytest.mark.parametrize("role", Role)
def test_a_role_sees_names_from_the_least_one_on(ward: Ward, role: Role, least: Role | None) -> None:
    client = ward.client(role, least=least)
    sees = least is not None and role.may_as(least)

    answer = client.get(f"/api/studies/{ward.study}/patient")
    page = client.get(f"/studies/{ward.study}").text

    assert answer.status_code == (200 if sees else 403)
    assert ("Müller-Lüdenscheidt, Anna Maria" in page) is sees
    assert (ID in page) is sees
    assert ("1950-02-03" in page) is sees
    if sees:
        assert answer.json() == {
            "name": "Müller-Lüdenscheidt, Anna Maria",
            "id": ID,
            "birth_date": "19500203",
            "sex": "F",
        }


def test_dicomweb_names_nobody_to_who_may_not_know(ward: Ward) -> None:
    client = ward.client(Role.VIEWER)
    study = f"{NAMESPACE}/studies/{ward.study}"
    image = f"{study}/series/{ward.series}/instances/{ward.sop}"
    accept = {"Accept": "application/dicom+json"}

    for path in (f"{NAMESPACE}/studies?includefield=all", f"{NAMESPACE}/instances?includefield=PatientName"):
        assert all(not key.startswith("0010") for found in client.get(path).json() for key in found)
    for path in (study, f"{study}/series/{ward.series}", image):
        described = client.get(f"{path}/metadata", headers=accept)
        assert described.status_code == 200
        assert "0010" not in {key[:4] for found in described.json() for key in found}
        assert client.get(path).status_code == 403
    for query in ("PatientName=M*", "00100020=PID*", "PatientBirthDate=19500203"):
        assert client.get(f"{NAMESPACE}/studies?{query}").status_code == 403
    assert client.get(f"{image}/bulkdata/00100010").status_code == 403
    assert client.get(f"{image}/frames/1").status_code == 200
    assert client.get(f"{image}/rendered").status_code == 200
    named = ward.client(Role.OPERATOR)
    assert named.get(f"{NAMESPACE}/studies?PatientID={ID}").json()[0]["00100020"]["Value"] == [ID]
    assert named.get(study).status_code == 200


def test_the_trail_has_each_look_once_and_no_look_is_without_a_trace(ward: Ward) -> None:
    client = ward.client(Role.OPERATOR)
    path = f"/api/studies/{ward.study}/patient"
    ward.is_away = True

    assert client.get(path).status_code == 503
    page = client.get(f"/studies/{ward.study}")
    assert page.status_code == 200
    assert ID not in page.text

    ward.is_away = False
    assert [client.get(path).status_code for _ in range(3)] == [200] * 3
    client.get(f"/studies/{ward.study}")
    assert ward.told == [(AuditEvent.PATIENT_SHOWN, "operator", {"study_instance_uid": ward.study})]


def test_nothing_of_it_is_stored_or_logged(ward: Ward) -> None:
    with capture_logs() as said:
        client = ward.client(Role.ADMIN)
        client.get(f"/api/studies/{ward.study}/patient")
        client.get(f"/studies/{ward.study}")

    database = sqlite3.connect(ward.archive.folder / "ichd.db")
    dump = "\n".join(database.iterdump())
    database.close()
    for word in ("Lüdenscheidt", "Anna", ID, "19500203"):
        assert word not in dump
        assert word not in str(said)


def test_a_name_is_read_once_for_many_looks(ward: Ward) -> None:
    client = ward.client(Role.ADMIN)
    path = f"/api/studies/{ward.study}/patient"
    first = client.get(path)
    for file in (ward.archive.folder / "spool").rglob("*"):
        if file.is_file():
            file.unlink()

    assert client.get(path).json() == first.json()
    # Without what another process remembers, the file is missed.
    assert ward.client(Role.ADMIN).get(path).status_code == 500


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({"PatientName": ""}, ""),
        ({"PatientName": "DOE"}, "DOE"),
        ({"PatientName": "^JANE"}, "JANE"),
        ({"PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう"}, "Yamada, Tarou"),
        ({"PatientName": "=山田^太郎"}, "山田, 太郎"),
        ({"PatientName": "A^B^C^D^E"}, "A, B C"),
        ({"PatientName": "<script>alert(1)</script>"}, "<script>alert(1)</script>"),
    ],
)
def test_a_name_is_shown_as_people_write_it(tmp_path: Path, changed: dict[str, Any], shown: str) -> None:
    archive = Archive(tmp_path)
    dataset = dcmread(BytesIO(slices()[0]))
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in changed.items():
        setattr(dataset, keyword, value)
    facts = archive.file_dataset(dataset)

    assert client_of(tmp_path).get(f"/api/studies/{facts.study_instance_uid}/patient").json()["name"] == shown
    assert "<script>alert" not in client_of(tmp_path).get(f"/studies/{facts.study_instance_uid}").text


@pytest.mark.parametrize("uid", ["1.2.3", "nonsense", "%00", "..%2f..%2fetc%2fpasswd"])
def test_of_a_study_that_is_not_here_nothing_is_known(ward: Ward, uid: str) -> None:
    assert ward.client(Role.ADMIN).get(f"/api/studies/{uid}/patient").status_code == 404
