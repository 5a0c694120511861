"""A finding is explained by the model that made it, also after another one is in force."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ichd.domain.finding import Finding, ModelIdentity, conclude
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.pipeline.explainers import Explainers
from ichd.pipeline.heat import Explainer, LastSeen, Reading, Seen
from ichd.store.embeddings import Embeddings
from ichd.store.spool import Spool
from ichd.vision.attribution import Attribution
from ichd.vision.bundle import load_bundle, save_bundle
from ichd.vision.engines.eager import EagerEngine
from ichd.vision.reader import Reader
from ichd.vision.scan import HeadScan, SliceSource, load_scan
from tests.pipeline.conftest import untrained


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> list[Reader]:
    """Three versions of one model."""
    first = untrained(tmp_path_factory.mktemp("one"), field_of_view_mm=240.0)
    bundle = first.engine.bundle
    found = [first]
    for version in ("2", "3"):
        folder = tmp_path_factory.mktemp(version)
        save_bundle(folder, bundle.manifest.model_copy(update={"version": version}), bundle.state_dict)
        found.append(Reader(EagerEngine(load_bundle(folder), device="cpu", threads=1)))
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_series(render(PhantomRecipe(seed=5, slices=4, rows=64, voxel_mm=4.0)), tmp_path_factory.mktemp("head"))


@pytest.fixture(scope="module")
def scan(files: list[Path]) -> HeadScan:
    return load_scan([SliceSource(path=path) for path in files])


class Office:
    """Explainers with a clock, and an archive of bundles that can be asked for."""

    def __init__(self, readers: list[Reader], folder: Path) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.last_seen = LastSeen()
        self.recalled: list[str] = []
        self.archive = {reader.engine.bundle.identity: reader for reader in readers}
        self.spool = Spool(folder / "spool")
        self.explainers = Explainers(self.explainer(readers[0]), recall=self.recall, clock=lambda: self.now)

    def explainer(self, reader: Reader) -> Explainer:
        return Explainer(
            attribution=Attribution(reader.engine.bundle),
            reader=reader,
            embeddings=Embeddings(self.spool, reader.engine.fingerprint),
            last_seen=self.last_seen,
        )

    def recall(self, model: ModelIdentity) -> Explainer | None:
        self.recalled.append(model.version)
        return self.explainer(self.archive[model]) if model in self.archive else None

    def version_for(self, finding: Finding) -> str | None:
        found = self.explainers.of(finding)
        return None if found is None else found.model.version


def finding_of(reader: Reader, scan: HeadScan) -> Finding:
    return conclude(reader.read(scan), reader.engine.bundle.rule)


def test_who_was_in_force_before_explains_its_own(readers: list[Reader], scan: HeadScan, tmp_path: Path) -> None:
    office = Office(readers, tmp_path)
    first, second, _ = (finding_of(reader, scan) for reader in readers)
    assert office.version_for(first) == "1"

    office.explainers.succeed(office.explainer(readers[1]))

    assert (office.version_for(second), office.version_for(first)) == ("2", "1")
    assert office.recalled == [], "it was still at hand"


def test_one_that_is_not_needed_is_let_go_and_recalled_from_its_bundle(
    readers: list[Reader], scan: HeadScan, tmp_path: Path
) -> None:
    office = Office(readers, tmp_path)
    first = finding_of(readers[0], scan)
    office.explainers.succeed(office.explainer(readers[1]))
    assert office.explainers.sweep(office.now) == 0
    office.now += timedelta(minutes=20)
    assert office.explainers.sweep(office.now) == 1

    assert office.version_for(first) == "1"
    assert office.version_for(first) == "1"
    assert office.recalled == ["1"]


def test_a_bundle_that_is_gone_is_looked_for_once(readers: list[Reader], scan: HeadScan, tmp_path: Path) -> None:
    office = Office(readers, tmp_path)
    del office.archive[readers[2].engine.bundle.identity]
    third = finding_of(readers[2], scan)
    assert [office.version_for(third) for _ in range(3)] == [None, None, None]
    assert office.recalled == ["3"]


def test_what_another_model_made_of_the_last_scan_is_not_taken(
    readers: list[Reader], scan: HeadScan, files: list[Path], tmp_path: Path
) -> None:
    office = Office(readers, tmp_path)
    finding = finding_of(readers[0], scan)
    reading = Reading(
        study_id=1,
        revision=1,
        finding=finding,
        files={s.sop_instance_uid: path for s, path in zip(finding.prediction.slices, files, strict=True)},
        stored={},
    )
    others = readers[1].embed(scan, range(len(files))) + 1
    office.last_seen.put(1, 1, Seen(scan=scan, embeddings_SF=others, model=readers[1].engine.bundle.identity))

    explainer = office.explainers.of(finding)
    assert explainer is not None
    seen = explainer.see(reading)

    assert seen.model == finding.prediction.model
    assert (seen.embeddings_SF == readers[0].embed(scan, range(len(files)))).all()
