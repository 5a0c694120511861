"""A study that trickles in is half read when it is complete, and the finding is the same to the last bit."""

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom.presentation import build_context

from ichd.phantom import PhantomRecipe, render, write_series
from ichd.vision.bundle import save_bundle
from ichd.vision.manifest import InputSpec, Manifest, NetworkSpec, RecurrentSpec
from ichd.vision.network import CnnLstm
from tests.acceptance.daemon import Daemon, running, wait_until
from tests.peers.storescu import associated

SLICES = 16


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    recipe = PhantomRecipe(seed=3, slices=SLICES, rows=128, voxel_mm=2.0, bleeds=("epidural",))
    return write_series(render(recipe), tmp_path_factory.mktemp("head"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that sees slices alone, as the published one does; its weights are random."""
    torch.manual_seed(0)
    network = NetworkSpec(backbone="resnet10t", recurrent=RecurrentSpec(layers=1, hidden=16))
    manifest = Manifest(
        name="untrained",
        version="1",
        network=network,
        input=InputSpec(image_size=128),
        intended_use="tests",
        training_data="none",
        licence="Apache-2.0",
    )
    folder = tmp_path_factory.mktemp("bundle")
    save_bundle(folder, manifest, CnnLstm(network).state_dict())
    return folder


def reported(folder: Path, bundle: Path, files: list[Path], *, ahead: bool) -> dict[str, Any]:
    """The study that a daemon made of files that came one by one."""
    daemon = Daemon(
        folder,
        extra_settings=f'[model]\nbundle = "{bundle}"\ncache = "{folder.parent / "cache"}"\n',
        worker_settings=f"ahead = {str(ahead).lower()}",
    )
    kept = folder / "spool.embeddings"
    with running(daemon):
        wait_until(lambda: b'"worker_ready"' in daemon.log.read_bytes(), f"no worker came up; see {daemon.log}")
        with associated(daemon.peer, [build_context(CTImageStorage, ExplicitVRLittleEndian)]) as association:
            for path in files:
                assert association.send_c_store(path).Status == 0x0000
                time.sleep(0.1)
            if ahead:
                # The association stays open until some of it was seen: a loaded machine decides no test.
                wait_until(lambda: len(list(kept.rglob("*-*"))) >= SLICES // 2, f"nothing was seen; see {daemon.log}")
        (study_uid,) = daemon.studies()
        study = daemon.wait_for(study_uid, "reported", "not_analysed", "failed")
        assert daemon.stop() == 0
    return study


def test_slices_are_seen_while_they_arrive_and_give_the_same_probabilities(
    tmp_path: Path, head: list[Path], bundle: Path
) -> None:
    seen = reported(tmp_path / "streaming", bundle, head, ahead=True)
    plain = reported(tmp_path / "plain", bundle, head, ahead=False)
    assert plain["embeddings"] == {"ahead": 0, "earlier": 0, "at_closing": SLICES}
    assert seen["embeddings"]["ahead"] >= SLICES // 2
    assert sum(seen["embeddings"].values()) == SLICES
    assert seen["timings_ms"]["ahead_first"] < 0, "before the study was complete"
    assert seen["timings_ms"]["ahead_first"] <= seen["timings_ms"]["ahead_last"]
    assert "ahead_first" not in plain["timings_ms"]
    assert [each["p"] for each in seen["slices"]] == [each["p"] for each in plain["slices"]]
