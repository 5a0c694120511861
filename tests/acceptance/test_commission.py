"""`ichd commission` as an integrator runs it: Orthanc as the archive, there and back; and archives that fail."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from tests.acceptance.daemon import PATIENCE_S, Daemon, Destination, running
from tests.peers.orthanc import DICOMWEB_MISSING, MISSING, Orthanc, dicomweb_server, running_orthanc
from tests.peers.ports import free_port

OPEN = {"DicomAlwaysAllowFind": True, "DicomAlwaysAllowGet": True, "DicomAlwaysAllowMove": True}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    if MISSING or DICOMWEB_MISSING:
        pytest.skip(str(MISSING or DICOMWEB_MISSING))
    with running_orthanc(tmp_path_factory.mktemp("archive"), **OPEN, **dicomweb_server()) as server:
        yield server


@pytest.fixture(scope="module")
def swallower() -> Iterator[int]:
    """The port of an archive that acknowledges all that it is sent, and lists nothing."""
    ae = AE("SWALLOWER")
    ae.supported_contexts = AllStoragePresentationContexts
    ae.add_supported_context(Verification)
    ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    port = free_port()
    handlers: Any = [(evt.EVT_C_STORE, lambda _: 0x0000), (evt.EVT_C_FIND, lambda _: iter(()))]
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    assert server is not None
    yield port
    server.shutdown()


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """An archive that lists what it has, and hands nothing over."""
    if MISSING:
        pytest.skip(MISSING)
    with running_orthanc(tmp_path_factory.mktemp("closed"), **OPEN | {"DicomAlwaysAllowGet": False}) as server:
        yield server


@pytest.fixture(scope="module")
def daemon(
    tmp_path_factory: pytest.TempPathFactory, archive: Orthanc, swallower: int, closed: Orthanc
) -> Iterator[Daemon]:
    web = f"http://127.0.0.1:{archive.http_port}/dicom-web"
    daemon = Daemon(
        tmp_path_factory.mktemp("daemon"),
        destinations=[
            Destination(name="pacs", ae_title=archive.ae_title, port=archive.dicom_port),
            Destination(name="swallower", ae_title="SWALLOWER", port=swallower),
            Destination(name="closed", ae_title=closed.ae_title, port=closed.dicom_port),
        ],
        extra_settings=f'[[destination]]\nname = "web"\nkind = "stow"\nurl = "{web}"\n',
    )
    with running(daemon):
        yield daemon


def commission(daemon: Daemon, out: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, figures and page."""
    done = subprocess.run(
        [sys.executable, "-m", "ichd", "--config", str(daemon.config), "commission", "--out", str(out), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={k: v for k, v in os.environ.items() if not k.startswith("ICHD_")},
    )
    assert out.exists(), done.stderr
    return done.returncode, json.loads(out.with_suffix(".json").read_text()), out.read_text()


def points(figures: dict[str, Any], case: str) -> dict[str, dict[str, Any]]:
    (found,) = [each for each in figures["cases"] if each["case"] == case]
    return {point["name"]: point for point in found["points"]}


def test_every_kind_goes_there_and_back(daemon: Daemon, archive: Orthanc, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    code, figures, page = commission(daemon, out, "--to", "pacs", "--timeout", f"{PATIENCE_S}", "--keep")
    assert code == 0, [p for case in figures["cases"] for p in case["points"] if not p["ok"]]
    assert figures["passed"]
    assert len(figures["cases"]) == 6
    for case in figures["cases"]:
        assert case["handed_back"]
        assert 0 <= case["complete_s"] <= case["reported_s"] <= case["archived_s"]
        (report,) = archive.instances(StudyInstanceUID=case["study_uid"], Modality="SR")
        assert report.SOPInstanceUID == case["report_uid"]
        assert (report.PatientName, report.PatientID) == ("ICHD^COMMISSIONING", figures["patient_id"])
        assert report.QualityControlSubject == "YES"
    assert points(figures, "subdural")["Key slices"]["ok"]
    kept = sorted((tmp_path / "report").iterdir())
    assert len(kept) == 6
    image = pydicom.dcmread(next(kept[0].iterdir()))
    assert image.PatientID == figures["patient_id"]
    # One file: no other is asked for, and its pictures are in it.
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert page.count("data:image/png;base64,") == 12
    assert "PASSED" in page


def test_by_dicomweb_and_without_traces_on_disk(daemon: Daemon, tmp_path: Path) -> None:
    out = tmp_path / "web.html"
    code, figures, _ = commission(daemon, out, "--to", "web", "--bleeds", "none", "--timeout", f"{PATIENCE_S}")
    assert code == 0, figures["cases"]
    (case,) = figures["cases"]
    assert (case["case"], case["handed_back"]) == ("healthy", True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["web.html", "web.json"]


def test_an_archive_that_hands_nothing_over_is_read_in_the_copy_that_was_sent(daemon: Daemon, tmp_path: Path) -> None:
    arguments = ("--to", "closed", "--bleeds", "none", "--timeout", f"{PATIENCE_S}")
    code, figures, page = commission(daemon, tmp_path / "closed.html", *arguments)
    assert code == 0, figures["cases"]
    assert not figures["cases"][0]["handed_back"]
    assert points(figures, "healthy")["Report handed back"]["found"] == "the copy that was sent"
    assert "The archive hands nothing over" in page


def test_an_archive_that_swallows_the_report_fails(daemon: Daemon, tmp_path: Path) -> None:
    code, figures, page = commission(
        daemon, tmp_path / "no.html", "--to", "swallower", "--bleeds", "none", "--timeout", "30"
    )
    assert code == 1
    assert not figures["passed"]
    listed = points(figures, "healthy")["Report listed"]
    assert (listed["found"], listed["ok"]) == ("not listed", False)
    assert "does not list it" in listed["note"]
    assert "FAILED" in page


def test_an_archive_that_routes_is_the_true_way(daemon: Daemon, archive: Orthanc, tmp_path: Path) -> None:
    """It gets the images, sends them on to us, and has the report in the end."""
    us = {"AET": "ICHD", "Host": "127.0.0.1", "Port": daemon.port}
    script = tmp_path / "route.lua"
    script.write_text(
        "function OnStableSeries(seriesId, tags, metadata)\n"
        "  if tags['Modality'] == 'CT' then RestApiPost('/modalities/ichd/store', seriesId) end\nend\n"
    )
    with running_orthanc(tmp_path, DicomModalities={"ichd": us}, LuaScripts=[str(script)], StableAge=1) as router:
        via = f"{router.ae_title}@127.0.0.1:{router.dicom_port}"
        code, figures, _ = commission(
            daemon,
            tmp_path / "via.html",
            "--to",
            "pacs",
            "--via",
            via,
            "--bleeds",
            "none",
            "--timeout",
            f"{PATIENCE_S}",
        )
    assert code == 0, figures["cases"]
    assert via in figures["sent_to"]


def test_nothing_is_sent_where_the_route_is_not_well(tmp_path: Path) -> None:
    away = Destination(name="away", ae_title="GONE", port=free_port())
    daemon = Daemon(tmp_path / "daemon", destinations=[away])
    assert (
        subprocess.run(
            [sys.executable, "-m", "ichd", "--config", str(daemon.config), "migrate"], check=False
        ).returncode
        == 0
    )
    code, figures, page = commission(daemon, tmp_path / "away.html", "--to", "away", "--bleeds", "none")
    assert code == 1
    assert figures["cases"] == []
    assert {check["name"] for check in figures["checks"] if not check["ok"]} >= {"listener", "destination away"}
    assert "Nothing was sent" in page


def test_what_can_not_be_commissioned_is_said_in_a_sentence(daemon: Daemon) -> None:
    for arguments, words in (
        (("--to", "nowhere"), "use one of pacs, swallower, closed, web"),
        (("--to", "pacs", "--bleeds", "nose"), "--bleeds nose is unknown"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "ichd", "--config", str(daemon.config), "commission", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert words in done.stderr
