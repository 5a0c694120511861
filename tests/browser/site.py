"""A site for a browser: the real web role on a real database, with a phantom head that was read.

Also a program: `python -m tests.browser.site FOLDER PORT` fills FOLDER and serves it, to look at.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from scipy.ndimage import uniform_filter1d

from ichd.domain.finding import CLASSES, Prediction, SlicePrediction, conclude
from ichd.domain.record import Record, record_of
from ichd.domain.study import InstanceFacts
from ichd.intake.header import parse_header
from ichd.intake.part10 import split_file
from ichd.phantom import BLEED_KINDS, Phantom, PhantomRecipe, render, write_series
from ichd.settings import DatabaseSettings, ModelSettings, Settings, SpoolSettings, WebSettings
from tests.peers.ports import free_port
from tests.web.test_run_web import running
from tests.web.worklist_of_all_states import DEMO, RULE, Hospital, fill

BUNDLE = Path(__file__).resolve().parents[2] / "ichd" / "vision" / "bundles" / "phantom-demo"


@dataclass(kw_only=True)
class Site:
    """A hospital, and the address of its pages."""

    url: str
    folder: Path
    #: Studies by what happened to them; "phantom" has real images, with a subdural haemorrhage.
    uids: dict[str, str]

    def hospital(self, now: datetime | None = None) -> Hospital:
        """The store behind the pages, to have more happen in it."""
        return Hospital(folder=self.folder, now=now or datetime.now(UTC))


@contextmanager
def serving(
    folder: Path, web: WebSettings | None = None, port: int | None = None, *, is_empty: bool = False
) -> Iterator[Site]:
    """A site that is filled unless it `is_empty`, served until the end of the context; `web` as these settings say."""
    folder.mkdir(parents=True, exist_ok=True)
    now, uids = datetime.now(UTC), {}
    if is_empty:
        Hospital(folder=folder, now=now).engine.dispose()
    else:
        uids = fill(folder, now)
        uids["phantom"] = read_phantom(folder, now - timedelta(minutes=2))
    web = (web or WebSettings()).model_copy(update={"port": port or free_port()})
    settings = Settings(
        database=DatabaseSettings(url=f"sqlite:///{folder / 'ichd.db'}"),
        spool=SpoolSettings(url=str(folder / "spool")),
        model=ModelSettings(bundle=str(BUNDLE)),
        web=web,
    )
    with running(settings) as url:
        yield Site(url=url, folder=folder, uids=uids)


def read_phantom(folder: Path, now: datetime, *, slices: int = 24, seed: int = 7) -> str:
    """A phantom with a subdural haemorrhage arrives, is read by one who knows where it is, and is reported."""
    hospital = Hospital(folder=folder, now=now)
    phantom, images = receive_phantom(hospital, slices=slices, seed=seed)
    hospital.close()
    job = hospital.begin()
    hospital.now += timedelta(seconds=1.4)
    record = _record_of_truth(phantom, images)
    hospital.studies.finish_analysis(job, record=record, destinations=["pacs"], now=hospital.now)
    hospital.deliver()
    hospital.engine.dispose()
    return images[0].study_instance_uid


def receive_phantom(hospital: Hospital, *, slices: int, seed: int) -> tuple[Phantom, list[InstanceFacts]]:
    """A phantom with a subdural haemorrhage arrives."""
    phantom = render(PhantomRecipe(seed=seed, bleeds=("subdural",), slices=slices))
    association = hospital.arrivals.open_association(calling_ae_title="CT1", address="127.0.0.1", now=hospital.now)
    images: list[InstanceFacts] = []
    for path in write_series(phantom, hospital.folder / f"phantom-{seed}"):
        content = path.read_bytes()
        syntax, dataset = split_file(content)
        facts = parse_header(dataset, syntax)
        stored = hospital.spool.write([content])
        hospital.arrivals.record(facts, stored, association_id=association, now=hospital.now)
        images.append(facts)
    hospital.arrivals.end_association(association, released=True, now=hospital.now)
    return phantom, images


def _record_of_truth(phantom: Phantom, images: list[InstanceFacts]) -> Record:
    """A record whose probabilities are the share of the slices around that show the bleed."""
    columns = {name: phantom.presence_SC[:, column] for column, name in enumerate(("any", *BLEED_KINDS))}
    seen_SC = np.stack([columns[name] for name in CLASSES], axis=1).astype(float)
    around_SC = uniform_filter1d(seen_SC, 5, axis=0)
    rows = [
        SlicePrediction(
            sop_instance_uid=image.sop_instance_uid,
            sop_class_uid=image.sop_class_uid,
            z_mm=float(z_mm),
            probabilities=tuple(float(p) for p in 0.01 + 0.96 * around_C),
        )
        for image, z_mm, around_C in zip(images, phantom.z_mm, around_SC, strict=True)
    ]
    prediction = Prediction(
        study_instance_uid=images[0].study_instance_uid,
        series_instance_uid=images[0].series_instance_uid,
        model=DEMO,
        slices=tuple(rows),
        timings_ms={"load": 312.0, "windows": 97.0, "embed": 842.0, "classify": 11.0},
        notes=(),
    )
    return record_of(conclude(prediction, RULE), rule=RULE, state="analysing", skipped=[], software_version="0.1.0")


def main() -> None:
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    with serving(folder, port=port) as site:
        print(f"{site.url}  phantom: {site.url}/studies/{site.uids['phantom']}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
