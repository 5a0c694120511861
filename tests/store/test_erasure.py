"""A study that is forgotten leaves nothing but what the audit trail says; one that somebody holds is not."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ichd.domain.arrival import AnnouncementKind
from ichd.domain.audit import AuditEvent
from ichd.domain.delivery import ObjectKind, Rendered
from ichd.domain.errors import LeaseLost, Transient, UserError
from ichd.domain.heatmap import HeatMap
from ichd.domain.job import JobKind, RetryPolicy
from ichd.domain.reason import Reason
from ichd.domain.retention import RetentionPolicy
from ichd.domain.review import Agreement, Review, ReviewSource
from ichd.domain.study import StudyState
from ichd.store.announcements import Announcements
from ichd.store.arrivals import ArrivalKind
from ichd.store.asker import Asker
from ichd.store.audit import Audit
from ichd.store.erasure import Erasure
from ichd.store.heatmaps import HeatMaps
from ichd.store.kept import candidates
from ichd.store.outbox import Outbox
from ichd.store.promises import Promises
from ichd.store.retention import Retention
from ichd.store.reviews import Reviews
from ichd.store.tables import Base, StudyRow
from tests.store.bucket_house import Site, local_files
from tests.store.house import STUDY, House, image

OTHER = "1.2.840.2"
ADA = Asker(name="ada", address="")
#: Rows that may speak of a study after it was forgotten: what happened, and who was connected.
STAYS = {"audit", "association", "installation"}


def erasure(house: House) -> Erasure:
    return Erasure(house.engine, house.spool)


def forget(house: House, study: str = STUDY) -> None:
    erasure(house).forget(study, asker=ADA, now=house.now)


def rows(house: House) -> dict[str, int]:
    """Rows by table, of those that hold anything of a study."""
    tables = [table for table in Base.metadata.sorted_tables if table.name not in STAYS]
    with Session(house.engine) as session:
        counts = {t.name: session.scalar(select(func.count()).select_from(t)) or 0 for t in tables}
    return {name: count for name, count in counts.items() if count}


def files(house: House) -> list[Path]:
    """All that lies in the spool and beside it."""
    root = house.spool.root
    return [path for path in root.parent.glob(f"{root.name}*/??/*") if path.is_file()]


def study_id(house: House, study: str) -> int:
    with Session(house.engine) as session:
        return session.scalars(select(StudyRow.id).where(StudyRow.study_instance_uid == study)).one()


def lived(house: House, study: str = STUDY) -> None:
    """A study to which all happened that can: read, sent, promised, reviewed, in conflict, announced, refused."""
    association = house.open_association()
    for number in (1, 2):
        house.arrive(image(number, study=study), association_id=association)
    house.arrive(image(1, study=study), association_id=association, content=f"other bytes of {study}".encode())
    house.end_association(association)
    assert house.close() == [study]
    house.analyse("pacs")
    number = study_id(house, study)
    rendered = Rendered(sop_class_uid="1.2", sop_instance_uid=f"{study}.9", content=f"report on {study}".encode())
    Outbox(house.engine, house.spool).keep(number, 1, {ObjectKind.SR: [rendered]}, destination="pacs", now=house.now)
    job = house.deliver()
    Promises(house.engine).ask(job.id, f"{study}.8", "PACS", house.now)
    no_maps: list[HeatMap] = []
    HeatMaps(house.engine, house.spool).keep_of(number, 1, study, no_maps)
    Reviews(house.engine).record(
        study,
        Review(
            agreement=Agreement.AGREED,
            source=ReviewSource.API,
            reviewer="dr",
            truth={},
            key=f"{study}-1",
            received_at=house.now,
        ),
    )
    Announcements(house.engine).note(
        AnnouncementKind.COUNT, study_uid=study, source="pacs", complete=False, instances=2, now=house.now
    )
    house.arrivals.refuse(
        Reason.BAD_UID,
        detail="",
        calling_ae_title="CT1",
        address="192.0.2.1",
        sop_class_uid=None,
        sop_instance_uid=None,
        study_instance_uid=study,
        now=house.now,
    )
    assert house.summary(study).state is StudyState.REPORTED


def test_nothing_is_left_but_the_audit_trail(house: House) -> None:
    lived(house)
    assert {"study", "series", "instance", "conflict", "finding", "job", "receipt", "rendition", "review"} <= set(
        rows(house)
    )
    assert {"promise", "announcement", "refusal", "arrival"} <= set(rows(house))
    assert len(files(house)) == 5, "two images, a conflict, a report, a heat map"

    found = erasure(house).look(STUDY)
    assert (found.images, found.findings, found.reviews, found.sent_to) == (3, 1, 1, ("pacs",))
    forget(house)

    assert (rows(house), files(house)) == ({}, [])
    with pytest.raises(UserError, match="no study"):
        house.summary()
    told = Audit(house.engine).read(limit=10, event=AuditEvent.STUDY_FORGOTTEN)
    assert [(entry.actor, entry.subject) for entry in told] == [
        ("ada", {"study_instance_uid": STUDY, "instances": 3, "findings": 1, "reviews": 1})
    ]


def test_its_neighbour_is_left_alone(house: House) -> None:
    lived(house, OTHER)
    before, there = rows(house), sorted(files(house))
    lived(house)
    forget(house)
    assert (rows(house), sorted(files(house))) == (before, there)
    assert house.summary(OTHER).state is StudyState.REPORTED


def test_a_look_changes_nothing(house: House) -> None:
    lived(house)
    before, there = rows(house), files(house)
    erasure(house).look(STUDY)
    assert (rows(house), files(house)) == (before, there)


def test_sent_again_it_is_a_new_study(house: House) -> None:
    lived(house)
    forget(house)
    house.ready()
    house.analyse()
    summary = house.summary()
    assert (summary.state, summary.revision, summary.slices) == (StudyState.REPORTED, 1, 2)
    assert (summary.reviews, summary.images_dropped_at) == ((), None)
    assert len(files(house)) == 2


def test_what_retention_dropped_before_is_forgotten_with_files_that_a_death_left(house: House) -> None:
    lived(house)
    left = [path.read_bytes() for path in house.spool.root.rglob("*.dcm")]
    paths = list(house.spool.root.rglob("*.dcm"))
    house.wait(10)
    assert Retention(house.engine, house.spool, RetentionPolicy(keep_for=timedelta())).run(house.now).total.images == 3
    for path, content in zip(paths, left, strict=True):
        path.write_bytes(content)
    forget(house)
    assert (rows(house), files(house)) == ({}, [])


def test_a_failed_study_is_forgotten_with_its_dead_job(house: House) -> None:
    house.ready()
    job = house.claim()
    house.studies.begin_analysis(job, now=house.now)
    house.studies.failed(job, Reason.INTERNAL_ERROR, "", retry_at=None, now=house.now)
    forget(house)
    assert rows(house) == {}


@pytest.mark.parametrize(
    ("stage", "mend"),
    [
        ("receiving", "still receiving; forget it once it has ended"),
        ("ready", "still ready; forget it once"),
        ("reading", "a worker reads it at this moment; forget study .* once that has ended"),
        ("owed", "destination pacs is still owed the report .*; mend what `ichd status"),
        ("sending", "a worker sends its report to pacs at this moment"),
    ],
)
def test_a_study_that_somebody_works_on_is_kept(house: House, stage: str, mend: str) -> None:
    house.receive(1, 2)
    if stage != "receiving":
        house.close()
    if stage == "reading":
        house.studies.begin_analysis(house.claim(), now=house.now)
    if stage in {"owed", "sending"}:
        house.analyse("pacs")
    if stage == "sending":
        house.claim(kinds=(JobKind.PUBLISH,))
    before, there = rows(house), files(house)
    with pytest.raises(UserError, match=mend):
        forget(house)
    with pytest.raises(UserError, match=mend):
        erasure(house).look(STUDY)
    assert (rows(house), files(house)) == (before, there)


def test_a_study_that_nobody_knows_is_named(house: House) -> None:
    with pytest.raises(UserError, match=r"no study 1\.9 is known; `ichd status` lists them"):
        forget(house, "1.9")


def test_images_that_others_are_in_conflict_with_are_kept_until_those_are_forgotten(house: House) -> None:
    house.ready()
    house.analyse()
    association = house.open_association()
    stranger = image(1, study=OTHER, series=f"{STUDY}.1")
    assert house.arrive(stranger, association_id=association, content=b"other") is ArrivalKind.CONFLICT
    house.end_association(association)
    house.close()
    house.analyse()
    with pytest.raises(UserError, match=f"conflicts of {OTHER}; forget that first"):
        forget(house)
    forget(house, OTHER)
    forget(house)
    assert (rows(house), files(house)) == ({}, [])


def test_what_comes_in_between_is_kept(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resend meets the moment when the files are gone and the rows are not."""
    house.ready()
    house.analyse()
    monkeypatch.setattr(HeatMaps, "forget", lambda *_: house.receive(1, 2))
    with pytest.raises(UserError, match="still receiving"):
        forget(house)
    assert (house.summary().state, house.summary().revision) == (StudyState.RECEIVING, 2)
    assert len(files(house)) == 2


def test_a_conflict_that_comes_in_between_is_kept(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.ready()
    house.analyse()

    def conflict(*_: object) -> None:
        association = house.open_association()
        house.arrive(image(1), association_id=association, content=b"other")
        house.end_association(association)

    monkeypatch.setattr(HeatMaps, "forget", conflict)
    with pytest.raises(UserError, match="came in meanwhile and were kept"):
        forget(house)
    assert len(files(house)) == 1


def test_a_death_half_way_is_made_good_by_doing_it_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    lived(house)

    def die(_: object, __: str) -> None:
        raise Transient(Reason.STORE_UNAVAILABLE, "the disk is away")

    with monkeypatch.context() as away:
        away.setattr(type(house.spool), "discard", die)
        with pytest.raises(Transient, match="disk is away"):
            forget(house)
    assert house.summary().images_dropped_at is not None
    assert len(files(house)) == 5
    forget(house)
    assert (rows(house), files(house)) == ({}, [])


def test_a_worker_that_comes_late_finds_its_job_gone(house: House) -> None:
    house.ready()
    late = house.claim("worker-late")
    house.studies.begin_analysis(late, now=house.now)
    house.wait(100)
    house.studies.reap(now=house.now, retry=RetryPolicy())
    house.analyse()
    forget(house)
    with pytest.raises(LeaseLost):
        house.studies.failed(late, Reason.INTERNAL_ERROR, "", retry_at=None, now=house.now)
    assert house.studies.exonerate(late, now=house.now) is False


def test_retention_passes_by_what_was_forgotten_meanwhile(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    lived(house)
    (candidate,) = candidates(house.engine)
    forget(house)
    monkeypatch.setattr("ichd.store.retention.candidates", lambda *_, **__: iter([candidate]))
    run = Retention(house.engine, house.spool, RetentionPolicy(keep_for=timedelta())).run(house.now)
    assert run.total.studies == 0


def test_a_bucket_has_nothing_of_it_and_all_of_its_neighbour(site: Site) -> None:
    spool = site.spool("one")
    for study in (STUDY, OTHER):
        for number in (1, 2):
            site.keep(spool, image(number, study=study))
        site.house.close()
        site.on(spool).analyse()
    house = site.on(spool)
    stored = {study: site.first(image(1, study=study)) for study in (STUDY, OTHER)}
    with pytest.raises(UserError, match=r"the bucket has not got 2 images of study .* yet; `ichd bucket` says why"):
        forget(house)
    site.upload(spool)
    assert site.bucket.holds(stored[STUDY])

    forget(house)

    assert (site.bucket.holds(stored[STUDY]), site.bucket.holds(stored[OTHER])) == (False, True)
    assert len(local_files(spool)) == 2
    site.keep(spool, image(1))
    assert site.upload(spool) == 1
    assert site.bucket.holds(stored[STUDY])
