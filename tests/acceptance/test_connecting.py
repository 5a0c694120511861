"""docs/connecting.md with a real Orthanc: its blocks are what runs, at other addresses."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pydicom
import pytest

from ichd.app.plain import plain_recipe
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.report.readable import read_report
from ichd.settings import load_settings
from tests.acceptance.daemon import Daemon, wait_until
from tests.peers.orthanc import MISSING, Orthanc, running_orthanc
from tests.peers.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/connecting.md").read_text()

pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.S | re.M)


@dataclass(kw_only=True)
class Connected:
    """Both, as the page has them connected."""

    archive: Orthanc
    daemon: Daemon
    #: Orthanc's ids of the images that were uploaded to it.
    images: list[dict[str, Any]]
    study_uid: str


@pytest.fixture(scope="module")
def connected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connected]:
    folder = tmp_path_factory.mktemp("connecting")
    port = free_port()
    (configuration,) = map(json.loads, blocks("json"))
    (rule,) = blocks("lua")
    (folder / "route.lua").write_text(rule)
    configuration["LuaScripts"] = [str(folder / "route.lua")]
    configuration["StableAge"] = 1
    configuration["DicomModalities"]["ichd"] |= {"Host": "127.0.0.1", "Port": port}
    ours = configuration.pop("DicomPort"), configuration.pop("DicomAet")
    assert ours == (4242, "ORTHANC")
    with ExitStack() as stack:
        archive = stack.enter_context(running_orthanc(folder, **configuration))
        settings = blocks("toml")[0].replace("192.0.2.20:4242", f"127.0.0.1:{archive.dicom_port}")
        settings = settings.replace("192.0.2.20", "127.0.0.1").replace('[dicom]\nhost = "0.0.0.0"\n', "")
        peers, _, rest = settings.lstrip().partition("\n")
        assert peers.startswith("allowed_peers")
        daemon = Daemon(folder / "daemon", port=port, extra_settings=rest)
        text = daemon.config.read_text().replace("[dicom]\n", f"[dicom]\n{peers}\n", 1)
        daemon.config.write_text(text)
        stack.callback(daemon.kill)
        daemon.start(wait=False)
        wait_until(lambda: hears(archive), f"Orthanc gets no echo; see {daemon.log}")
        recipe = plain_recipe(PhantomRecipe(seed=7, bleeds=("subdural",)))
        files = write_series(render(recipe), folder / "phantom")
        study_uid = str(pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)
        images = [archive.post_file(path) for path in files]
        yield Connected(archive=archive, daemon=daemon, images=images, study_uid=study_uid)


def hears(archive: Orthanc) -> bool:
    """Orthanc gets an answer to C-ECHO: nobody else may call."""
    try:
        archive.post_json("/modalities/ichd/echo", {})
    except HTTPError:
        return False
    return True


def test_orthanc_routes_a_series_and_keeps_the_report(connected: Connected) -> None:
    study = connected.daemon.wait_for(connected.study_uid, "reported", "not_analysed", "failed")
    assert study["state"] == "reported", study
    (delivery,) = study["deliveries"]
    assert (delivery["destination"], delivery["proof"]) == ("orthanc", "committed")
    kept = connected.archive.instances(StudyInstanceUID=connected.study_uid)
    assert {"SR", "KO", "OT"} < {str(each.Modality) for each in kept}
    (report,) = [each for each in kept if each.Modality == "SR"]
    assert read_report(report).triage == "urgent"


def test_nothing_runs_in_a_circle(connected: Connected) -> None:
    connected.daemon.wait_for(connected.study_uid, "reported")
    jobs = connected.archive.get_json("/jobs?expand")
    sent = [job for job in jobs if job["Type"] == "DicomModalityStore"]
    assert [job["State"] for job in sent] == ["Success"]
    assert connected.daemon.ichd("status")["refusals"] == []


def test_orthanc_asks_whether_we_have_what_it_sent(connected: Connected) -> None:
    connected.daemon.wait_for(connected.study_uid, "reported")
    series = connected.images[0]["ParentSeries"]
    asked = connected.archive.post_json("/modalities/ichd/storage-commitment", {"Resources": [series]})

    def answer() -> Any:
        return connected.archive.get_json(f"/storage-commitment/{asked['ID']}")

    wait_until(lambda: answer()["Status"] != "Pending", "no answer to the request for storage commitment")
    assert (answer()["Status"], answer()["Failures"]) == ("Success", [])
    assert len(answer()["Success"]) == len(connected.images)


def test_the_trial_hospital_routes_by_the_same_rule() -> None:
    (rule,) = blocks("lua")
    assert (ROOT / "deploy/container/orthanc/route.lua").read_text().endswith(rule)


@pytest.mark.parametrize("number", range(len(blocks("toml"))))
def test_every_block_of_settings_is_understood(tmp_path: Path, number: int) -> None:
    path = tmp_path / "ichd.toml"
    path.write_text(blocks("toml")[number])
    assert load_settings(path).destination[0].confirm == "commitment"
