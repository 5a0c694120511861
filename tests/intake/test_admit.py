"""The counter: a yes is said only to what lies in the spool."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete

from ichd.domain.arrival import Door
from ichd.domain.errors import Transient
from ichd.domain.reason import Reason
from ichd.domain.retention import Watermarks
from ichd.domain.study import CT_IMAGE_STORAGE, InstanceFacts, StudyState
from ichd.intake.claim import Admission, Claim, Sender
from ichd.intake.counter import Counter
from ichd.intake.visit import Visit
from ichd.store.arrivals import ArrivalKind, Arrivals
from ichd.store.draft import StoredFile
from ichd.store.studies import Studies
from ichd.store.tables import Base, InstanceRow
from ichd.store.transaction import writing
from tests.intake.conftest import House, now
from tests.intake.images import EXPLICIT, encode, image

CLAIM = Claim(sop_class_uid=CT_IMAGE_STORAGE, sop_instance_uid=image(1).SOPInstanceUID, transfer_syntax_uid=EXPLICIT)
SENDER = Sender(calling_ae_title="CT1", address="192.0.2.1")


def counter_of(house: House, **options: Any) -> Counter:
    return Counter(house.arrivals, house.spool, watermarks=Watermarks(high=1, low=1), **options)


def welcome(counter: Counter) -> Visit:
    return counter.welcome(SENDER, door=Door.DIMSE, place="here:11112", now=now())


def bring(visit: Visit, content: bytes, claim: Claim = CLAIM, fragment: int = 1000) -> Admission:
    with visit.receive(claim) as reception:
        for begin in range(0, len(content), fragment):
            reception.write(content[begin : begin + fragment])
        return reception.admit(now=now())


def admit(house: House, counter: Counter | None = None) -> ArrivalKind:
    """The same image, each time in an association of its own."""
    return bring(welcome(counter or counter_of(house)), encode(image(1))).kind


def _remove(house: House) -> None:
    house.spool.locate(house.rows(InstanceRow)[0].path).unlink()


def _cut(house: House) -> None:
    file = house.spool.locate(house.rows(InstanceRow)[0].path)
    file.write_bytes(file.read_bytes()[:-1])


def _flip_a_bit(house: House) -> None:
    file = house.spool.locate(house.rows(InstanceRow)[0].path)
    content = bytearray(file.read_bytes())
    content[-10] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("harm", [_remove, _cut, _flip_a_bit])
def test_a_resend_mends_a_file_that_is_gone_or_damaged(house: House, harm: Any) -> None:
    assert admit(house) is ArrivalKind.NEW
    assert admit(house) is ArrivalKind.DUPLICATE
    studies = Studies(house.engine, house.spool)
    (before,) = house.rows(InstanceRow)
    harm(house)
    assert admit(house) is ArrivalKind.NEW
    (row,) = house.rows(InstanceRow)
    assert row.path != before.path
    assert house.stored(row.sop_instance_uid).endswith(encode(image(1)))
    assert studies.summaries()[0].state is StudyState.RECEIVING
    assert admit(house) is ArrivalKind.DUPLICATE


@pytest.mark.parametrize("moment", ["first_file", "replace"])
def test_a_repeated_image_of_a_study_that_is_forgotten_meanwhile_is_no_success(house: House, moment: str) -> None:
    """Its first file was there when its row was looked for, and is gone when it is looked at."""
    assert admit(house) is ArrivalKind.NEW

    class Overtaken(Arrivals):
        def first_file(self, facts: InstanceFacts) -> StoredFile | None:
            found = super().first_file(facts)
            if moment == "replace":
                _remove(house)
            self._forget()
            return super().first_file(facts) if moment == "first_file" else found

        def _forget(self) -> None:
            with writing(house.engine) as session:
                for table in reversed(Base.metadata.sorted_tables):
                    if table.name in {"study", "series", "instance", "arrival"}:
                        session.execute(delete(table))

    with pytest.raises(Transient, match="forgotten at this moment"):
        admit(house, Counter(Overtaken(house.engine), house.spool, watermarks=Watermarks(high=1, low=1)))
    assert admit(house) is ArrivalKind.NEW


def test_a_file_that_the_sweep_took_meanwhile_is_no_success(house: House) -> None:
    """The database kept the listener waiting for so long that its file looked like an orphan."""

    class Slow(Arrivals):
        def record(self, *args: Any, **kwargs: Any) -> ArrivalKind:
            swept = house.spool.sweep(
                known=house.arrivals.known_paths, older_than=timedelta(0), now=now() + timedelta(seconds=1)
            )
            assert swept == 1
            return super().record(*args, **kwargs)

    with pytest.raises(Transient) as caught:
        admit(house, Counter(Slow(house.engine), house.spool, watermarks=Watermarks(high=1, low=1)))
    assert caught.value.reason is Reason.STORE_UNAVAILABLE
    assert house.count() == 0
    assert admit(house) is ArrivalKind.NEW


def test_a_file_that_was_swept_while_it_was_synced_is_no_success(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its syncs took longer than the sweep leaves a file alone, or a clock was set; the row is quick."""

    def slow_sync(_folder: str) -> None:
        later = now() + timedelta(seconds=1)
        assert house.spool.sweep(known=house.arrivals.known_paths, older_than=timedelta(0), now=later) == 1

    counter = counter_of(house)
    with monkeypatch.context() as slow:
        slow.setattr("ichd.store.draft.sync_folder", slow_sync)
        with pytest.raises(Transient) as caught:
            admit(house, counter)
    assert caught.value.reason is Reason.STORE_UNAVAILABLE
    assert house.count() == 0
    assert admit(house, counter) is ArrivalKind.NEW
