"""The machine is lost; what was backed up while it ran goes on elsewhere, and the PACS gets each report once."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pydicom
from sqlalchemy import Engine

from ichd.domain.reason import Reason
from ichd.intake.header import read_facts
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.store.ownership import claim_spool
from ichd.store.spool import Spool
from tests.acceptance.conftest import Storescu
from tests.acceptance.daemon import Daemon, Destination, running, wait_until
from tests.peers.ports import free_port
from tests.peers.storescp import AE_TITLE, running_receiver
from tests.store.house import House, house_on, unread

#: Finished before the backup, each in its way.
REPORTED, NOT_ANALYSED, FAILED = "1.2.840.1", "1.2.840.2", "1.2.840.3"

#: An association that nobody ends is given up, as that of a scanner that was switched off.
SOON = "[study]\nsilent_period_s = 5.0\n"


def test_what_was_backed_up_goes_on_elsewhere(
    engine: Engine, elsewhere_url: str, tmp_path: Path, storescu: Storescu
) -> None:
    pacs = Destination(ae_title=AE_TITLE, port=free_port())
    url = engine.url.render_as_string(hide_password=False)
    lost = Daemon(tmp_path / "lost", [pacs], extra_settings=SOON, database_url=url)
    dead_worker, half_received, sent = (phantom(tmp_path, seed) for seed in (11, 12, 13))
    with_history(house_of(engine, lost.folder / "spool"), dead_worker, half_received)
    open_studies = {study_of(files) for files in (dead_worker, half_received, sent)}

    with running(lost):
        storescu(lost.port, sent)
        # Whatever a worker does meanwhile: nobody takes reports, so that all three stay open.
        wait_until(lambda: study_of(sent) in lost.listed(), "the study does not appear")
        backup = lost.ichd("backup", str(tmp_path / "backup"))
        assert (backup["missing"], backup["rows"]["study"]) == ([], 6)
        assert not {uid for uid, study in lost.listed().items() if study["state"] == "reported"} & open_studies
    # `running` ended it by SIGKILL: its machine is gone.

    found = Daemon(tmp_path / "found", [pacs], extra_settings=SOON, database_url=elsewhere_url)
    restored = found.ichd("restore", str(tmp_path / "backup"))
    assert (restored["missing"], restored["damaged"], restored["rows"]["study"]) == ([], [], 6)
    with running_receiver(tmp_path / "received", port=pacs.port) as archive, running(found):
        wait_until(
            lambda: all(found.listed().get(uid, {}).get("state") == "reported" for uid in open_studies),
            f"a study is not finished; see {found.log}",
            patience_s=400.0,
        )
        states = {uid: study["state"] for uid, study in found.listed().items() if uid not in open_studies}
        assert states == {REPORTED: "reported", NOT_ANALYSED: "not_analysed", FAILED: "failed"}
        reports = [pydicom.dcmread(path) for path in archive.files()]
        assert Counter(str(each.StudyInstanceUID) for each in reports if is_report(each)) == Counter(open_studies)
        assert max(Counter(archive.received).values()) == 1
        assert found.stop() == 0


def with_history(house: House, dead_worker: list[Path], half_received: list[Path]) -> None:
    """Studies in every state, as a daemon that was killed left them; more are sent to the next one."""
    claim_spool(house.engine, house.spool)
    house.ready(1, 2, study=REPORTED)
    house.analyse()
    house.ready(1, study=NOT_ANALYSED)
    job = house.claim()
    house.studies.begin_analysis(job, now=house.now)
    house.studies.not_analysed(job, record=unread(), now=house.now)
    house.ready(1, 2, study=FAILED)
    job = house.claim()
    house.studies.begin_analysis(job, now=house.now)
    house.studies.failed(job, Reason.INTERNAL_ERROR, "ValueError", retry_at=None, now=house.now)
    receive(house, dead_worker)
    house.close()
    house.studies.begin_analysis(house.claim("a worker that is dead"), now=house.now)
    receive(house, half_received, ended=False)


def receive(house: House, files: list[Path], *, ended: bool = True) -> None:
    association_id = house.open_association()
    for path in files:
        house.arrive(read_facts(path), association_id=association_id, content=path.read_bytes())
    if ended:
        house.end_association(association_id)


def house_of(engine: Engine, root: Path) -> House:
    """The store as it stands now, by the wall's clock: a daemon goes on with it."""
    return house_on(engine, Spool(root), now=datetime.now(UTC))


def phantom(folder: Path, seed: int) -> list[Path]:
    recipe = PhantomRecipe(seed=seed, slices=16, rows=128, voxel_mm=2.0, bleeds=("subdural",))
    return write_series(render(recipe), folder / f"phantom-{seed}")


def study_of(files: list[Path]) -> str:
    return str(pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)


def is_report(dataset: pydicom.Dataset) -> bool:
    """A Structured Report, not a picture or a key object that goes with it."""
    return str(dataset.Modality) == "SR"
