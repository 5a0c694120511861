"""The outbox: rendered once, the same bytes for whoever sends again."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from ichd.domain.delivery import ObjectKind, Outgoing, Rendered
from ichd.store.outbox import Outbox
from tests.store.house import House

REVISION = 1
DAY = timedelta(days=1)
A_MINUTE = timedelta(minutes=1)


@pytest.fixture
def outbox(house: House) -> Outbox:
    return Outbox(house.engine, house.spool)


@pytest.fixture
def study_id(house: House) -> int:
    house.ready()
    return house.analyse("pacs", "archive").study_id


def rendered(name: str, content: bytes = b"report") -> Rendered:
    return Rendered(sop_class_uid="1.2.3", sop_instance_uid=name, content=content)


def keep(
    outbox: Outbox, house: House, study_id: int, *objects: Rendered, kind: ObjectKind = ObjectKind.SR, to: str = "pacs"
) -> tuple[Outgoing, ...]:
    return outbox.keep(study_id, REVISION, {kind: objects}, destination=to, now=house.now)[kind]


def files(house: House) -> list[Path]:
    return sorted(house.spool.root.with_name("spool.outbox").rglob("*.*"))


def test_what_is_kept_comes_back_byte_for_byte_in_its_order(outbox: Outbox, house: House, study_id: int) -> None:
    keep(outbox, house, study_id, rendered("1.1", b"first"), rendered("1.2", b"second"), kind=ObjectKind.HEAT)
    kept = outbox.kept(study_id, REVISION, (ObjectKind.HEAT, ObjectKind.SR), destination="archive")
    assert list(kept) == [ObjectKind.HEAT], "of the other kind nothing was rendered yet"
    assert [(o.sop_instance_uid, o.path.read_bytes()) for o in kept[ObjectKind.HEAT]] == [
        ("1.1", b"first"),
        ("1.2", b"second"),
    ]


def test_a_kind_of_which_there_is_nothing_is_not_rendered_again(outbox: Outbox, house: House, study_id: int) -> None:
    assert keep(outbox, house, study_id, kind=ObjectKind.HEAT) == ()
    assert outbox.kept(study_id, REVISION, (ObjectKind.HEAT,), destination="pacs") == {ObjectKind.HEAT: ()}


def test_the_first_rendering_counts_and_the_other_leaves_no_file(outbox: Outbox, house: House, study_id: int) -> None:
    first = keep(outbox, house, study_id, rendered("1.1", b"first"))
    assert keep(outbox, house, study_id, rendered("1.1", b"later")) == first
    assert [file.read_bytes() for file in files(house)] == [b"first"]


def test_couriers_that_render_at_once_send_the_same_bytes(outbox: Outbox, house: House, study_id: int) -> None:
    with ThreadPoolExecutor(4) as pool:
        kept = list(pool.map(lambda n: keep(outbox, house, study_id, rendered("1.1", b"%d" % n)), range(8)))
    assert len({each[0].path for each in kept}) == 1
    assert files(house) == [kept[0][0].path]


def test_a_message_is_of_its_destination_and_an_object_of_all(outbox: Outbox, house: House, study_id: int) -> None:
    for to in ("pacs", "archive"):
        keep(outbox, house, study_id, rendered(f"to-{to}", to.encode()), kind=ObjectKind.RESULT, to=to)
        keep(outbox, house, study_id, rendered("1.1", to.encode()), to=to)
    kinds = (ObjectKind.RESULT, ObjectKind.SR)
    kept = {to: outbox.kept(study_id, REVISION, kinds, destination=to) for to in ("pacs", "archive")}
    assert kept["pacs"][ObjectKind.SR] == kept["archive"][ObjectKind.SR]
    assert [kept[to][ObjectKind.RESULT][0].path.read_bytes() for to in kept] == [b"pacs", b"archive"]
    assert {file.suffix for file in files(house)} == {".dcm", ".hl7"}


@pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: file.write_bytes(b"r3port")])
def test_a_damaged_file_is_never_sent_and_is_made_again(
    outbox: Outbox,
    house: House,
    study_id: int,
    damage: object,
) -> None:
    (kept,) = keep(outbox, house, study_id, rendered("1.1"))
    assert callable(damage)
    damage(kept.path)
    assert outbox.kept(study_id, REVISION, (ObjectKind.SR,), destination="pacs") == {}
    (again,) = keep(outbox, house, study_id, rendered("1.1"))
    assert again.path.read_bytes() == b"report"


def test_what_is_owed_stays_however_old_and_what_is_not_goes(outbox: Outbox, house: House, study_id: int) -> None:
    keep(outbox, house, study_id, rendered("1.1"))
    house.wait(10 * DAY.total_seconds())

    def sweep() -> int:
        return outbox.sweep(older_than=7 * DAY, orphans_after=A_MINUTE, now=house.now)

    house.deliver()
    assert sweep() == 0, "the archive has no receipt yet"
    house.deliver()
    assert sweep() == 1
    assert files(house) == []
    assert outbox.kinds_of(study_id, REVISION, ["1.1"]) == (ObjectKind.SR,), "the row stays, for readers' words"
    assert outbox.kept(study_id, REVISION, (ObjectKind.SR,), destination="pacs") == {}
    (again,) = keep(outbox, house, study_id, rendered("1.1"))
    assert again.path.exists()


def test_a_file_without_a_row_goes(outbox: Outbox, house: House, study_id: int) -> None:
    (kept,) = keep(outbox, house, study_id, rendered("1.1"))
    orphan = kept.path.with_name(f"{'0' * 30}{kept.path.parent.name}.dcm")
    orphan.write_bytes(b"its courier died before the row")
    # By the disk's own clock.
    now = house.now.fromtimestamp(orphan.stat().st_mtime, house.now.tzinfo) + 2 * A_MINUTE
    assert outbox.sweep(older_than=36500 * DAY, orphans_after=A_MINUTE, now=now) == 1
    assert files(house) == [kept.path]


def test_what_is_made_again_may_be_fewer(outbox: Outbox, house: House, study_id: int) -> None:
    kept = keep(outbox, house, study_id, rendered("1.1"), rendered("1.2"), kind=ObjectKind.HEAT)
    kept[0].path.unlink()
    (left,) = keep(outbox, house, study_id, rendered("1.1"), kind=ObjectKind.HEAT)
    assert files(house) == [left.path]
    left.path.unlink()
    assert keep(outbox, house, study_id, kind=ObjectKind.HEAT) == ()
    assert files(house) == []


def test_an_object_is_found_by_its_name_as_it_was_sent(outbox: Outbox, house: House, study_id: int) -> None:
    (kept,) = keep(outbox, house, study_id, rendered("1.1"))
    assert outbox.find("1.1") == kept
    assert outbox.find("1.2") is None
    kept.path.write_bytes(b"r3port")
    assert outbox.find("1.1") is None
