"""Commissioning without an archive: the route from the settings, the judgement of a trip, the page, the daily tick."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pydicom
import pytest

from ichd.app.commission.acceptance import Acceptance, Case, Plan, commission, settings_digest
from ichd.app.commission.daily import commission_by_the_clock
from ichd.app.commission.page import render_page, write_report
from ichd.app.commission.phantoms import PATIENT_NAME, PhantomStudy, chosen, make_study
from ichd.app.commission.points import Point, points_of
from ichd.app.commission.route import live_route
from ichd.app.commission.trip import Trip
from ichd.app.doctor import Check
from ichd.app.model import check_model
from ichd.domain.delivery import ObjectKind, Receipt
from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES, Finding, Prediction, ReadingRule, SlicePrediction, conclude
from ichd.domain.reason import Reason
from ichd.domain.study import CT_IMAGE_STORAGE, StudyState
from ichd.intake.ask.objects import FoundObject
from ichd.intake.ask.sources import DimseSource, WebSource
from ichd.phantom import BLEED_KINDS
from ichd.report.document import ReportContext
from ichd.report.sr import build_report
from ichd.settings import Settings, load_settings
from ichd.store.commissioned import Commissioned, last_commission
from ichd.store.engine import migrate, open_database
from ichd.store.statistics import Statistics
from ichd.vision.manifest import read_manifest
from ichd.vision.shelf import find_bundle
from tests.peers.ports import free_port

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MODEL = check_model(Settings().model)


@pytest.fixture(scope="module")
def bleeding(tmp_path_factory: pytest.TempPathFactory) -> PhantomStudy:
    return make_study("subdural", tmp_path_factory.mktemp("phantom"), number=5, now=NOW)


def rule() -> ReadingRule:
    return read_manifest(find_bundle("phantom-demo")).rule


def finding(study: PhantomStudy, kind: str | None, slices: set[int]) -> Finding:
    """As if the model had seen `kind` on some slices of the study, counted from 1."""

    def probabilities(number: int) -> tuple[float, ...]:
        seen = number in slices and kind is not None
        return tuple(0.97 if seen and name in {"any", kind} else 0.001 for name in CLASSES)

    return conclude(
        Prediction(
            study_instance_uid=study.study_uid,
            series_instance_uid="1.2.3",
            model=MODEL,
            slices=tuple(
                SlicePrediction(
                    sop_instance_uid=uid, sop_class_uid=CT_IMAGE_STORAGE, z_mm=5.0 * n, probabilities=probabilities(n)
                )
                for n, uid in enumerate(study.images, start=1)
            ),
            notes=(),
            timings_ms={},
        ),
        rule(),
    )


def trip_of(study: PhantomStudy, found: Finding) -> Trip:
    """One that went well, with a report on that finding."""
    sources = [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(study.folder.glob("*.dcm"))]
    report = build_report(found, sources, ReportContext(revision=1, created_at=NOW, software_version="1"))
    uid = str(report.SOPInstanceUID)
    return Trip(
        study=study,
        began_at=NOW,
        acknowledged=len(study.images),
        sent_s=0.5,
        complete_s=2.0,
        reported_s=3.0,
        archived_s=4.0,
        state=StudyState.REPORTED,
        receipt=Receipt(
            destination="pacs",
            sent_at=NOW,
            sop_instance_uids=(uid,),
            sop_class_uid=str(report.SOPClassUID),
            status="0x0000",
        ),
        listed=FoundObject(
            study_uid=study.study_uid, series_uid="1.2.4", sop_instance_uid=uid, sop_class_uid="", modality="SR"
        ),
        report=report,
        handed_back=True,
        beside={ObjectKind.KO: 1, ObjectKind.SC: 1},
    )


def wrong(trip: Trip) -> dict[str, Point]:
    return {point.name: point for point in points_of(trip, MODEL, timeout_s=60) if not point.ok}


def bloody(study: PhantomStudy) -> set[int]:
    return {number for number, uid in enumerate(study.images, start=1) if uid in study.blood_mm2}


def test_a_report_that_says_what_is_true_passes(bleeding: PhantomStudy) -> None:
    trip = trip_of(bleeding, finding(bleeding, "subdural", bloody(bleeding)))
    assert wrong(trip) == {}
    assert len(points_of(trip, MODEL, timeout_s=60)) == 16


def test_a_model_that_misses_the_bleed_fails_in_clear_words(bleeding: PhantomStudy) -> None:
    missed = wrong(trip_of(bleeding, finding(bleeding, None, set())))
    assert set(missed) == {"Triage", "Kind called", "Key slices"}
    assert missed["Triage"].note == "The model misses the bleed; the route works."
    assert "does not call subdural" in missed["Kind called"].note

    other = wrong(trip_of(bleeding, finding(bleeding, "epidural", bloody(bleeding))))
    assert set(other) == {"Kind called", "Key slices"}


def test_key_slices_without_blood_are_named(bleeding: PhantomStudy) -> None:
    (healthy, *_) = sorted(set(range(1, len(bleeding.images) + 1)) - bloody(bleeding))
    point = wrong(trip_of(bleeding, finding(bleeding, "subdural", {healthy})))["Key slices"]
    assert point.note == f"Slices {healthy} show no blood."


def test_what_an_archive_changed_is_found(bleeding: PhantomStudy) -> None:
    trip = trip_of(bleeding, finding(bleeding, "subdural", bloody(bleeding)))
    assert trip.report is not None
    trip.report.PatientID, trip.report.AccessionNumber = "SOMEBODY", ""
    assert set(wrong(trip)) == {"Patient ID", "Accession number"}
    trip.report = pydicom.Dataset()
    assert {"Content", "Patient's name"} <= set(wrong(trip))


def test_a_report_of_another_model_fails(bleeding: PhantomStudy) -> None:
    trip = trip_of(bleeding, finding(bleeding, "subdural", bloody(bleeding)))
    other = replace(MODEL, bundle_sha256="0" * 64)
    assert [p.name for p in points_of(trip, other, timeout_s=60) if not p.ok] == ["Model"]


def test_a_trip_that_ended_early_ends_with_its_trouble(bleeding: PhantomStudy) -> None:
    trip = Trip(study=bleeding, began_at=NOW, acknowledged=28, trouble="nobody reads", state=StudyState.READY)
    (_, last) = points_of(trip, MODEL, timeout_s=60)
    assert (last.name, last.found, last.ok, last.note) == ("Report acknowledged", "ready", False, "nobody reads")


def test_phantoms_say_what_they_are_and_are_never_the_same_twice(bleeding: PhantomStudy, tmp_path: Path) -> None:
    again = make_study("subdural", tmp_path, number=5, now=NOW)
    assert again.study_uid != bleeding.study_uid
    assert not set(again.images) & set(bleeding.images)
    image = pydicom.dcmread(next(iter(sorted(tmp_path.glob("*.dcm")))))
    assert (image.PatientName, image.PatientID) == (PATIENT_NAME, again.patient_id)
    assert image.QualityControlSubject == "YES"
    assert "not a patient" in image.StudyDescription
    assert len(again.accession_number) <= 16
    assert image.SOPInstanceUID == image.file_meta.MediaStorageSOPInstanceUID == again.images[0]


def test_kinds_are_chosen_in_words() -> None:
    assert chosen("all") == (None, *BLEED_KINDS)
    assert chosen("none") == (None,)
    assert chosen("epidural, subdural") == (None, "epidural", "subdural")
    with pytest.raises(ValueError, match="nose"):
        chosen("nose")


def settings_with(**tables: object) -> Settings:
    return Settings.model_validate(tables)


PACS = {"name": "pacs", "address": "pacs:104", "ae_title": "PACS"}
WEB = {"name": "web", "kind": "stow", "url": "https://pacs/dicom-web", "token": "t"}


def test_an_archive_is_asked_where_its_source_says_else_where_it_is_sent_to() -> None:
    alone = live_route(settings_with(destination=[PACS, WEB]), "pacs").archive
    assert isinstance(alone, DimseSource)
    assert (alone.host, alone.port, alone.ae_title) == ("pacs", 104, "PACS")
    web = live_route(settings_with(destination=[PACS, WEB]), "web").archive
    assert isinstance(web, WebSource)
    assert (web.url, web.token) == ("https://pacs/dicom-web", "t")

    named = {"name": "pacs", "address": "archive:11112", "ae_title": "ARCHIVE"}
    same = {"name": "another", "address": "pacs:104", "ae_title": "PACS", "retrieve": "move"}
    by_name = live_route(settings_with(destination=[PACS], source=[same, named]), "pacs").archive
    assert (by_name.name, by_name.__class__) == ("pacs", DimseSource)
    assert live_route(settings_with(destination=[PACS], source=[same]), "pacs").archive.name == "another"


@pytest.mark.parametrize(
    ("destination", "words"),
    [
        ({"name": "x", "kind": "hl7", "address": "ris:2575"}, "keeps no reports"),
        ({**PACS, "name": "x", "send": ["sc"]}, "gets no Structured Report"),
        (PACS, "use one of pacs"),
    ],
)
def test_what_can_not_be_asked_is_refused(destination: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        live_route(settings_with(destination=[destination]), "x")


def test_the_digest_of_the_settings_knows_no_secret() -> None:
    first, other = settings_with(destination=[WEB]), settings_with(destination=[{**WEB, "token": "u"}])
    assert settings_digest(first) == settings_digest(other)
    assert settings_digest(first) != settings_digest(settings_with(destination=[{**WEB, "timeout_s": 3.0}]))


def test_the_page_escapes_and_needs_nothing_else(bleeding: PhantomStudy, tmp_path: Path) -> None:
    trip = trip_of(bleeding, finding(bleeding, "subdural", bloody(bleeding)))
    assert trip.report is not None
    trip.report.PatientID = "<script>alert(1)</script>"
    acceptance = Acceptance(
        route=live_route(settings_with(destination=[PACS]), "pacs"),
        model=MODEL,
        began_at=NOW,
        ended_at=NOW,
        checks=(Check(name="listener", ok=True, detail="<b>"), Check(name="source x", ok=False, detail="away")),
        beside_the_route=frozenset({"source x"}),
        cases=(Case(trip=trip, points=points_of(trip, MODEL, timeout_s=60)),),
        timeout_s=60,
        settings_sha256="0" * 64,
        kept_in=None,
        host="here",
        user="me",
        ae_title="ICHD",
    )
    assert not acceptance.passed
    page = render_page(acceptance)
    assert "<script" not in page
    assert "<b>" not in page
    assert "1 of 1 studies failed: subdural" in page
    assert trip.study.study_uid in page.partition("What stays")[2]
    assert "ichd forget STUDY" in page
    written, beside = write_report(acceptance, tmp_path / "new" / "page.html")
    assert written.read_text() == page
    assert '"passed": false' in beside.read_text()


def test_a_name_can_not_leave_the_foot_of_a_sheet(bleeding: PhantomStudy) -> None:
    trip = trip_of(bleeding, finding(bleeding, None, set()))
    route = replace(live_route(settings_with(destination=[PACS]), "pacs"), destination='p"; } </style><script>')
    acceptance = Acceptance(
        route=route,
        model=MODEL,
        began_at=NOW,
        ended_at=NOW,
        checks=(),
        beside_the_route=frozenset(),
        cases=(Case(trip=trip, points=points_of(trip, MODEL, timeout_s=60)),),
        timeout_s=60,
        settings_sha256="0" * 64,
        kept_in=None,
        host="here",
        user="me",
        ae_title="ICHD",
    )
    page = render_page(acceptance)
    (foot,) = [line for line in page.splitlines() if "@bottom-left" in line]
    assert foot.count('"') == 4, "of the words, and of the typeface"
    assert "<" not in foot
    assert page.count("</style>") == 1


def site(folder: Path) -> Settings:
    """Settings with a database and nobody who listens."""
    config = folder / "ichd.toml"
    config.write_text(
        f'[dicom]\nport = {free_port()}\n[database]\nurl = "sqlite:///{folder}/ichd.db"\n'
        f'[spool]\nurl = "{folder}/spool"\n[tick]\ncommission_h = 24.0\ncommission_to = "pacs"\n'
        f'[[destination]]\nname = "pacs"\naddress = "127.0.0.1:{free_port()}"\nae_title = "PACS"\n'
    )
    settings = load_settings(config)
    migrate(settings.database.url)
    return settings


def test_by_the_clock_what_is_wrong_is_trouble(tmp_path: Path) -> None:
    settings = site(tmp_path)
    engine = open_database(settings.database.url)
    trouble = commission_by_the_clock(settings, Statistics(engine), threading.Event(), now=NOW)
    assert trouble is not None
    assert trouble.reason is Reason.COMMISSION_FAILED
    assert "not sent" in trouble.detail
    told = last_commission(Statistics(engine), "pacs", since=NOW)
    assert told == Commissioned(at=NOW, passed=False, took_s=None)
    assert last_commission(Statistics(engine), "pacs", since=NOW + timedelta(seconds=1)) is None

    stopping = threading.Event()
    stopping.set()
    assert commission_by_the_clock(settings, Statistics(engine), stopping, now=NOW + timedelta(days=1)) is None
    assert last_commission(Statistics(engine), "pacs", since=NOW) == told, "a worker that stops leaves no word"
    engine.dispose()


def test_what_the_route_depends_on_is_looked_at_first(tmp_path: Path) -> None:
    acceptance = commission(site(tmp_path), Plan(to="pacs", cases=(None,)), tell=lambda _: None)
    assert acceptance.cases == ()
    assert not acceptance.checks_passed
    assert {"listener", "destination pacs"} <= {c.name for c in acceptance.checks if not c.ok}
