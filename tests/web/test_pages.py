"""What a person sees."""

import re
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from ichd.domain.arrival import AnnouncementKind
from ichd.domain.finding import ModelIdentity
from ichd.domain.reason import Reason
from ichd.store.announcements import Announcements
from ichd.store.engine import migrate
from tests.web.conftest import NOW, Filled, client_of
from tests.web.worklist_of_all_states import STATEMENT, Hospital


def row(html: str, study_uid: str) -> str:
    """The worklist line of a study, without markup."""
    (line,) = [tr for tr in re.findall(r"<tr class.*?</tr>", html, re.DOTALL) if f"/studies/{study_uid}" in tr]
    return text_of(line)


def text_of(html: str) -> str:
    reader = _Words()
    reader.feed(html)
    return " ".join(" ".join(reader.words).split())


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.mark.parametrize(
    ("study", "shown"),
    [
        ("receiving", ["Receiving", "receiving", "11 images", "not read yet"]),
        ("ready", ["Waiting", "ready, waits for a worker"]),
        ("two receipts", ["Urgent", "reported", "97.0 %", "Subdural", "95.0 %", "pacs", "archive", "received 1 h ago"]),
        ("routine", ["Routine", "reported", "3.0 %", "6 h"]),
        ("indeterminate", ["Indeterminate", "52.0 %", "Subarachnoid"]),
        ("no destination", ["Routine", "reported", "0.8 %", "no destination"]),
        ("peer away", ["Urgent", "report under way", "99.1 %", "ris-gateway", "attempt 1 failed, retries by itself"]),
        ("delivery failed", ["Urgent", "failed", "no_accepted_context", "enable SR storage there", "not delivered"]),
        ("reading failed", ["Failed", "file_damaged", Reason.FILE_DAMAGED.meaning, "1 of 12 files"]),
        ("chest", ["Not analysed", "no_readable_series", Reason.NO_READABLE_SERIES.meaning]),
        ("late slice", ["Urgent", "revision 2", "from revision 1; later images are not read yet"]),
    ],
)
def test_each_study_shows_where_it_stands_and_why(
    client: TestClient, filled: Filled, study: str, shown: list[str]
) -> None:
    line = row(client.get("/").text, filled.uids[study])

    assert [words for words in shown if words not in line] == []


def test_what_is_urgent_and_fresh_stands_on_top_then_what_needs_a_person_then_the_newest(
    client: TestClient, filled: Filled
) -> None:
    order = re.findall(r'href="/studies/([0-9.]+)"', client.get("/").text)

    names = {uid: name for name, uid in filled.uids.items()}
    assert [names[uid] for uid in order] == [
        "late slice",
        "peer away",
        "two receipts",
        "delivery failed",
        "reading failed",
        "indeterminate",
        "receiving",
        "ready",
        "no destination",
        "chest",
        "routine",
        "old urgent",
    ]


@pytest.mark.parametrize("study", [None, "two receipts", "receiving"])
def test_every_page_says_that_the_model_is_for_demonstration_only(
    client: TestClient, filled: Filled, study: str | None
) -> None:
    page = client.get(f"/studies/{filled.uids[study]}" if study else "/").text

    banner = text_of(page.partition('class="banner"')[2].partition("</aside>")[0])
    assert "Demonstration model" in banner
    assert STATEMENT in banner


def test_a_clinical_model_gets_no_banner(filled: Filled) -> None:
    clinical = ModelIdentity(name="site-model", version="4", weights_sha256="a" * 64, bundle_sha256="b" * 64)

    page = client_of(filled.folder, model=clinical).get("/").text

    assert 'class="banner"' not in page
    assert "site-model" in page


def test_a_study_page_shows_findings_key_slices_series_jobs_and_receipts(client: TestClient, filled: Filled) -> None:
    answer = client.get(f"/studies/{filled.uids['peer away']}")
    shown = text_of(answer.text)

    assert answer.status_code == 200
    for words in (
        "Intraparenchymal ▲ Present 98.6 %",
        "Epidural ● Absent 2.0 %",
        "8 99.1 %",  # the top key slice of `any`
        "1 · Head 5.0 H31s",
        "the destination does not answer",
        "deliver to ris-gateway",
        "embed 842 ms",
        "2026-11-24",
        "the sender released its association",
    ):
        assert words in shown, words


def test_a_study_page_says_why_a_series_was_not_read_and_how_to_retry(client: TestClient, filled: Filled) -> None:
    shown = text_of(client.get(f"/studies/{filled.uids['delivery failed']}").text)

    assert Reason.LOCALIZER.meaning in shown
    assert "2 · Topogram" in shown
    assert f"ichd retry {filled.uids['delivery failed']}" in shown


def test_the_worklist_says_what_was_refused_and_why(client: TestClient) -> None:
    refused = text_of(client.get("/").text.partition('id="refusals"')[2])

    for words in ("13 min", "MR2", "10.0.0.9", "wrong_modality", Reason.WRONG_MODALITY.meaning, "Modality MR"):
        assert words in refused, words


def test_an_empty_database_says_how_to_send_the_first_study(tmp_path: Path) -> None:
    migrate(f"sqlite:///{tmp_path / 'ichd.db'}")

    shown = text_of(client_of(tmp_path).get("/").text)

    assert "No study has arrived yet" in shown
    assert "ichd send first-study --to ICHD@127.0.0.1:11112" in shown
    assert "Refused" not in shown


def test_text_from_other_machines_is_text(tmp_path: Path) -> None:
    hospital = Hospital(folder=tmp_path, now=NOW)
    uid = hospital.receive(1, slices=12, description="<script>alert(1)</script>")

    page = client_of(tmp_path).get(f"/studies/{uid}").text

    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_no_page_needs_inline_script_or_style_or_another_host(client: TestClient, filled: Filled) -> None:
    for path in ("/", *(f"/studies/{uid}" for uid in filled.uids.values())):
        page = client.get(path).text

        assert re.findall(r'\sstyle="|\son[a-z]+="|<style', page) == []
        assert re.findall(r"<script(?![^>]*src=)", page) == []
        assert [link for link in re.findall(r'(?:src|href)="([^"]*)"', page) if not link.startswith(("/", "#"))] == []


def test_what_pages_refer_to_is_there(client: TestClient) -> None:
    for path in re.findall(r'(?:src|href)="(/static/[^"]*)"', client.get("/").text):
        assert client.get(path).status_code == 200, path


@pytest.mark.parametrize("uid", ["1.2.3", "nonsense", "%00", "1" * 65, "<b>"])
def test_an_unknown_study_is_a_page_that_says_so(client: TestClient, uid: str) -> None:
    answer = client.get(f"/studies/{uid}")

    assert answer.status_code == 404
    assert "There is no study with this Study Instance UID" in text_of(answer.text)
    assert "<b>" not in answer.text


def test_a_study_page_says_what_closed_the_study_with_its_numbers(tmp_path: Path) -> None:
    hospital = Hospital(folder=tmp_path, now=NOW)
    study_uid = hospital.receive(1, slices=11)
    Announcements(hospital.engine).note(
        AnnouncementKind.COUNT, study_uid=study_uid, source="<pacs>", complete=False, instances=12, now=hospital.now
    )
    hospital.close()
    assert "Taken as complete" not in client_of(tmp_path).get(f"/studies/{study_uid}").text
    hospital.now += timedelta(seconds=20)
    hospital.close()
    shown = text_of(client_of(tmp_path).get(f"/studies/{study_uid}").text)
    assert (
        "Taken as complete because nothing more came, though the study has more images elsewhere "
        "(11 of 12 images by the count at <pacs>)."
    ) in shown
