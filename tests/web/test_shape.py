"""One shape for a study, whichever way a program asks for it."""

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from ichd.domain.finding import CLASSES
from ichd.web.shape import reading_shape
from tests.cli.test_main import ichd
from tests.web.conftest import Filled

#: interface.md, "Files".
PROMISED = {
    "study_uid", "series_uid", "state", "model", "classes", "scan", "slices", "triage", "skipped_series", "timings_ms",
}  # fmt: skip


def status(filled: Filled, cwd: Path, *arguments: str) -> Any:
    return json.loads(run_status(filled, cwd, *arguments, "--json"))


def run_status(filled: Filled, cwd: Path, *arguments: str) -> str:
    # Without the spool: whether its disk is away or not, a person may look.
    env = {"ICHD_DATABASE__URL": f"sqlite:///{filled.folder / 'ichd.db'}"}
    done = ichd("status", *arguments, cwd=cwd, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("study", ["late slice", "two receipts", "chest", "receiving"])
def test_the_command_line_and_the_api_say_the_same(
    client: TestClient, filled: Filled, tmp_path: Path, study: str
) -> None:
    uid = filled.uids[study]

    assert status(filled, tmp_path, uid) == client.get(f"/api/studies/{uid}").json()


def test_the_lists_say_the_same(client: TestClient, filled: Filled, tmp_path: Path) -> None:
    listed = status(filled, tmp_path)

    assert listed["studies"] == client.get("/api/studies").json()
    assert listed["refusals"] == client.get("/api/refusals").json()


def test_a_line_and_its_study_agree(client: TestClient, filled: Filled) -> None:
    for line in client.get("/api/studies").json():
        study = client.get(f"/api/studies/{line['study_uid']}").json()
        of_the_line = {key: value for key, value in study.items() if key in line}

        # A study lists what every revision did, a line the present one's.
        for key in ("jobs", "deliveries"):
            assert [x for x in of_the_line.pop(key) if x["revision"] == line["revision"]] == line[key]
        assert of_the_line == {key: value for key, value in line.items() if key not in {"jobs", "deliveries"}}


def test_an_earlier_finding_says_that_it_is_one(client: TestClient, filled: Filled) -> None:
    study = client.get(f"/api/studies/{filled.uids['late slice']}").json()

    assert (study["revision"], study["finding_revision"], study["triage"]) == (2, 1, "urgent")
    assert study["scan"]["epidural"] == pytest.approx(0.73, abs=0.02)
    assert (study["model"], study["slices"], study["timings_ms"]) == (None, [], {})


def test_every_key_is_there_before_anything_was_read() -> None:
    nothing = reading_shape(None)

    assert nothing.keys() >= PROMISED | {"notes", "reason", "detail", "presence"}
    assert nothing["classes"] == list(CLASSES)
    assert reading_shape({"scan": {"any": 0.5}})["scan"] == {"any": 0.5}


def test_notes_of_a_reading_are_shown_wherever_it_is(client: TestClient, filled: Filled, tmp_path: Path) -> None:
    uid = filled.uids["two receipts"]
    note = "the gantry was <tilted> by 12.0°"

    assert client.get(f"/api/studies/{uid}").json()["notes"] == [note]
    assert "the gantry was &lt;tilted&gt; by 12.0°" in client.get(f"/studies/{uid}").text
    assert note in status(filled, tmp_path, uid)["notes"]
    assert f"note       {note}" in run_status(filled, tmp_path, uid)


def test_the_command_line_says_in_words_what_closed_a_study(filled: Filled, tmp_path: Path) -> None:
    shown = run_status(filled, tmp_path, filled.uids["late slice"])
    assert "closed by  released_and_quiet: the sender released its association, and nothing more came" in shown
