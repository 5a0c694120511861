"""Instance Availability Notification and Modality Performed Procedure Step: told by pynetdicom to a real listener."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.association import Association
from sqlalchemy.engine import make_url

from ichd.domain.arrival import AnnouncementKind
from ichd.domain.study import CT_IMAGE_STORAGE
from ichd.intake.announced import INSTANCE_AVAILABILITY, PERFORMED_STEP, AnnouncedStudies
from ichd.intake.service import Service
from ichd.store.announcements import MOST_OF_A_STUDY_BY_ONE, Announcements
from ichd.store.engine import open_database
from ichd.store.tables import AnnouncementRow
from tests.intake.conftest import House, OpenHouse
from tests.intake.images import ROOT

STUDY = f"{ROOT}.2"
STEP = f"{ROOT}.77"
OTHER_CLASS = "1.2.840.10008.5.1.4.1.1.88.67"


@pytest.fixture
def told(open_house: OpenHouse, tmp_path: Any) -> House:
    """A listener that takes notifications into its own database."""
    url = make_url(f"sqlite:///{tmp_path / 'ichd.db'}")
    studies = AnnouncedStudies(Announcements(open_database(url.render_as_string())))
    services: dict[str, Service] = {INSTANCE_AVAILABILITY: studies.available, PERFORMED_STEP: studies.performed_step}
    return open_house(services=services)


@pytest.fixture
def peer(told: House) -> Iterator[Association]:
    ae = AE(ae_title="CT1")
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 8.0
    for sop_class in (INSTANCE_AVAILABILITY, PERFORMED_STEP):
        ae.add_requested_context(sop_class)
    association = ae.associate("127.0.0.1", told.port, ae_title="ICHD")
    assert association.is_established
    yield association
    association.release()


def dataset(**attributes: Any) -> Dataset:
    made = Dataset()
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


def references(images: int, *, sop_class: str = CT_IMAGE_STORAGE, first: int = 1, **more: Any) -> list[Dataset]:
    return [
        dataset(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=f"{ROOT}.1.{first + number}", **more)
        for number in range(images)
    ]


def series(*images: Dataset) -> Dataset:
    return dataset(SeriesInstanceUID=f"{ROOT}.3", ReferencedSOPSequence=list(images))


def online(images: int, **more: Any) -> list[Dataset]:
    return references(images, InstanceAvailability="ONLINE", RetrieveAETitle="PACS", **more)


def notification(*listed: Dataset, **changed: Any) -> Dataset:
    return dataset(**{"StudyInstanceUID": STUDY, "ReferencedSeriesSequence": list(listed)} | changed)


def begun(**changed: Any) -> Dataset:
    scheduled = dataset(StudyInstanceUID=STUDY, AccessionNumber="A4711")
    return dataset(
        **{
            "ScheduledStepAttributesSequence": [scheduled],
            "PatientName": "Zzyzx^Quetzalcoatl",
            "PerformedProcedureStepStatus": "IN PROGRESS",
            "Modality": "CT",
            "PerformedSeriesSequence": [],
        }
        | changed
    )


def performed(*images: Dataset) -> Dataset:
    return dataset(SeriesInstanceUID=f"{ROOT}.3", ReferencedImageSequence=list(images))


def said(house: House) -> list[tuple[AnnouncementKind, str, str, bool, int | None]]:
    rows = house.rows(AnnouncementRow)
    return [(row.kind, row.source, row.study_instance_uid, row.complete, row.instances) for row in rows]


def test_a_notification_tells_how_many_ct_images_there_are(told: House, peer: Association) -> None:
    listed = notification(
        series(*online(3), *references(1, first=50, InstanceAvailability="UNAVAILABLE")),
        series(*online(2, first=20), *online(1, first=60, sop_class=OTHER_CLASS)),
    )
    status, _ = peer.send_n_create(listed, INSTANCE_AVAILABILITY, f"{ROOT}.88")
    assert status.Status == 0x0000
    assert said(told) == [(AnnouncementKind.AVAILABILITY, "CT1", STUDY, True, 5)]


def test_the_last_notification_counts_and_one_of_reports_does_not(told: House, peer: Association) -> None:
    for listed in (series(*online(3)), series(*online(4)), series(*online(9, sop_class=OTHER_CLASS))):
        status, _ = peer.send_n_create(notification(listed), INSTANCE_AVAILABILITY, f"{ROOT}.88")
        assert status.Status == 0x0000
    assert said(told) == [(AnnouncementKind.AVAILABILITY, "CT1", STUDY, True, 4)]


def test_a_step_from_begin_to_end(told: House, peer: Association) -> None:
    status, _ = peer.send_n_create(begun(), PERFORMED_STEP, STEP)
    assert status.Status == 0x0000
    assert said(told) == [(AnnouncementKind.PERFORMED_STEP, "CT1", STUDY, False, 0)]
    assert peer.send_n_create(begun(), PERFORMED_STEP, STEP)[0].Status == 0x0111

    more = dataset(PerformedSeriesSequence=[performed(*references(2))])
    assert peer.send_n_set(more, PERFORMED_STEP, STEP)[0].Status == 0x0000
    assert said(told) == [(AnnouncementKind.PERFORMED_STEP, "CT1", STUDY, False, 2)]

    all_of_it = performed(*references(3), *references(1, sop_class=OTHER_CLASS, first=70))
    ended = dataset(PerformedProcedureStepStatus="COMPLETED", PerformedSeriesSequence=[all_of_it])
    assert peer.send_n_set(ended, PERFORMED_STEP, STEP)[0].Status == 0x0000
    assert said(told) == [(AnnouncementKind.PERFORMED_STEP, "CT1", STUDY, True, 3)]
    # It may be changed no more.
    assert peer.send_n_set(ended, PERFORMED_STEP, STEP)[0].Status == 0x0110


@pytest.mark.parametrize(("changed", "study"), [({"Modality": "MR"}, ""), ({"Modality": ""}, STUDY), ({}, STUDY)])
def test_only_a_step_of_ct_speaks_of_its_study(
    told: House, peer: Association, changed: dict[str, str], study: str
) -> None:
    status, _ = peer.send_n_create(begun(**changed), PERFORMED_STEP, STEP)
    assert status.Status == 0x0000
    assert [row.study_instance_uid for row in told.rows(AnnouncementRow)] == [study]
    status, _ = peer.send_n_set(dataset(PerformedProcedureStepStatus="COMPLETED"), PERFORMED_STEP, STEP)
    assert status.Status == 0x0000


def test_a_step_that_is_broken_off_keeps_what_it_made(told: House, peer: Association) -> None:
    peer.send_n_create(begun(PerformedSeriesSequence=[performed(*references(2))]), PERFORMED_STEP, STEP)
    ended = dataset(PerformedProcedureStepStatus="DISCONTINUED")
    assert peer.send_n_set(ended, PERFORMED_STEP, STEP)[0].Status == 0x0000
    assert said(told) == [(AnnouncementKind.PERFORMED_STEP, "CT1", STUDY, True, 2)]


@pytest.mark.parametrize(
    ("step", "status"),
    [
        (begun(ScheduledStepAttributesSequence=[]), 0x0120),
        (begun(ScheduledStepAttributesSequence=[dataset(AccessionNumber="A4711")]), 0x0120),
        (begun(PerformedProcedureStepStatus="PERHAPS"), 0x0115),
        (begun(PerformedProcedureStepStatus=""), 0x0115),
    ],
)
def test_a_step_that_says_nothing_is_refused(told: House, peer: Association, step: Dataset, status: int) -> None:
    assert peer.send_n_create(step, PERFORMED_STEP, STEP)[0].Status == status
    assert said(told) == []


def test_a_peer_that_says_too_much_of_a_study_is_told_so(told: House, peer: Association) -> None:
    for number in range(MOST_OF_A_STUDY_BY_ONE):
        status, _ = peer.send_n_create(begun(), PERFORMED_STEP, f"{STEP}.{number}")
        assert status.Status == 0x0000
    for create in ((begun(), PERFORMED_STEP), (notification(series(*online(3))), INSTANCE_AVAILABILITY)):
        status, _ = peer.send_n_create(*create, f"{STEP}.999")
        assert status.Status == 0x0213
    assert told.count(AnnouncementRow) == MOST_OF_A_STUDY_BY_ONE


def test_a_step_that_nobody_began(told: House, peer: Association) -> None:
    ended = dataset(PerformedProcedureStepStatus="COMPLETED")
    assert peer.send_n_set(ended, PERFORMED_STEP, STEP)[0].Status == 0x0112
    assert said(told) == []


def test_an_update_with_a_status_that_is_none_changes_nothing(told: House, peer: Association) -> None:
    peer.send_n_create(begun(), PERFORMED_STEP, STEP)
    assert peer.send_n_set(dataset(PerformedProcedureStepStatus="DONE"), PERFORMED_STEP, STEP)[0].Status == 0x0115
    assert said(told) == [(AnnouncementKind.PERFORMED_STEP, "CT1", STUDY, False, 0)]


def test_a_notification_without_a_study_is_refused(told: House, peer: Association) -> None:
    listed = dataset(ReferencedSeriesSequence=[series(*online(3))])
    assert peer.send_n_create(listed, INSTANCE_AVAILABILITY, f"{ROOT}.88")[0].Status == 0x0120
    assert said(told) == []


def test_other_operations_are_not_offered(told: House, peer: Association) -> None:
    assert peer.send_n_set(notification(), INSTANCE_AVAILABILITY, f"{ROOT}.88")[0].Status == 0x0211
    assert said(told) == []
