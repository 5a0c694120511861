"""From association release to the Structured Report on the destination's disk: daemon, sender and receiver are real.

Streaming on and off, in alternating rounds: a study of 36 slices of 512x512, read by SE-ResNeXt-50 at 512 pixels with
random weights, sent at a scanner's pace and as fast as the network goes. Its headers say how many images it has, so
that it closes without a quiet period; the `quiet_` figures are of a study that needs one of `quiet_period_s`.

The shipped demo model, which sees whole scans only, reads the real head CT where ICHD_TEST_DATA names it, else a
phantom of the same 28 slices, with the quiet period.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pydicom
import torch
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom.presentation import build_context

from ichd.phantom import PhantomRecipe, render, write_series
from ichd.vision.bundle import save_bundle
from ichd.vision.manifest import Manifest, NetworkSpec
from ichd.vision.network import CnnLstm
from ichd.vision.published import BACKBONES
from tests.acceptance.daemon import Daemon, Destination, wait_until
from tests.benchmarks.figures import Figure, arguments, print_figures
from tests.peers.storescp import Receiver, running_receiver
from tests.peers.storescu import associated

SLICES = 36
PACE_S = 0.25
QUIET_PERIOD_S = 2.0
_ONLY_IN_FULL = "left out of --quick"


@dataclass(frozen=True, kw_only=True)
class Site:
    """A daemon and the archive that it reports to."""

    daemon: Daemon
    pacs: Receiver

    def wait_until_warm(self) -> None:
        """It takes images, and its worker has its model ready."""
        log = self.daemon.log
        wait_until(lambda: b'"worker_ready"' in log.read_bytes(), f"no worker came up; see {log}")
        wait_until(self.daemon.answers, f"the daemon does not answer; see {log}")

    def release_to_sr_s(self, study: list[Path], *, pace_s: float) -> float:
        """Send a study, an image every `pace_s`; seconds from the release of the association to the report."""
        contexts = [build_context(CTImageStorage, ExplicitVRLittleEndian)]
        have = len(self.pacs.files())
        with associated(self.daemon.peer, contexts) as association:
            began = time.monotonic()
            for number, path in enumerate(study):
                time.sleep(max(0.0, began + number * pace_s - time.monotonic()))
                status = association.send_c_store(path)
                assert status.Status == 0x0000, status
        released = time.monotonic()
        # The report goes first; key objects and the summary follow it.
        self.pacs.wait_for(have + 1, timeout_s=120.0)
        report_s = time.monotonic() - released
        self.pacs.wait_for(have + 3, timeout_s=120.0)
        return report_s


def main() -> None:
    options = arguments(__doc__ or "")
    figures: dict[str, Figure]
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        folder = Path(scratch)
        bundle = str(_random_bundle(folder / "bundle"))
        sites = {"streaming": stack.enter_context(_site(folder / "streaming", bundle, ahead=True))}
        slices = write_series(render(PhantomRecipe(seed=1, slices=SLICES, voxel_mm=1.5)), folder / "phantom")
        # The second daemon of a model finds it converted by the first.
        sites["streaming"].wait_until_warm()
        sites["plain"] = stack.enter_context(_site(folder / "plain", bundle, ahead=False))
        sites["demo"] = stack.enter_context(_site(folder / "demo", "phantom-demo", ahead=True))
        for site in sites.values():
            site.wait_until_warm()
        new_study = _studies(slices, folder / "studies")
        paced_rounds, fast_rounds, quiet_rounds, demo_rounds = (1, 0, 0, 1) if options.quick else (5, 7, 3, 7)
        paced = _alternating(sites, new_study, rounds=paced_rounds, pace_s=PACE_S, counted=True)
        fast = _alternating(sites, new_study, rounds=fast_rounds, pace_s=0.0, counted=True)
        quiet = _alternating(sites, new_study, rounds=quiet_rounds, pace_s=PACE_S, counted=False)
        head, what = _real_head() or slices[:28], "real head CT" if _real_head() else "phantom"
        new_demo = _studies(head, folder / "demo-studies")
        demo = [sites["demo"].release_to_sr_s(new_demo(counted=False), pace_s=0.0) for _ in range(demo_rounds)]
    figures = {
        "release_to_sr_s_streaming": _median(paced["streaming"]),
        "release_to_sr_s_plain": _median(paced["plain"]),
        "streaming_ratio": _ratio(paced),
        "fast_release_to_sr_s_streaming": _median(fast["streaming"]),
        "fast_release_to_sr_s_plain": _median(fast["plain"]),
        "fast_streaming_ratio": _ratio(fast),
        "quiet_release_to_sr_s_streaming": _median(quiet["streaming"]),
        "quiet_release_to_sr_s_plain": _median(quiet["plain"]),
        "quiet_streaming_ratio": _ratio(quiet),
        "demo_release_to_sr_s": _median(demo),
        "demo_release_to_sr_s_worst": round(max(demo), 3),
        "quiet_period_s": QUIET_PERIOD_S,
        "rounds": paced_rounds,
    }
    print(f"demo input: {what}, 28 slices of 512x512")
    nulls = {name: _ONLY_IN_FULL for name, value in figures.items() if value is None}
    print_figures(figures, nulls, as_json=options.json)


def _random_bundle(folder: Path) -> Path:
    torch.manual_seed(0)
    network = NetworkSpec(backbone=BACKBONES["seresnext50"])
    manifest = Manifest(
        name="random",
        version="1",
        network=network,
        intended_use="a benchmark",
        training_data="none",
        licence="Apache-2.0",
    )
    folder.mkdir()
    save_bundle(folder, manifest, CnnLstm(network).state_dict())
    return folder


@contextmanager
def _site(folder: Path, model: str, *, ahead: bool) -> Iterator[Site]:
    """Started, not yet ready."""
    with running_receiver(folder / "received") as pacs:
        daemon = Daemon(
            folder,
            [Destination(ae_title=pacs.ae_title, port=pacs.port)],
            extra_settings=f'[model]\nbundle = "{model}"\nthreads = 2\ncache = "{folder.parent / "cache"}"\n',
            # The maps of one daemon's study would be made while the other one is measured.
            worker_settings=f"ahead = {str(ahead).lower()}\nheat_maps = false",
        )
        try:
            daemon.start(wait=False)
            yield Site(daemon=daemon, pacs=pacs)
        finally:
            daemon.kill()


def _studies(slices: list[Path], folder: Path) -> Callable[..., list[Path]]:
    """Makes the same study again under new UIDs; `counted`: its headers say how many images there are."""
    folder.mkdir()

    def make(*, counted: bool) -> list[Path]:
        study = folder / str(sum(1 for _ in folder.iterdir()))
        study.mkdir()
        study_uid, series_uid = generate_uid(), generate_uid()
        for path in slices:
            image = pydicom.dcmread(path)
            image.StudyInstanceUID, image.SeriesInstanceUID = study_uid, series_uid
            image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            if counted:
                image.NumberOfStudyRelatedInstances = len(slices)
            image.save_as(study / path.name)
        return sorted(study.iterdir())

    return make


def _alternating(
    sites: dict[str, Site], new_study: Callable[..., list[Path]], *, rounds: int, pace_s: float, counted: bool
) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {"streaming": [], "plain": []}
    for number in range(rounds):
        order = ("streaming", "plain") if number % 2 == 0 else ("plain", "streaming")
        for name in order:
            seconds[name].append(sites[name].release_to_sr_s(new_study(counted=counted), pace_s=pace_s))
    return seconds


def _real_head() -> list[Path] | None:
    root = os.environ.get("ICHD_TEST_DATA")
    return sorted(Path(root, "head-ct-ge").glob("*.dcm")) if root else None


def _median(seconds: list[float]) -> float | None:
    return round(statistics.median(seconds), 3) if seconds else None


def _ratio(seconds: dict[str, list[float]]) -> float | None:
    if not seconds["plain"]:
        return None
    return round(statistics.median(seconds["streaming"]) / statistics.median(seconds["plain"]), 3)


if __name__ == "__main__":
    main()
