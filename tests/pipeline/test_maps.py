"""Heat maps in the daemon: made when nobody waits, kept beside the spool, dropped with their reading."""

import hashlib
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from ichd.domain.errors import Transient
from ichd.domain.finding import CLASSES, ReadingRule, Threshold, conclude
from ichd.domain.heatmap import maps_wanted
from ichd.domain.record import finding_of, record_of
from ichd.intake.header import read_facts
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.pipeline.heat import Explainer, LastSeen, Seen
from ichd.pipeline.maps import Maps
from ichd.store.embeddings import Embedding, Embeddings, slice_key
from ichd.store.heatmaps import HeatMaps
from ichd.store.tables import FindingRow
from ichd.store.transaction import writing
from ichd.vision.attribution import Attribution
from ichd.vision.reader import Reader
from ichd.vision.scan import SliceSource, load_scan
from tests.pipeline.conftest import untrained
from tests.store.house import House

#: A rule that finds something in whatever an untrained network says.
EVERYTHING = ReadingRule(
    thresholds={name: Threshold(present_from=0.0, absent_below=0.0) for name in CLASSES}, max_key_slices=2
)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return untrained(tmp_path_factory.mktemp("alone"), field_of_view_mm=None)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_series(render(PhantomRecipe(seed=5, slices=6, rows=96, voxel_mm=3.0)), tmp_path_factory.mktemp("head"))


class Ward:
    """A house in which one study has been read."""

    def __init__(self, house: House, reader: Reader, head: list[Path], rule: ReadingRule = EVERYTHING) -> None:
        self.house = house
        self.reader = reader
        self.heat_maps = HeatMaps(house.engine, house.spool)
        self.last_seen = LastSeen()
        self.embeddings = Embeddings(house.spool, reader.engine.fingerprint)
        facts = [read_facts(path) for path in head]
        self.study_uid = facts[0].study_instance_uid
        association_id = house.open_association()
        for path, each in zip(head, facts, strict=True):
            house.arrive(each, association_id=association_id, content=path.read_bytes())
        house.end_association(association_id)
        house.wait(60)
        house.close()
        self.scan = load_scan([SliceSource(path=path) for path in head])
        self.finding = conclude(reader.read(self.scan), rule)
        self.record = record_of(self.finding, rule=rule, state="analysing", skipped=(), software_version="1")
        house.analyse(record=self.record)

    def worker(self, reader: Reader | None = None) -> Maps:
        reader = reader or self.reader
        explainer = Explainer(
            attribution=Attribution(reader.engine.bundle),
            reader=reader,
            embeddings=self.embeddings,
            last_seen=self.last_seen,
        )
        return Maps(heat_maps=self.heat_maps, explainer=explainer, clock=lambda: self.house.now)

    def forget_maps(self) -> None:
        for file in self.files():
            file.unlink()

    def keep_embeddings(self) -> None:
        (number,) = self.heat_maps.findings(after=0, limit=9)
        work = self.heat_maps.begin(number)
        assert work is not None
        self.forget_maps()
        values_SF = self.reader.embed(self.scan, range(len(self.scan.hu_SHW)))
        for hu_HW, (source,), values_F in zip(self.scan.hu_SHW, self.scan.sources, values_SF, strict=True):
            key = slice_key([(work.stored[source.sop_instance_uid], source.frame_number)])
            self.embeddings.put(key, hu_HW, Embedding(values_F=values_F, made_at=self.house.now, ahead=False))

    def files(self) -> list[Path]:
        root = self.house.spool.root
        return [file for file in root.with_name(f"{root.name}.heatmaps").rglob("*") if file.is_file()]


def run_out(worker: Maps) -> int:
    """How many pieces of work there were."""
    pieces = 0
    while worker.step():
        pieces += 1
    return pieces


def test_key_slices_of_what_was_found_get_their_maps(house: House, reader: Reader, head: list[Path]) -> None:
    ward = Ward(house, reader, head)

    pieces = run_out(ward.worker())

    kept = ward.heat_maps.of_study(ward.study_uid)
    assert kept is not None
    wanted = maps_wanted(finding_of(ward.record))
    assert [(m.sop_instance_uid, m.class_name) for m in kept] == [
        (w.slice.sop_instance_uid, name) for w in wanted for name in w.class_names
    ]
    assert len(kept) == 2 * len(CLASSES)
    # A scan, its slices, and the slices with maps: nobody waits for more than one of them.
    assert pieces >= 1 + len(head) + len(wanted)


def test_embeddings_that_were_kept_are_not_made_again(house: House, alone: Reader, head: list[Path]) -> None:
    ward = Ward(house, alone, head)
    pieces = run_out(ward.worker())
    made = ward.heat_maps.of_study(ward.study_uid)
    ward.forget_maps()
    ward.keep_embeddings()

    assert run_out(ward.worker()) == pieces - len(head)
    assert ward.heat_maps.of_study(ward.study_uid) == made


def test_the_scan_that_was_read_last_is_not_decoded_again(house: House, reader: Reader, head: list[Path]) -> None:
    ward = Ward(house, reader, head)
    pieces = run_out(ward.worker())
    made = ward.heat_maps.of_study(ward.study_uid)
    ward.forget_maps()
    (number,) = ward.heat_maps.findings(after=0, limit=9)
    work = ward.heat_maps.begin(number)
    assert work is not None
    ward.heat_maps.let_go(work)
    embeddings_SF = reader.embed(ward.scan, range(len(ward.scan.hu_SHW)))
    seen = Seen(scan=ward.scan, embeddings_SF=embeddings_SF, model=reader.engine.bundle.identity)
    ward.last_seen.put(work.study_id, work.revision, seen)

    assert run_out(ward.worker()) == pieces - 1 - len(head)
    assert ward.heat_maps.of_study(ward.study_uid) == made
    ward.last_seen.put(work.study_id, work.revision + 1, seen)
    assert ward.last_seen.get(work.study_id, work.revision) is None, "that is another reading"


def test_nothing_is_made_twice_or_by_two(house: House, reader: Reader, head: list[Path]) -> None:
    ward = Ward(house, reader, head)
    first, second = ward.worker(), ward.worker()
    assert first.step()

    assert run_out(second) == 0
    assert run_out(first) > 0
    assert run_out(ward.worker()) == 0


def test_a_worker_that_stops_leaves_its_maps_to_the_next(house: House, reader: Reader, head: list[Path]) -> None:
    ward = Ward(house, reader, head)
    stopping = ward.worker()
    assert stopping.step()
    stopping.close()

    assert run_out(ward.worker()) > 0
    assert ward.heat_maps.of_study(ward.study_uid)


def test_what_a_dead_worker_had_in_hand_is_taken_up_once_its_mark_is_gone(
    house: House, reader: Reader, head: list[Path]
) -> None:
    ward = Ward(house, reader, head)
    (number,) = ward.heat_maps.findings(after=0, limit=9)
    assert ward.heat_maps.begin(number) is not None  # and dies
    worker = ward.worker()
    assert run_out(worker) == 0
    house.wait(60)
    assert run_out(worker) == 0
    ward.heat_maps.sweep(datetime.now(UTC) + timedelta(hours=2))
    house.wait(60)

    assert run_out(worker) > 0
    assert ward.heat_maps.of_study(ward.study_uid)


def test_a_disk_that_fails_for_a_while_costs_no_maps(house: House, reader: Reader, head: list[Path]) -> None:
    ward = Ward(house, reader, head)
    worker = ward.worker()
    assert worker.step()
    root = house.spool.root.with_name(f"{house.spool.root.name}.heatmaps")
    shutil.rmtree(root)
    root.write_text("in the way")
    with pytest.raises(Transient):
        run_out(worker)
    assert not worker.step(), "it waits"
    root.unlink()
    house.wait(60)

    assert run_out(worker) > 0
    assert ward.heat_maps.of_study(ward.study_uid)


def test_a_finding_that_is_committed_after_a_higher_number_is_not_missed(
    house: House, reader: Reader, head: list[Path]
) -> None:
    ward = Ward(house, reader, head)
    renumber(house, 1, 40)
    worker = ward.worker()
    run_out(worker)
    ward.forget_maps()
    renumber(house, 40, 39)

    assert run_out(worker) > 0


def renumber(house: House, number: int, to: int) -> None:
    with writing(house.engine) as session:
        changed = session.execute(update(FindingRow).where(FindingRow.id == number).values(id=to))
        assert changed.rowcount == 1  # type: ignore[attr-defined]


def test_what_is_absent_has_no_map(house: House, reader: Reader, head: list[Path]) -> None:
    nothing = ReadingRule(thresholds={name: Threshold(present_from=1.0, absent_below=1.0) for name in CLASSES})
    ward = Ward(house, reader, head, nothing)

    run_out(ward.worker())

    assert ward.heat_maps.of_study(ward.study_uid) == ()
    assert len(ward.files()) == 1


def test_another_model_does_not_explain_what_this_one_found(
    house: House, reader: Reader, alone: Reader, head: list[Path]
) -> None:
    ward = Ward(house, reader, head)

    run_out(ward.worker(alone))

    assert ward.heat_maps.of_study(ward.study_uid) == ()


def test_images_that_are_gone_end_without_maps(house: House, reader: Reader, head: list[Path]) -> None:
    ward = Ward(house, reader, head)
    for file in house.spool.root.glob("*/*.dcm"):
        file.unlink()

    assert run_out(ward.worker()) == 1
    assert ward.heat_maps.of_study(ward.study_uid) == ()


def test_a_torn_file_counts_as_absent(house: House, reader: Reader, head: list[Path]) -> None:
    ward = Ward(house, reader, head)
    run_out(ward.worker())
    (file,) = ward.files()
    whole = file.read_bytes()

    for torn in (b"", whole[: len(whole) // 2], whole.replace(b'"cells": ["', b'"cells": ["00', 1)):
        file.write_bytes(torn)
        assert ward.heat_maps.of_study(ward.study_uid) is None


def test_a_file_of_another_format_is_made_again(house: House, reader: Reader, head: list[Path]) -> None:
    ward = Ward(house, reader, head)
    run_out(ward.worker())
    made = ward.heat_maps.of_study(ward.study_uid)
    (file,) = ward.files()
    _, content = file.read_bytes().split(b"\n")
    # As versions before this one wrote it, sound and without what was added since.
    file.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content.replace(b"cell_mm", b"cell_cm"))

    assert ward.heat_maps.of_study(ward.study_uid) is None
    assert run_out(ward.worker()) > 0
    assert ward.heat_maps.of_study(ward.study_uid) == made


def test_maps_go_with_their_revision_and_marks_of_the_dead_after_an_hour(
    house: House, reader: Reader, head: list[Path]
) -> None:
    ward = Ward(house, reader, head)
    run_out(ward.worker())
    (file,) = ward.files()
    file.parent.with_name(".DS_Store").write_text("not a folder")
    mark = file.with_name("77-1.busy")
    mark.touch()
    now = datetime.now(UTC)
    assert ward.heat_maps.sweep(now) == 0
    house.studies.reprocess(ward.study_uid, now=house.now)

    assert ward.heat_maps.sweep(now) == 1
    assert mark.exists()
    assert not file.exists()
    assert ward.heat_maps.sweep(now + timedelta(hours=2)) == 1
    assert not mark.exists()
