"""A backup that is taken while others work, and what comes back of it; on both databases."""

import os
import threading
from pathlib import Path

import pytest
from sqlalchemy import Engine, make_url, text, update

from ichd.app.backup import Backup, back_up
from ichd.app.backup_folder import MANIFEST_NAME, BackupFolder
from ichd.app.restore import restore
from ichd.domain.delivery import ObjectKind, Rendered
from ichd.domain.errors import Transient, UserError
from ichd.domain.job import JobKind
from ichd.domain.reason import Reason
from ichd.domain.study import StudyState
from ichd.settings import DatabaseSettings, ModelSettings, Settings, SpoolSettings
from ichd.store import postgresql_programs
from ichd.store.engine import open_database
from ichd.store.outbox import Outbox
from ichd.store.ownership import claim_spool
from ichd.store.postgresql_programs import find_program, run_program
from ichd.store.spool import Spool
from ichd.store.tables import InstanceRow
from ichd.store.transaction import writing
from tests.databases import ONE_DATABASE
from tests.store.house import NOON, STUDY, House, image, unread
from tests.store.release import rows_of


class Site:
    """A house, its settings, and a second place that is empty."""

    def __init__(self, house: House, elsewhere_url: str, folder: Path) -> None:
        self.house = house
        self.to = folder / "backup"
        claim_spool(house.engine, house.spool)
        (folder / "models" / "one").mkdir(parents=True)
        (folder / "models" / "one" / "manifest.json").write_text("{}")
        url = house.engine.url.render_as_string(hide_password=False)
        self.settings = settings(url, folder / "spool", folder / "models")
        self.elsewhere = settings(elsewhere_url, folder / "new" / "spool", folder / "new" / "models")

    def back_up(self) -> Backup:
        return back_up(self.settings, self.to, now=NOON)

    def image_files(self) -> list[Path]:
        return sorted(self.house.spool.root.glob("*/*.dcm"))


def settings(url: str, spool: Path, models: Path) -> Settings:
    return Settings(
        database=DatabaseSettings(url=url),
        spool=SpoolSettings(url=str(spool)),
        model=ModelSettings(promoted=str(models)),
    )


@pytest.fixture
def site(house: House, elsewhere_url: str, tmp_path: Path) -> Site:
    return Site(house, elsewhere_url, tmp_path)


def test_studies_in_every_state_come_back_with_every_file(site: Site, tmp_path: Path) -> None:
    in_every_state(site.house)
    before = rows_of(site.house.engine)
    done = site.back_up()
    assert done.is_whole
    assert (done.manifest.rows["study"], done.manifest.files, done.manifest.revision) == (6, 12, "0005")
    site.house.receive(7, study="1.2.840.77")  # after the backup: not part of it

    restored = restore(site.elsewhere, site.to)

    assert restored.is_whole
    assert restored.models
    engine = open_database(site.elsewhere.database.url)
    assert rows_of(engine) == before
    spool = Spool(site.elsewhere.spool.root)
    claim_spool(engine, spool)
    assert contents(spool.root) <= contents(site.house.spool.root)
    assert len(contents(spool.root)) == 11
    assert len(contents(spool.root.with_name("spool.outbox"))) == 1
    assert (tmp_path / "new" / "models" / "one" / "manifest.json").is_file()
    with writing(engine) as session:
        # Rows go on where they were numbered, and what guards the trail came back too.
        session.execute(text("INSERT INTO audit_cursor (name, audit_id) VALUES ('syslog', 0)"))
    with pytest.raises(Exception, match="append-only"), engine.begin() as connection:
        connection.execute(text("DELETE FROM audit"))
    engine.dispose()


def test_the_next_backup_brings_what_is_new_and_forgets_what_was_dropped(site: Site) -> None:
    site.house.receive(1, 2)
    assert site.back_up().carried.new == 2
    site.house.receive(3)
    dropped = site.image_files()[0]
    drop(site.house.engine, site.house.spool, dropped)
    dropped.unlink()

    done = site.back_up()

    assert done.is_whole
    assert (done.carried.new, done.gone, done.manifest.files) == (1, 1, 2)
    assert contents(site.to / "spool") == contents(site.house.spool.root)
    assert len(list(site.to.glob("database-*"))) == 1
    assert restore(site.elsewhere, site.to).is_whole


def test_a_file_that_nobody_dropped_is_missed_and_a_damaged_one_is_told(site: Site) -> None:
    site.house.receive(1, 2, 3)
    gone, cut, flipped = site.image_files()
    gone.unlink()
    cut.write_bytes(b"short")
    content = flipped.read_bytes()
    flipped.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    for _ in range(2):
        done = site.back_up()
        assert not done.is_whole
        assert done.carried.missing == [f"spool/{gone.relative_to(site.house.spool.root)}"]
        assert done.carried.damaged == [f"spool/{each.relative_to(site.house.spool.root)}" for each in (cut, flipped)]
        assert flipped.exists(), "the spool's own file is a person's to look at"


@ONE_DATABASE
def test_a_backup_that_dies_leaves_the_models_of_the_one_before(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.house.receive(1)
    site.back_up()
    pointer = Path(site.settings.model.promoted) / "one" / "manifest.json"
    pointer.write_text('{"newer": true}')
    with monkeypatch.context() as dying:
        dying.setattr(BackupFolder, "finish", lambda *_: (_ for _ in ()).throw(Transient(Reason.DISK_LOW, "full")))
        with pytest.raises(Transient):
            site.back_up()
    assert restore(site.elsewhere, site.to).models
    assert (Path(site.elsewhere.model.promoted) / "one" / "manifest.json").read_text() == "{}"
    site.back_up()
    assert len(list(site.to.glob("models-*"))) == 1


def test_a_bit_that_flipped_in_a_backup_is_found_by_the_restore(site: Site) -> None:
    site.house.receive(1, 2)
    site.back_up()
    flipped = sorted((site.to / "spool").glob("*/*.dcm"))[0]
    content = flipped.read_bytes()
    flipped.unlink()
    flipped.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    restored = restore(site.elsewhere, site.to)
    assert restored.damaged == [f"spool/{flipped.parent.name}/{flipped.name}"]
    assert restored.missing == []


def test_what_arrives_meanwhile_is_in_it_with_its_file_or_not_at_all(site: Site) -> None:
    enough = threading.Event()

    def scanner() -> None:
        association_id = site.house.open_association()
        number = 0
        while not enough.is_set():
            number += 1
            site.house.arrive(image(number), association_id=association_id)

    thread = threading.Thread(target=scanner)
    thread.start()
    try:
        done = [site.back_up() for _ in range(2)]
    finally:
        enough.set()
        thread.join()
    assert all(each.is_whole for each in done)
    restored = restore(site.elsewhere, site.to)
    assert restored.is_whole
    assert restored.files == done[-1].manifest.rows["instance"] > 0


def test_nothing_is_written_over(site: Site) -> None:
    site.house.receive(1)
    site.back_up()
    with pytest.raises(UserError, match="database is not empty"):
        restore(site.settings, site.to)
    same_spool = site.elsewhere.model_copy(update={"spool": site.settings.spool})
    with pytest.raises(UserError, match=r"spool is not empty; name an empty folder in spool\.url"):
        restore(same_spool, site.to)
    with pytest.raises(UserError, match="holds something that is no backup"):
        back_up(site.settings, site.house.spool.root, now=NOON)


@ONE_DATABASE
def test_a_backup_without_its_end_is_none(site: Site) -> None:
    site.house.receive(1)
    manifest = site.back_up().manifest
    dump = site.to / manifest.dump
    dump.write_bytes(dump.read_bytes() + b"\0")
    with pytest.raises(UserError, match="missing or damaged"):
        restore(site.elsewhere, site.to)
    (site.to / MANIFEST_NAME).unlink()
    with pytest.raises(UserError, match=r"no manifest\.json"):
        restore(site.elsewhere, site.to)
    assert not Path(str(make_url(site.elsewhere.database.url).database)).exists()
    assert site.back_up().is_whole


@ONE_DATABASE
def test_a_backup_of_another_kind_or_time_is_refused(site: Site) -> None:
    site.house.receive(1)
    site.back_up()
    other = site.elsewhere.model_copy(update={"database": DatabaseSettings(url="postgresql://ichd@127.0.0.1:9/ichd")})
    with pytest.raises(UserError, match="backup is of sqlite"):
        restore(other, site.to)
    manifest = site.to / MANIFEST_NAME
    manifest.write_text(manifest.read_text().replace('"revision": "0005"', '"revision": "9999"'))
    with pytest.raises(UserError, match="schema 9999, made by ichd"):
        restore(site.elsewhere, site.to)


def test_a_program_that_is_missing_or_too_old_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_programs, "_DEBIAN", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="pg_dump is missing on this machine; install postgresql-client-16"):
        find_program("pg_dump", 16)
    pretend(tmp_path / "pg_dump", 'echo "pg_dump (PostgreSQL) 14.2"')
    with pytest.raises(UserError, match="pg_dump 14 is older than the server, which is 16; install postgresql-client"):
        find_program("pg_dump", 16)


def test_no_password_stands_on_a_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(
        tmp_path / "pg_dump", f'echo "(PostgreSQL) 16.1"; echo "$@" >>{tmp_path}/told; echo $PGPASSWORD >{tmp_path}/env'
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    run_program(
        "pg_dump", ["--file=x"], make_url("postgresql+psycopg://ichd:s3cr%40t@db:5433/ichd?sslmode=require"), server=16
    )
    told = (tmp_path / "told").read_text()
    assert "--dbname=postgresql://ichd@db:5433/ichd?sslmode=require --file=x" in told
    assert "s3cr" not in told
    assert (tmp_path / "env").read_text() == "s3cr@t\n"


def in_every_state(house: House) -> None:
    """Six studies, and an object of the first in the outbox."""
    house.ready(1, 2, study=STUDY)
    first = house.analyse("pacs")
    Outbox(house.engine, house.spool).keep(
        first.study_id,
        1,
        {ObjectKind.SR: [Rendered(sop_class_uid="1.2.3", sop_instance_uid="2.25.1", content=b"report")]},
        destination="",
        now=house.now,
    )
    house.deliver()
    house.ready(1, study="1.2.840.2")
    job = house.claim()
    house.studies.begin_analysis(job, now=house.now)
    house.studies.not_analysed(job, record=unread(), now=house.now)
    house.ready(1, 2, study="1.2.840.3")
    job = house.claim()
    house.studies.begin_analysis(job, now=house.now)
    house.studies.failed(job, Reason.INTERNAL_ERROR, "ValueError", retry_at=None, now=house.now)
    house.ready(1, 2, study="1.2.840.4")
    house.studies.begin_analysis(house.claim(kinds=(JobKind.ANALYSE,)), now=house.now)
    house.ready(1, 2, study="1.2.840.5")
    house.receive(1, 2, study="1.2.840.6")
    assert {s.state for s in house.studies.summaries()} == set(StudyState)


def contents(root: Path) -> set[tuple[str, bytes]]:
    """All files of a spool by their names within it."""
    return {(str(path.relative_to(root)), path.read_bytes()) for path in root.glob("*/*.*")}


def drop(engine: Engine, spool: Spool, file: Path) -> None:
    """As retention does."""
    path = str(file.relative_to(spool.root))
    with writing(engine) as session:
        session.execute(update(InstanceRow).where(InstanceRow.path == path).values(dropped_at=NOON))


def pretend(program: Path, script: str) -> None:
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
