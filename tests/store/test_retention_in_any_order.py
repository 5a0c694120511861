"""Whatever happens in whatever order: a study that is not done with keeps every file, and no row lies about its own."""

import shutil
import tempfile
from datetime import timedelta
from functools import cache
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import select
from sqlalchemy.orm import Session

from ichd.domain.job import JobKind
from ichd.domain.reason import Reason
from ichd.domain.retention import RetentionPolicy, Watermarks
from ichd.domain.study import StudyState
from ichd.store.engine import migrate, open_database
from ichd.store.kept import files_here, owes
from ichd.store.retention import Retention
from ichd.store.spool import Spool
from ichd.store.tables import StudyRow
from tests.store.house import house_on, image, read_record, unread

STUDIES = ("1.2.1", "1.2.2")
DAY = timedelta(days=1)


@cache
def _migrated() -> bytes:
    """A database without rows."""
    with tempfile.TemporaryDirectory(prefix="ichd-retention-") as folder:
        migrate(f"sqlite:///{folder}/ichd.db")
        return Path(folder, "ichd.db").read_bytes()


class Full(Spool):
    """On a disk that is always full."""

    def free_fraction(self) -> float:
        return 0.0


class Hospital(RuleBasedStateMachine):
    """Two studies, and all that can happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="ichd-retention-"))
        (self.folder / "ichd.db").write_bytes(_migrated())
        engine, spool = open_database(f"sqlite:///{self.folder / 'ichd.db'}"), Spool(self.folder / "spool")
        self.house = house_on(engine, spool)
        self.needed: dict[str, frozenset[str]] = {}

    def teardown(self) -> None:
        self.house.engine.dispose()
        shutil.rmtree(self.folder)

    @rule(study=st.sampled_from(STUDIES), numbers=st.sets(st.integers(1, 3), min_size=1), other=st.booleans())
    def receive(self, study: str, numbers: set[int], other: bool) -> None:
        """New images, repeated ones, ones that come back, or other bytes under their names."""
        association = self.house.open_association()
        for number in numbers:
            content = f"{study}.{number}.{other}".encode()
            stored = self.house.spool.write([content])
            facts = image(number, study=study)
            kind = self.house.arrivals.record(facts, stored, association_id=association, now=self.house.now)
            if kind == "duplicate":
                self.house.spool.discard(stored.path)
        self.house.end_association(association)

    @rule()
    def close(self) -> None:
        self.house.close()

    @rule(ending=st.sampled_from(("read", "read and owed", "unread", "unread and owed", "failed")))
    def work(self, ending: str) -> None:
        house = self.house
        job = house.try_claim(kinds=(JobKind.ANALYSE,))
        if job is None:
            return
        house.studies.begin_analysis(job, now=house.now)
        to = ("pacs",) if ending.endswith("owed") else ()
        if ending == "failed":
            house.studies.failed(job, Reason.INTERNAL_ERROR, "", retry_at=None, now=house.now)
        elif ending.startswith("read"):
            house.studies.finish_analysis(job, record=read_record(), destinations=to, now=house.now)
        else:
            house.studies.not_analysed(job, record=unread(), destinations=to, now=house.now)

    @rule(arrives=st.booleans())
    def deliver(self, arrives: bool) -> None:
        house = self.house
        job = house.try_claim(kinds=(JobKind.PUBLISH,))
        if job is None:
            return
        if arrives:
            house.deliveries.delivered(job, house.receipt(job), now=house.now)
        else:
            house.studies.failed(job, Reason.PEER_REFUSED, "", retry_at=None, now=house.now)

    @rule()
    def time_passes(self) -> None:
        self.house.now += 2 * DAY

    @rule(full=st.booleans())
    def retain(self, full: bool) -> None:
        self.needed = self._needed()
        spool = (Full if full else Spool)(self.house.spool.root)
        policy = RetentionPolicy(keep_for=DAY, watermarks=Watermarks(high=0.99, low=0.99) if full else Watermarks())
        Retention(self.house.engine, spool, policy).run(self.house.now)

    @invariant()
    def no_row_lies(self) -> None:
        here = set().union(*self._files().values())
        lying = {f"{path.parent.name}/{path.name}" for path in self.house.spool.root.rglob("*.dcm")}
        assert lying == here

    @invariant()
    def what_was_needed_is_here(self) -> None:
        files = self._files()
        for study, needed in self.needed.items():
            assert needed <= files[study], study
        self.needed = {}

    def _needed(self) -> dict[str, frozenset[str]]:
        files = self._files()
        with Session(self.house.engine) as session:
            done_with = {
                row.study_instance_uid
                for row in session.scalars(select(StudyRow))
                if row.state in {StudyState.REPORTED, StudyState.NOT_ANALYSED} and not owes(session, row.id)
            }
        return {study: paths for study, paths in files.items() if study not in done_with}

    def _files(self) -> dict[str, frozenset[str]]:
        with Session(self.house.engine) as session:
            return {
                row.study_instance_uid: frozenset(file.stored.path for file in files_here(session, row.id))
                for row in session.scalars(select(StudyRow))
            }


TestHospital = Hospital.TestCase
TestHospital.settings = settings(max_examples=8, stateful_step_count=25)
