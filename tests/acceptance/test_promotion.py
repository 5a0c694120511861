"""Another model is put in force while the daemon runs: no restart, no study that two models read, and a way back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest
import torch
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom.presentation import build_context

from ichd.app.clock import utc_now
from ichd.app.promotion import promote
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.report.readable import read_report
from ichd.settings import load_settings
from ichd.vision.bundle import save_bundle
from ichd.vision.manifest import MANIFEST_NAME, InputSpec, Manifest, NetworkSpec, RecurrentSpec, read_manifest
from ichd.vision.network import CnnLstm
from tests.acceptance.daemon import Daemon, Destination, running, wait_until
from tests.peers.storescp import Receiver
from tests.peers.storescu import associated

SLICES = 16


def save_model(folder: Path, version: str) -> Path:
    """A model that sees slices alone, as the published one does; its weights are random and go with its version."""
    torch.manual_seed(int(version))
    network = NetworkSpec(backbone="resnet10t", recurrent=RecurrentSpec(layers=1, hidden=16))
    manifest = Manifest(
        name="untrained",
        version=version,
        network=network,
        input=InputSpec(image_size=128),
        intended_use="tests",
        training_data="none",
        licence="Apache-2.0",
    )
    save_bundle(folder, manifest, CnnLstm(network).state_dict())
    return folder


def head(folder: Path, seed: int) -> list[Path]:
    return write_series(
        render(PhantomRecipe(seed=seed, slices=SLICES, rows=128, voxel_mm=2.0, bleeds=("epidural",))), folder
    )


@pytest.fixture
def daemon(tmp_path: Path, receiver: Receiver) -> Iterator[Daemon]:
    """One that reads with version 1, as its settings say."""
    settings = f"""
[model]
bundle = "{save_model(tmp_path / "one", "1")}"
promoted = "{tmp_path / "models"}"
cache = "{tmp_path / "cache"}"
engine = "torch"
device = "cpu"
threads = 1
"""
    destination = Destination(ae_title=receiver.ae_title, port=receiver.port)
    with running(Daemon(tmp_path / "daemon", destinations=[destination], extra_settings=settings)) as daemon:
        wait_until(lambda: "worker_ready" in daemon.log.read_text(), f"no worker came up; see {daemon.log}")
        yield daemon


def study_uid_of(files: list[Path]) -> str:
    return str(pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)


def read(daemon: Daemon, files: list[Path]) -> dict[str, Any]:
    """Send a study, and wait for what came of it."""
    with associated(daemon.peer, [build_context(CTImageStorage, ExplicitVRLittleEndian)]) as association:
        for path in files:
            assert association.send_c_store(path).Status == 0x0000
    return daemon.wait_for(study_uid_of(files), "reported", "not_analysed", "failed")


def changes(daemon: Daemon) -> int:
    """How often the worker has taken another model up."""
    return daemon.log.read_text().count('"model_changed"')


def starts(daemon: Daemon) -> int:
    return daemon.log.read_text().count('"worker_ready"')


def reported_versions(receiver: Receiver, study_uid: str) -> set[str]:
    objects = [pydicom.dcmread(path) for path in receiver.files()]
    reports = [each for each in objects if each.Modality == "SR" and each.StudyInstanceUID == study_uid]
    return {read_report(each).model.version for each in reports}


def test_a_promoted_model_reads_the_next_study_and_a_rollback_the_one_after(
    daemon: Daemon, receiver: Receiver, tmp_path: Path
) -> None:
    before = read(daemon, head(tmp_path / "a", 1))
    two = save_model(tmp_path / "two", "2")
    promoted = daemon.ichd("model", "promote", str(two), "--without-gate", "a trial of the daemon")
    assert promoted["promoted"]
    assert promoted["in_audit_trail"]
    wait_until(lambda: changes(daemon) == 1, f"the worker does not take it up; see {daemon.log}")
    ready = httpx.get(f"http://127.0.0.1:{daemon.web_port}/readyz").json()
    assert "untrained 2, promoted" in ready["checks"]["model"]["detail"]

    after = read(daemon, head(tmp_path / "b", 2))

    assert reported_versions(receiver, before["study_uid"]) == {"1"}
    assert reported_versions(receiver, after["study_uid"]) == {"2"}

    assert daemon.ichd("model", "rollback")["version"] == "1"
    wait_until(lambda: changes(daemon) == 2, f"the worker does not go back; see {daemon.log}")
    assert read(daemon, head(tmp_path / "c", 3))["model"]["version"] == "1"
    told = [entry["subject"]["did"] for entry in daemon.ichd("audit", "--event", "model_changed")]
    assert told == ["promoted", "rolled back to"]
    assert starts(daemon) == 1, "all of it by one worker"


def test_a_study_that_arrives_while_another_model_is_promoted_is_read_by_one_of_them(
    daemon: Daemon, tmp_path: Path
) -> None:
    files = head(tmp_path / "a", 1)
    two = save_model(tmp_path / "two", "2")
    embeddings = daemon.folder / "spool.embeddings"
    with associated(daemon.peer, [build_context(CTImageStorage, ExplicitVRLittleEndian)]) as association:
        for path in files[: SLICES // 2]:
            assert association.send_c_store(path).Status == 0x0000
        wait_until(lambda: any(embeddings.rglob("*-*")), f"nothing was seen ahead; see {daemon.log}")
        promote_at_once(daemon, two)
        wait_until(lambda: changes(daemon) == 1, f"the worker does not take it up; see {daemon.log}")
        for path in files[SLICES // 2 :]:
            assert association.send_c_store(path).Status == 0x0000
    study = daemon.wait_for(study_uid_of(files), "reported", "not_analysed", "failed")

    assert study["model"]["version"] == "2"
    assert len(list(embeddings.iterdir())) == 2, "each model has its own"
    fresh = daemon.ichd("predict", *map(str, files))
    assert fresh["model"]["version"] == "2"
    seen, anew = ([each["p"]["any"] for each in each_one["slices"]] for each_one in (study, fresh))
    assert seen == pytest.approx(anew, abs=1e-6), "nothing of it was said by the other"


def test_a_promoted_model_that_can_not_be_loaded_leaves_the_one_before_at_work(daemon: Daemon, tmp_path: Path) -> None:
    broken = save_model(tmp_path / "two", "2")
    manifest = read_manifest(broken)
    other = manifest.network.model_copy(update={"recurrent": RecurrentSpec(layers=1, hidden=8)})
    (broken / MANIFEST_NAME).write_text(manifest.model_copy(update={"network": other}).to_json())

    promote_at_once(daemon, broken)

    wait_until(lambda: '"successor_not_ready"' in daemon.log.read_text(), f"nothing is said; see {daemon.log}")
    assert read(daemon, head(tmp_path / "a", 1))["model"]["version"] == "1"
    checks = {check["name"]: check for check in daemon.ichd("doctor")}
    assert not checks["model"]["ok"]
    assert "weights don't fit the network" in checks["model"]["detail"]
    ready = httpx.get(f"http://127.0.0.1:{daemon.web_port}/readyz").json()
    assert ready["ok"], "studies are still read"
    assert "could not load it" in ready["checks"]["model"]["detail"]
    assert starts(daemon) == 1


def promote_at_once(daemon: Daemon, bundle: Path) -> None:
    """As `ichd model promote --without-gate` in the end does; the command first tries the bundle, in seconds."""
    model = load_settings(daemon.config).model
    promote(model, bundle, how="without_gate", gate={"reason": "a trial"}, expected=None, by="test", now=utc_now())
