"""The counter's contract with its doors: what is streamed, what is remembered, what is written down of it."""

import gc
import io
import tracemalloc
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pydicom
import pytest
from structlog.testing import capture_logs

from ichd.domain.arrival import Door
from ichd.domain.audit import AuditEvent, AuditOutcome
from ichd.domain.errors import Refused, Transient
from ichd.domain.reason import Reason
from ichd.domain.retention import Watermarks
from ichd.domain.study import ENHANCED_CT_IMAGE_STORAGE
from ichd.intake.claim import Claim
from ichd.intake.counter import Counter
from ichd.store.arrivals import ArrivalKind
from ichd.store.spool import Draft, Spool
from ichd.store.tables import ArrivalRow, AssociationRow, AuditRow, ConflictRow, RefusalRow
from tests.intake.conftest import House, OpenHouse, now
from tests.intake.images import ROOT, encode, image
from tests.intake.test_admit import CLAIM, SENDER, bring, counter_of, welcome

STUDY = f"{ROOT}.2"


def claim(number: int) -> Claim:
    return replace(CLAIM, sop_instance_uid=image(number).SOPInstanceUID)


@pytest.mark.parametrize("fragment", [1, 7, 1 << 20])
def test_the_file_is_the_same_however_the_bytes_come(house: House, fragment: int) -> None:
    content = encode(image(1))
    assert bring(welcome(counter_of(house)), content).kind is ArrivalKind.NEW
    for door in Door:
        visit = counter_of(house).welcome(SENDER, door=door, place="here", now=now())
        assert bring(visit, content, fragment=fragment).kind is ArrivalKind.DUPLICATE
    assert (house.count(), house.count(ConflictRow), len(house.files())) == (1, 0, 1)
    file = pydicom.dcmread(io.BytesIO(house.stored(CLAIM.sop_instance_uid)))
    assert file.file_meta.MediaStorageSOPInstanceUID == file.SOPInstanceUID
    assert file.PixelData == image(1).PixelData


def test_a_visit_leaves_a_row_once_it_brought_an_image(house: House) -> None:
    visit = welcome(counter_of(house))
    opened_at = now()
    visit.end(released=True, now=now())
    assert house.count(AssociationRow) == 0
    visit = counter_of(house).welcome(SENDER, door=Door.STOW, place="here", now=opened_at)
    with pytest.raises(Refused):
        bring(visit, b"no image", claim(2))
    assert house.count(AssociationRow) == 0
    bring(visit, encode(image(1)))
    visit.end(released=True, now=now())
    row = house.association()
    assert (row.id, row.door, row.opened_at) == (visit.association_id, Door.STOW, opened_at)
    assert (visit.stored, visit.refused, row.refused, row.released) == (1, 1, 1, True)


def test_the_end_of_a_visit_is_told_once(house: House) -> None:
    visit = welcome(counter_of(house))
    bring(visit, encode(image(1)))
    visit.end(released=False, now=now())
    with capture_logs() as logs:
        visit.end(released=True, now=now() + timedelta(hours=1))
    assert logs == []
    assert house.association().released is False
    assert house.count(AuditRow) == 1


def test_what_a_visit_left_of_each_study_is_in_the_audit_trail(house: House) -> None:
    visit = welcome(counter_of(house))
    for number in (1, 2):
        bring(visit, encode(image(number)), claim(number))
    bring(visit, encode(image(1)))  # a duplicate is nothing new
    other = image(3, StudyInstanceUID=f"{ROOT}.88", SOPClassUID=ENHANCED_CT_IMAGE_STORAGE)
    bring(visit, encode(other), replace(claim(3), sop_class_uid=ENHANCED_CT_IMAGE_STORAGE))
    visit.end(released=True, now=now())
    rows = house.rows(AuditRow)
    assert {row.event for row in rows} == {AuditEvent.INSTANCES_STORED}
    assert {(row.actor, row.address, row.outcome) for row in rows} == {("CT1", "192.0.2.1", AuditOutcome.SUCCESS)}
    assert [row.subject for row in rows] == [
        {"study_instance_uid": STUDY, "instances": 2, "sop_class_uids": [CLAIM.sop_class_uid]},
        {"study_instance_uid": f"{ROOT}.88", "instances": 1, "sop_class_uids": [ENHANCED_CT_IMAGE_STORAGE]},
    ]


def test_what_a_dead_listener_had_stored_is_in_the_audit_trail_as_well(house: House) -> None:
    visit = welcome(counter_of(house))
    for number in (1, 2):
        bring(visit, encode(image(number)), claim(number))
    elsewhere = counter_of(house).welcome(SENDER, door=Door.DIMSE, place="elsewhere", now=now())
    bring(elsewhere, encode(image(3)), claim(3))
    assert house.arrivals.end_interrupted(listener="here:11112", now=now()) == 1
    (row,) = house.rows(AuditRow)
    assert row.subject == {"study_instance_uid": STUDY, "instances": 2, "sop_class_uids": [CLAIM.sop_class_uid]}
    assert (row.event, row.actor, row.address) == (AuditEvent.INSTANCES_STORED, "CT1", "192.0.2.1")


def test_who_is_not_let_in_is_in_the_audit_trail_once_a_minute(house: House) -> None:
    counter = counter_of(house)
    error = Refused(Reason.ASSOCIATION_NOT_ALLOWED, "address_not_allowed")
    begin = now()
    for seconds in (0, 1, 59, 61):
        counter.turn_away_association(error, SENDER, now=begin + timedelta(seconds=seconds))
    rows = house.rows(AuditRow)
    assert [row.event for row in rows] == [AuditEvent.ASSOCIATION_REFUSED] * 2
    assert rows[0].subject == {"reason": "association_not_allowed", "detail": "address_not_allowed"}
    assert house.count(RefusalRow) == 2


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"sop_instance_uid": "../../../etc/evil"}, Reason.BAD_UID),
        ({"sop_instance_uid": ""}, Reason.BAD_UID),
        ({"sop_class_uid": "1.2\n.3"}, Reason.BAD_UID),
        ({"transfer_syntax_uid": "1.2.840.10008.1.2.4.100"}, Reason.UNSUPPORTED_TRANSFER_SYNTAX),
        ({"sop_instance_uid": f"{ROOT}.404"}, Reason.UID_MISMATCH),
    ],
)
def test_a_hopeless_claim_is_answered_after_the_bytes(house: House, wrong: dict[str, str], reason: Reason) -> None:
    visit = welcome(counter_of(house))
    with visit.receive(replace(CLAIM, **wrong)) as reception:
        reception.write(encode(image(1)))
        assert reception.size == len(encode(image(1)))
        with pytest.raises(Refused) as caught:
            reception.admit(now=now())
    assert caught.value.reason is reason
    assert (house.count(), house.files(), visit.refused) == (0, [], 1)
    (row,) = house.rows(RefusalRow)
    assert row.reason is reason
    assert row.sop_instance_uid in {CLAIM.sop_instance_uid, f"{ROOT}.404", None}


def test_a_repeated_image_that_can_not_be_removed_is_a_yes(house: House) -> None:
    class Holding(Spool):
        def discard(self, path: str) -> None:
            raise Transient(Reason.STORE_UNAVAILABLE, "spool: Read-only file system")

    counter = Counter(house.arrivals, Holding(house.spool.root), watermarks=Watermarks(high=1, low=1))
    bring(welcome(counter), encode(image(1)))
    with capture_logs() as logs:
        assert bring(welcome(counter), encode(image(1))).kind is ArrivalKind.DUPLICATE
    assert "duplicate_not_removed" in [entry["event"] for entry in logs]


@pytest.mark.parametrize(
    "content",
    [encode(image(1))[:-20], encode(image(1, PixelData=bytes(1 << 20))), encode(image(1, Modality="MR"))],
    ids=["cut", "oversize", "wrong modality"],
)
def test_a_refusal_names_the_study_that_misses_the_image(house: House, content: bytes) -> None:
    with pytest.raises(Refused):
        bring(welcome(counter_of(house, max_instance_bytes=100_000)), content)
    (row,) = house.rows(RefusalRow)
    assert row.study_instance_uid == STUDY
    assert house.files() == []


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


_CUT = encode(image(1, Rows=2048, Columns=2048, PixelData=bytes(1 << 20)))


@pytest.mark.parametrize(
    ("content", "attributes"),
    [
        (encode(image(1, Modality="MR", PixelData=bytes(1 << 20))), {}),
        (_CUT, {}),
        (_CUT[:-50_000], {}),
        (_CUT, {"max_visit_bytes": (1 << 20) + 100}),
        (_CUT, {"max_instance_bytes": (1 << 20) + 100}),
    ],
    ids=["wrong modality", "too few pixels", "cut", "visit too large", "oversize"],
)
def test_a_refusal_lets_go_of_what_was_refused(house: House, content: bytes, attributes: dict[str, int]) -> None:
    """At once, also where the error is kept; not when the garbage collector comes round."""
    counter = counter_of(house, **attributes)
    errors = []
    gc.disable()
    try:
        for number in range(22):
            with pytest.raises((Refused, Transient)) as caught:
                bring(welcome(counter), content, fragment=1 << 18)
            errors.append(caught.value)
            if number == 1:
                # What is opened once: the database, for writing and for reading, and the log.
                house.arrivals.refusals()
                before = open_descriptors()
        assert open_descriptors() == before
    finally:
        gc.enable()
    assert house.files() == []


def test_a_visit_may_bring_so_much_and_the_next_one_the_rest(house: House) -> None:
    contents = {number: encode(image(number)) for number in (1, 2, 3)}
    counter = counter_of(house, max_visit_bytes=len(contents[1]) + len(contents[2]))
    visit = welcome(counter)
    for number in (1, 2):
        bring(visit, contents[number], claim(number), fragment=100)
    for _ in range(2):
        with pytest.raises(Transient) as caught:
            bring(visit, contents[3], claim(3), fragment=100)
        assert caught.value.reason is Reason.ASSOCIATION_TOO_LARGE
    assert len(house.files()) == house.count() == 2
    assert bring(welcome(counter), contents[3], claim(3)).kind is ArrivalKind.NEW


@pytest.mark.parametrize(("size", "files"), [(500, []), (2 << 20, [".part"])], ids=["small", "large"])
def test_a_sender_that_breaks_off_leaves_nothing(house: House, size: int, files: list[str]) -> None:
    visit = welcome(counter_of(house))
    with visit.receive(CLAIM) as reception:
        reception.write(encode(image(1, PixelData=bytes(3 << 20)))[:size])
        assert [file.suffix for file in house.files()] == files, "a small one is not on the disk before it is whole"
    assert (house.files(), house.count(RefusalRow), visit.refused) == ([], 0, 0)


@pytest.mark.parametrize("brings", ["half an image", "a bad image"])
def test_a_visit_that_only_lost_an_image_is_known_to_its_study(house: House, brings: str) -> None:
    counter = counter_of(house)
    first = welcome(counter)
    bring(first, encode(image(1)))
    first.end(released=True, now=now())
    visit = welcome(counter)
    content = encode(image(2, PixelData=bytes(3 << 20)))[: 2 << 20]
    with visit.receive(claim(2)) as reception:
        reception.write(content)
        if brings == "a bad image":
            with pytest.raises(Refused):
                reception.admit(now=now())
    visit.end(released=brings == "a bad image", now=now())
    row = house.rows(AssociationRow)[1]
    assert (row.released, row.refused) == ((True, 1) if brings == "a bad image" else (False, 0))
    assert len(house.rows(ArrivalRow)) == 2


def test_a_visit_that_lost_an_image_of_nobody_leaves_no_row(house: House) -> None:
    visit = welcome(counter_of(house))
    with visit.receive(claim(2)) as reception:
        reception.write(encode(image(2))[:-10])
    visit.end(released=False, now=now())
    assert house.count(AssociationRow) == 0


@pytest.mark.parametrize(("full_at", "files"), [(600, []), (3 << 19, [".part"])], ids=["early", "late"])
def test_a_disk_that_fills_up_on_the_way_is_said_at_the_end(
    open_house: OpenHouse, tmp_path: Path, full_at: int, files: list[str]
) -> None:
    seen: list[str] = []

    class Full(Draft):
        def write(self, fragment: bytes | bytearray | memoryview) -> None:
            if self.size > full_at:
                seen.extend(file.suffix for file in house.files())
                raise Transient(Reason.DISK_LOW, "spool: no space")
            super().write(fragment)

    class Filling(Spool):
        full = True

        def draft(self, suffix: str = ".dcm") -> Draft:
            return Full(self.root, self._buffers) if self.full else super().draft()

    spool = Filling(tmp_path / "spool")
    house = open_house(spool=spool)
    visit = welcome(counter_of(house))
    with pytest.raises(Transient) as caught:
        bring(visit, encode(image(1, PixelData=bytes(2 << 20))))
    assert (caught.value.reason, seen, house.files()) == (Reason.DISK_LOW, files, [])
    spool.full = False
    assert bring(visit, encode(image(1))).kind is ArrivalKind.NEW


@pytest.mark.parametrize("limit", [1 << 20, 64 << 20], ids=["dropped", "kept"])
def test_memory_does_not_grow_with_the_data_set(house: House, limit: int) -> None:
    head = encode(image(1, PixelData=bytes(128)))[: -128 - 4] + (40 << 20).to_bytes(4, "little")
    fragment = bytes(1 << 16)
    visit = welcome(counter_of(house, max_instance_bytes=limit))
    tracemalloc.start()
    with visit.receive(CLAIM) as reception:
        reception.write(head)
        for _ in range(40 << 4):
            reception.write(fragment)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < (1 << 20) + (1 << 16), "a buffer of the spool, and little else"
        if limit > 40 << 20:
            assert reception.admit(now=now()).kind is ArrivalKind.NEW
        else:
            with pytest.raises(Refused) as caught:
                reception.admit(now=now())
            assert caught.value.reason is Reason.TOO_LARGE
