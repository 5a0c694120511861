"""The two steps, on real files: which series is read and why the others are not, and where a report may go."""

from datetime import datetime
from pathlib import Path

import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, generate_uid

from ichd.app.predict import gather, group
from ichd.domain.errors import LeaseLost, Permanent
from ichd.domain.finding import Triage
from ichd.domain.job import JobKind, RetryPolicy
from ichd.domain.note import Remark
from ichd.domain.reason import Reason
from ichd.domain.refusal import SelectionPolicy
from ichd.domain.study import StudyState
from ichd.intake.header import read_facts
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.pipeline.analyse import analyse
from ichd.pipeline.heat import LastSeen
from ichd.pipeline.reading import ReadingPolicy, ReadStudy, UnreadStudy, read_study, why_unread
from ichd.publish.cstore import CStore
from ichd.report.readable import read_report
from ichd.store.embeddings import Embeddings
from ichd.vision.reader import Reader
from tests.peers.storescp import Receiver, receiver  # noqa: F401 - a fixture
from tests.pipeline.delivering import courier, node, route, tell
from tests.store.house import House

POLICY = ReadingPolicy(selection=SelectionPolicy(), require_head=True)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    recipe = PhantomRecipe(seed=5, slices=14, rows=128, voxel_mm=2.0, bleeds=("subdural",))
    return write_series(render(recipe), tmp_path_factory.mktemp("head"))


def second_series(files: list[Path], folder: Path, *, every: int, **attributes: object) -> list[Path]:
    """A series of the same study made of every n-th slice, with some attributes changed."""
    folder.mkdir()
    series_uid = generate_uid()
    written = []
    for path in files[::every]:
        image = pydicom.dcmread(path)
        image.SeriesInstanceUID = series_uid
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        for keyword, value in attributes.items():
            setattr(image, keyword, value)
        image.save_as(folder / path.name)
        written.append(folder / path.name)
    return written


def read(paths: list[Path], reader: Reader) -> ReadStudy | UnreadStudy:
    gathered = gather(paths)
    (study,) = group(gathered.facts)
    return read_study(study, gathered.files, reader.read, reader.engine.bundle.rule, POLICY)


def test_the_series_with_the_most_slices_is_read_and_the_other_says_so(
    head: list[Path], reader: Reader, tmp_path: Path
) -> None:
    outcome = read([*second_series(head, tmp_path / "b", every=1)[:12], *head], reader)
    assert isinstance(outcome, ReadStudy)
    assert len(outcome.finding.prediction.slices) == 14
    assert [s.reason for s in outcome.skipped] == [Reason.RANKED_LOWER]
    z_mm = [s.z_mm for s in outcome.finding.prediction.slices]
    assert z_mm == sorted(z_mm)


def test_a_series_whose_pixels_are_damaged_gives_way_to_the_next(
    head: list[Path], reader: Reader, tmp_path: Path
) -> None:
    damaged = second_series(head, tmp_path / "damaged", every=1)
    for path in damaged:
        image = pydicom.dcmread(path)
        image.PixelData = encapsulate([b"this is no JPEG 2000 codestream"])
        image["PixelData"].is_undefined_length = True
        image.file_meta.TransferSyntaxUID = JPEG2000Lossless
        image.save_as(path)
    outcome = read([*damaged, *head[:12]], reader)
    assert isinstance(outcome, ReadStudy)
    assert len(outcome.finding.prediction.slices) == 12
    assert [s.reason for s in outcome.skipped] == [Reason.PIXELS_UNREADABLE]


def test_a_study_of_one_kind_of_refusal_takes_its_reason(head: list[Path], reader: Reader, tmp_path: Path) -> None:
    localizer = second_series(head, tmp_path / "scout", every=7, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    outcome = read(localizer, reader)
    assert isinstance(outcome, UnreadStudy)
    assert outcome.reason is Reason.LOCALIZER

    outcome = read([*localizer, *head[:1]], reader)
    assert isinstance(outcome, UnreadStudy)
    assert outcome.reason is Reason.NO_READABLE_SERIES
    assert {s.reason for s in outcome.skipped} == {Reason.LOCALIZER, Reason.TOO_FEW_SLICES}
    assert "localizer, too_few_slices" in outcome.detail


def test_an_empty_study_has_a_reason_too() -> None:
    assert why_unread([]) == (Reason.CONFLICTING_DUPLICATE, "every image of the study")


def arrived(house: House, files: list[Path]) -> str:
    association_id = house.open_association()
    for path in files:
        facts = read_facts(path)
        house.arrive(facts, association_id=association_id, content=path.read_bytes())
    house.end_association(association_id)
    (study_uid,) = house.close()
    return study_uid


def delivery(house: House, sender: CStore, *, allow_demo: bool = False) -> None:
    job = house.claim(kinds=(JobKind.PUBLISH,))
    courier(house, route(sender), allow_demo=allow_demo).publish(job)


def analysed(house: House, files: list[Path], reader: Reader, destination: str = "pacs") -> str:
    study_uid = arrived(house, files)
    analyse(
        house.claim(),
        studies=house.studies,
        reader=reader,
        embeddings=Embeddings(house.spool, reader.engine.fingerprint),
        last_seen=LastSeen(),
        policy=POLICY,
        destinations=tell(destination),
        clock=lambda: house.now,
    )
    return study_uid


def test_from_stored_files_to_a_report_with_a_receipt(
    house: House,
    head: list[Path],
    reader: Reader,
    receiver: Receiver,  # noqa: F811
) -> None:
    study_uid = analysed(house, head, reader)
    assert house.summary(study_uid).state is StudyState.ANALYSING
    delivery(house, node(receiver.port))
    detail = house.studies.detail(study_uid)
    assert detail.summary.state is StudyState.REPORTED
    (path,) = receiver.files()
    report = read_report(pydicom.dcmread(path))
    assert detail.record is not None
    assert {c.name: c.probability for c in report.classes} == pytest.approx(detail.record["scan"], abs=1e-6)
    (line,) = detail.record["series_ranking"]
    assert (line["series_uid"], line["rank"], line["read"]) == (detail.record["series_uid"], 1, True)
    assert line["criteria"]["kernel"]["points"] == 8


def test_a_late_slice_makes_a_report_that_names_its_predecessor(
    house: House,
    head: list[Path],
    reader: Reader,
    receiver: Receiver,  # noqa: F811
) -> None:
    study_uid = analysed(house, head[:-1], reader)
    delivery(house, node(receiver.port))
    assert arrived(house, head[-1:]) == study_uid
    analyse(
        house.claim(),
        studies=house.studies,
        reader=reader,
        embeddings=Embeddings(house.spool, reader.engine.fingerprint),
        last_seen=LastSeen(),
        policy=POLICY,
        destinations=tell("pacs"),
        clock=lambda: house.now,
    )
    delivery(house, node(receiver.port))
    first, second = (pydicom.dcmread(receiver.folder / f"{uid}.dcm") for uid in receiver.received)
    assert house.summary(study_uid).revision == 2
    assert read_report(second).predecessor == first.SOPInstanceUID
    assert second.SOPInstanceUID != first.SOPInstanceUID


def test_an_unreadable_study_ends_with_its_reason(house: House, head: list[Path], reader: Reader) -> None:
    study_uid = analysed(house, head[:3], reader)
    summary = house.summary(study_uid)
    assert (summary.state, summary.reason) == (StudyState.NOT_ANALYSED, Reason.TOO_FEW_SLICES)
    record = house.studies.detail(study_uid).record
    assert record is not None
    assert [line["reason"] for line in record["series_ranking"]] == ["too_few_slices"]


def test_results_of_a_demonstration_model_stay_on_this_machine(house: House, head: list[Path], reader: Reader) -> None:
    analysed(house, head, reader)
    with pytest.raises(Permanent) as refused:
        delivery(house, node(104, host="192.0.2.1"))
    assert refused.value.reason is Reason.DEMO_MODEL_BLOCKED
    assert "model.allow_demo" in str(refused.value)


def test_allow_demo_lets_them_go(house: House, head: list[Path], reader: Reader) -> None:
    analysed(house, head, reader)
    elsewhere = node(104, host="host.invalid")
    with pytest.raises(Exception, match="does not answer") as failed:
        delivery(house, elsewhere, allow_demo=True)
    assert getattr(failed.value, "reason", None) is Reason.PEER_UNREACHABLE


def test_a_destination_that_left_the_settings_is_named(house: House, head: list[Path], reader: Reader) -> None:
    analysed(house, head, reader, destination="old-pacs")
    with pytest.raises(Permanent) as refused:
        delivery(house, node(104))
    assert refused.value.reason is Reason.DESTINATION_UNKNOWN
    assert "old-pacs" in refused.value.detail


def test_a_report_that_is_sent_again_is_the_same_bytes(
    house: House,
    head: list[Path],
    reader: Reader,
    receiver: Receiver,  # noqa: F811
) -> None:
    analysed(house, head, reader)
    pacs = route(node(receiver.port))
    contents: list[bytes] = []

    def so_slow_that_the_lease_ends() -> datetime:
        if not receiver.received:
            return house.now
        house.wait(120)
        house.studies.reap(now=house.now, retry=RetryPolicy())
        return house.now

    job = house.claim("slow", kinds=(JobKind.PUBLISH,))
    with pytest.raises(LeaseLost):
        courier(house, pacs, clock=so_slow_that_the_lease_ends).publish(job)
    contents.append(receiver.files()[0].read_bytes())
    job = house.claim("successor", kinds=(JobKind.PUBLISH,))
    courier(house, pacs).publish(job)
    contents.append(receiver.files()[0].read_bytes())
    assert len(receiver.received) == 2
    assert contents[0] == contents[1]


def test_a_hole_in_the_scan_is_noted_and_never_routine(head: list[Path], reader: Reader) -> None:
    outcome = read([*head[:5], *head[10:]] if len(head) > 14 else [*head[:4], *head[8:]], reader)
    assert isinstance(outcome, ReadStudy)
    assert any(note.remark is Remark.SLICES_MISSING for note in outcome.finding.prediction.notes)
    assert outcome.finding.triage is not Triage.ROUTINE
