"""Slices that are embedded while their study arrives: the same bits, nothing twice, and nothing that can't be read."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import UID, generate_uid
from structlog.testing import capture_logs

from ichd.domain.refusal import SelectionPolicy
from ichd.domain.retention import Watermarks
from ichd.domain.study import InstanceFacts, StudyState
from ichd.intake.disk_gate import DiskGate
from ichd.intake.header import read_facts
from ichd.intake.shelf import Shelf
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.pipeline.ahead import Ahead, is_read_alone
from ichd.pipeline.analyse import analyse
from ichd.pipeline.heat import LastSeen
from ichd.pipeline.reading import ReadingPolicy
from ichd.store.arrivals import ArrivalKind
from ichd.store.arriving import Arriving
from ichd.store.embeddings import Embeddings, slice_key
from ichd.vision.reader import Reader
from tests.databases import ONE_DATABASE
from tests.pipeline.conftest import untrained
from tests.pipeline.delivering import tell
from tests.pipeline.poisoned import FINGERPRINT
from tests.store.house import House, image

POLICY = ReadingPolicy(selection=SelectionPolicy(), require_head=True)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return untrained(tmp_path_factory.mktemp("alone"), field_of_view_mm=None)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    recipe = PhantomRecipe(seed=5, slices=14, rows=128, voxel_mm=2.0, bleeds=("subdural",))
    return write_series(render(recipe), tmp_path_factory.mktemp("head"))


class Ward:
    """A house, a worker's idle work in it, and studies that arrive file by file."""

    def __init__(self, house: House, reader: Reader) -> None:
        self.house = house
        self.reader = reader
        self.embeddings = Embeddings(house.spool, reader.engine.fingerprint)
        self.ahead = self.worker()

    def worker(self) -> Ahead:
        arriving = Arriving(self.house.engine, self.house.spool)
        return Ahead(
            arriving=arriving,
            reader=self.reader,
            embeddings=self.embeddings,
            clock=lambda: self.house.now,
            deaths_allowed=2,
        )

    def arrive(self, files: list[Path], change: Callable[[bytes], bytes] = lambda content: content) -> None:
        association_id = self.house.open_association()
        for path in files:
            self.house.arrive(read_facts(path), association_id=association_id, content=change(path.read_bytes()))
        self.house.end_association(association_id)

    def embed_all(self) -> int:
        """How many pieces of idle work there were."""
        pieces = 0
        while self.ahead.step():
            pieces += 1
        return pieces

    def read(self) -> dict[str, Any]:
        """The study is complete, and read: its record."""
        (study_uid,) = self.house.close()
        job = self.house.claim()
        analyse(
            job,
            studies=self.house.studies,
            reader=self.reader,
            embeddings=self.embeddings,
            last_seen=LastSeen(),
            policy=POLICY,
            destinations=tell(),
            clock=lambda: self.house.now,
        )
        record = self.house.studies.detail(study_uid).record
        assert record is not None
        return dict(record)


@pytest.fixture
def ward(house: House, alone: Reader) -> Ward:
    return Ward(house, alone)


def test_a_study_seen_ahead_is_read_to_the_same_bits_as_one_that_was_not(
    ward: Ward, head: list[Path], house: House
) -> None:
    ward.arrive(head)
    assert ward.embed_all() == 14
    house.wait(1.0)
    seen = ward.read()
    assert seen["embeddings"] == {"ahead": 14, "earlier": 0, "at_closing": 0}
    house.studies.reprocess(seen["study_uid"], now=house.now)
    for file in Path(f"{house.spool.root}.embeddings").rglob("*-*"):
        file.unlink()
    job = house.claim()
    analyse(
        job,
        studies=house.studies,
        reader=ward.reader,
        embeddings=ward.embeddings,
        last_seen=LastSeen(),
        policy=POLICY,
        destinations=tell(),
        clock=lambda: house.now,
    )
    plain = house.studies.detail(seen["study_uid"]).record
    assert plain is not None
    assert plain["embeddings"] == {"ahead": 0, "earlier": 0, "at_closing": 14}
    assert [s["p"] for s in plain["slices"]] == [s["p"] for s in seen["slices"]]


def test_the_record_tells_when_slices_were_seen(ward: Ward, head: list[Path], house: House) -> None:
    ward.arrive(head[:7])
    ward.embed_all()
    house.wait(1.5)
    ward.arrive(head[7:])
    record = ward.read()
    assert record["embeddings"] == {"ahead": 7, "earlier": 0, "at_closing": 7}
    timings = record["timings_ms"]
    assert timings["ahead_first"] == timings["ahead_last"] == -3500.0, "a moment before the quiet period of 2 s began"
    assert timings["queued"] == 0.0
    assert {"decode", "recall", "embed", "classify"} < set(timings)


def test_of_a_late_slice_only_itself_is_new(ward: Ward, head: list[Path], house: House) -> None:
    ward.arrive(head[:-1])
    assert ward.read()["embeddings"] == {"ahead": 0, "earlier": 0, "at_closing": 13}
    ward.arrive(head[-1:])
    assert house.studies.summaries()[0].state is StudyState.RECEIVING
    late = ward.read()
    assert late["embeddings"] == {"ahead": 0, "earlier": 13, "at_closing": 1}
    assert "ahead_first" not in late["timings_ms"], "an earlier reading is no arrival"


def test_a_late_slice_may_be_seen_ahead_of_its_own_reading(ward: Ward, head: list[Path]) -> None:
    ward.arrive(head[:4])
    ward.embed_all()
    ward.arrive(head[4:-1])
    ward.read()
    ward.arrive(head[-1:])
    assert ward.embed_all() == 1
    assert ward.read()["embeddings"] == {"ahead": 5, "earlier": 9, "at_closing": 0}


def test_a_damaged_embedding_is_made_again(ward: Ward, head: list[Path], house: House) -> None:
    ward.arrive(head)
    ward.embed_all()
    for file in list(Path(f"{house.spool.root}.embeddings").rglob("*-*"))[:5]:
        file.write_bytes(file.read_bytes()[:-4] + b"torn")
    assert ward.read()["embeddings"] == {"ahead": 9, "earlier": 0, "at_closing": 5}


def test_two_workers_share_the_slices(ward: Ward, head: list[Path]) -> None:
    ward.arrive(head)
    arriving = Arriving(ward.house.engine, ward.house.spool)
    first = arriving.images(tuple(arriving.numbers()))[0]
    with ward.embeddings.being_made(slice_key([(first.stored, None)])) as is_ours:
        assert is_ours
        assert ward.embed_all() == 13, "the slice that another has in hand is passed over"
    assert ward.embed_all() == 0, "and is the other's to finish"
    assert ward.read()["embeddings"] == {"ahead": 13, "earlier": 0, "at_closing": 1}


@ONE_DATABASE
def test_a_study_whose_slices_kill_takes_as_many_workers_as_its_reading_may(ward: Ward, head: list[Path]) -> None:
    ward.arrive(head)
    url, root = ward.house.engine.url.render_as_string(hide_password=False), str(ward.house.spool.root)
    command = [sys.executable, "-m", "tests.pipeline.poisoned", url, root, "2"]
    ended = [subprocess.run(command, check=False, timeout=120).returncode for _ in range(4)]
    assert ended == [-signal.SIGKILL, -signal.SIGKILL, 0, 0], "of 14 slices two have killed, and 12 are left alone"
    marks = list(Path(f"{root}.embeddings").rglob("*.busy"))
    assert len(marks) == 4, "two slices, and their study twice"
    # An hour later it may be tried again: by then its reading has long decided.
    embeddings = Embeddings(ward.house.spool, FINGERPRINT)
    assert embeddings.sweep(datetime.now(UTC) + timedelta(minutes=61)) == 4


def test_a_study_that_killed_workers_is_left_to_its_reading_and_others_are_not(
    ward: Ward, head: list[Path], tmp_path: Path
) -> None:
    other = renamed(head[:3], tmp_path)
    ward.arrive([*head, *other])
    marks = [ward.embeddings.being_seen(study_of(head[0]), at_most=2) for _ in range(2)]
    with ExitStack() as dead:
        assert [dead.enter_context(mark) for mark in marks] == [True, True]
        with capture_logs() as logs:
            assert ward.embed_all() == 3
        assert logs == [], "who has a mark for a moment may well live"
        for mark in Path(f"{ward.house.spool.root}.embeddings").rglob("*.busy"):
            os.utime(mark, (mark.stat().st_mtime - 120,) * 2)
        with capture_logs() as logs:
            assert [ward.embed_all(), ward.embed_all()] == [0, 0]
        assert [(log["event"], log["study"], log["deaths"]) for log in logs] == [
            ("study_not_seen_ahead", study_of(head[0]), 2)
        ]
    assert ward.embed_all() == 14, "nothing was forgotten"


def test_a_complete_study_is_its_jobs_alone(ward: Ward, head: list[Path], house: House) -> None:
    ward.arrive(head)
    assert ward.ahead.step()
    assert house.close()
    assert not ward.ahead.step()
    assert not ward.worker().step()


def test_what_can_not_be_read_is_passed_over_in_silence(ward: Ward, head: list[Path]) -> None:
    ward.arrive(head[:3], change=lambda content: content[: len(content) // 2])
    ward.arrive(head[3:])
    assert ward.embed_all() == 11
    assert ward.embed_all() == 0


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (image(1), True),
        (replace(image(1), slice_thickness_mm=5.0), True),
        (replace(image(1), slice_thickness_mm=0.625), False),
        (replace(image(1), image_type=("ORIGINAL", "PRIMARY", "LOCALIZER")), False),
        (replace(image(1), image_type=("DERIVED", "SECONDARY", "OTHER")), False),
        (replace(image(1), image_orientation=(0.0, 1.0, 0.0, 0.0, 0.0, -1.0)), False),
        (replace(image(1), image_orientation=None), False),
        (replace(image(1), number_of_frames=12), False),
        (replace(image(1), modality="MR"), False),
        (replace(image(1), quality_control_image=True), False),
        (replace(image(1), image_type=("DERIVED", "PRIMARY", "AXIAL", "MIP")), False),
    ],
)
def test_only_axial_slices_that_are_not_averaged_are_seen_ahead(facts: InstanceFacts, *, expected: bool) -> None:
    assert is_read_alone(facts) is expected


def test_the_series_that_is_likely_to_be_read_goes_first(ward: Ward, head: list[Path], tmp_path: Path) -> None:
    bone = []
    for path in head[:2]:
        copy = pydicom.dcmread(path)
        copy.SeriesInstanceUID = UID(f"{copy.SeriesInstanceUID}.1")
        copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        copy.ConvolutionKernel = "BONEPLUS"
        copy.save_as(tmp_path / path.name)
        bone.append(tmp_path / path.name)
    ward.arrive([*bone, *head])
    for _ in head:
        assert ward.ahead.step()
    assert ward.read()["embeddings"] == {"ahead": 14, "earlier": 0, "at_closing": 0}


def test_a_model_that_cuts_the_head_out_sees_whole_scans_only(house: House, reader: Reader, head: list[Path]) -> None:
    assert not reader.sees_slices_alone
    ward = Ward(house, reader)
    ward.arrive(head)
    assert ward.read()["embeddings"] == {"ahead": 0, "earlier": 0, "at_closing": 14}
    assert not Path(f"{house.spool.root}.embeddings").exists()


def test_no_finding_is_lost_where_embeddings_can_not_be_kept(ward: Ward, head: list[Path], house: House) -> None:
    Path(f"{house.spool.root}.embeddings").write_text("in the way")
    ward.arrive(head)
    assert ward.read()["embeddings"] == {"ahead": 0, "earlier": 0, "at_closing": 14}


def test_a_slice_with_one_flipped_bit_is_not_seen_ahead_and_its_series_is_refused_until_it_is_sent_again(
    ward: Ward, head: list[Path], house: House
) -> None:
    ward.arrive(head)
    facts = read_facts(head[6])
    stored = house.arrivals.first_file(facts)
    assert stored is not None
    file = house.spool.locate(stored.path)
    content = bytearray(file.read_bytes())
    content[-20] ^= 4
    file.write_bytes(content)
    assert ward.embed_all() == 13
    record = ward.read()
    assert (record["reason"], record["scan"]) == ("file_damaged", None)
    assert Path(stored.path).name in record["detail"]
    shelf = Shelf(house.arrivals, house.spool, DiskGate(house.spool.free_fraction, Watermarks(high=1.0, low=1.0)))
    association_id = house.open_association()
    with shelf.draft() as draft:
        draft.write(head[6].read_bytes())
        assert shelf.keep(draft, facts, association_id=association_id, now=house.now) is ArrivalKind.NEW
    house.end_association(association_id)
    healed = ward.read()
    assert len(healed["slices"]) == 14


def study_of(file: Path) -> str:
    return read_facts(file).study_instance_uid


def renamed(files: list[Path], folder: Path) -> list[Path]:
    """The same slices as those of another study."""
    copies = []
    for path in files:
        copy = pydicom.dcmread(path)
        copy.StudyInstanceUID = UID(f"{copy.StudyInstanceUID}.2")
        copy.SeriesInstanceUID = UID(f"{copy.SeriesInstanceUID}.2")
        copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        copy.save_as(folder / path.name)
        copies.append(folder / path.name)
    return copies
