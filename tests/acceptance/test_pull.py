"""`ichd pull` as an operator runs it, from Orthanc: every way, twice, with priors, and in a bad hour."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from ichd.phantom import PhantomRecipe, render, write_series
from tests.acceptance.daemon import Daemon, running
from tests.intake.asking import Pacs, running_pacs, series
from tests.peers.ports import free_port

PRIOR = "1.2.826.0.1.3680043.10.1459.91"
SLICES = 16
ACCESSION = "A 4711-1"


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> list[pydicom.Dataset]:
    files = write_series(render(PhantomRecipe(seed=5, slices=SLICES)), tmp_path_factory.mktemp("phantom"))
    datasets: list[pydicom.Dataset] = [pydicom.dcmread(file) for file in files]
    for dataset in datasets:
        dataset.AccessionNumber = ACCESSION
    return datasets


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    return Daemon(tmp_path / "daemon")


@pytest.fixture
def pacs(tmp_path: Path, daemon: Daemon, phantom: list[pydicom.Dataset]) -> Iterator[Pacs]:
    """An archive with a study and a prior of its patient, in the daemon's settings by each way of asking."""
    first = phantom[0]
    with running_pacs(tmp_path, listener_port=daemon.port) as running_one:
        running_one.keep(phantom)
        running_one.keep(series(PRIOR, 1, 3, PatientID=first.PatientID, StudyDate="20010101"))
        dimse = f'address = "127.0.0.1:{running_one.orthanc.dicom_port}"\nae_title = "ORTHANC"\n'
        with daemon.config.open("a") as config:
            config.write(
                f'[[source]]\nname = "get"\n{dimse}'
                f'[[source]]\nname = "move"\nretrieve = "move"\n{dimse}'
                f'[[source]]\nname = "web"\nkind = "dicomweb"\n'
                f'url = "http://127.0.0.1:{running_one.orthanc.http_port}/dicom-web"\n'
                f'[[source]]\nname = "away"\naddress = "127.0.0.1:{free_port()}"\nae_title = "GONE"\n'
            )
        yield running_one


def ichd(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ichd", "--config", str(daemon.config), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("way", ["get", "web"])
def test_a_study_is_pulled_without_a_listener(
    way: str, daemon: Daemon, pacs: Pacs, phantom: list[pydicom.Dataset]
) -> None:
    study = str(phantom[0].StudyInstanceUID)
    assert ichd(daemon, "migrate").returncode == 0

    planned = daemon.ichd("pull", "--from", way, "--study", study, "--dry-run")
    assert [(s["study_uid"], s["missing"]) for s in planned["studies"]] == [(study, SLICES)]

    first = daemon.ichd("pull", "--from", way, "--study", study)
    assert (first["images"], first["fetched"], first["missing"]) == (SLICES, SLICES, 0)
    again = ichd(daemon, "pull", "--from", way, "--study", study)
    assert again.returncode == 0
    assert f"all {SLICES} images are here already, nothing was fetched" in again.stdout

    with_priors = daemon.ichd("pull", "--from", way, "--accession", ACCESSION, "--priors")
    assert [(s["study_uid"], s["prior"], s["fetched"]) for s in with_priors["studies"]] == [
        (study, False, 0),
        (PRIOR, True, 3),
    ]


def test_a_study_that_is_moved_here_is_read(daemon: Daemon, pacs: Pacs, phantom: list[pydicom.Dataset]) -> None:
    study = str(phantom[0].StudyInstanceUID)
    with running(daemon):
        pulled = daemon.ichd("pull", "--from", "move", "--study", study)
        assert (pulled["fetched"], pulled["missing"]) == (SLICES, 0)
        read = daemon.wait_for(study, "analysed", "reported", "not_analysed", "failed")
    assert read["scan"] is not None, read


def test_what_can_not_be_fetched_ends_with_exit_code_1(
    daemon: Daemon, pacs: Pacs, phantom: list[pydicom.Dataset]
) -> None:
    assert ichd(daemon, "migrate").returncode == 0
    done = ichd(daemon, "pull", "--from", "move", "--study", str(phantom[0].StudyInstanceUID))
    assert done.returncode == 1
    assert "ichd serve" in done.stderr

    gone = ichd(daemon, "pull", "--from", "away", "--study", "1.2.3")
    assert gone.returncode == 1
    assert "does not answer" in gone.stderr


def test_what_is_not_there_is_a_mistake_and_nothing_new_is_none(daemon: Daemon, pacs: Pacs) -> None:
    assert ichd(daemon, "migrate").returncode == 0
    no_source = ichd(daemon, "pull", "--from", "nowhere", "--study", "1.2.3")
    assert (no_source.returncode, no_source.stdout) == (2, "")
    assert "use one of get, move, web, away" in no_source.stderr

    no_study = ichd(daemon, "pull", "--from", "get", "--study", "1.2.3")
    assert (no_study.returncode, no_study.stdout) == (2, "")
    assert "no CT images of such a study" in no_study.stderr

    nothing_new = ichd(daemon, "pull", "--from", "get", "--since", "30m")
    assert (nothing_new.returncode, nothing_new.stdout.strip()) == (0, "get has no newer CT images")


def test_doctor_looks_at_sources(daemon: Daemon, pacs: Pacs) -> None:
    found = {check["name"]: check for check in daemon.ichd("doctor")}
    assert [found[f"source {name}"]["ok"] for name in ("get", "move", "web", "away")] == [True, True, True, False]
    assert "does not answer" in found["source away"]["detail"]
