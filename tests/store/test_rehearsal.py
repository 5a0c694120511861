"""What a listener writes is tried out before anybody is let in."""

import pytest
from sqlalchemy import func, select

from ichd.domain.errors import Transient
from ichd.domain.reason import Reason
from ichd.store.tables import Base
from tests.store.house import NOON, House
from tests.store.test_writable import make_read_only


def test_a_rehearsal_leaves_no_row(house: House) -> None:
    for _ in range(2):
        house.arrivals.rehearse(now=NOON)
    with house.engine.connect() as connection:
        rows = {t.name: connection.scalar(select(func.count()).select_from(t)) for t in Base.metadata.sorted_tables}
    assert {name: count for name, count in rows.items() if count} == {}
    house.receive(1, 2)
    assert house.summary().slices == 2


def test_a_rehearsal_before_a_database_that_can_only_be_read_fails(house: House) -> None:
    make_read_only(house.engine)
    with pytest.raises(Transient, match=r"(?i)read-?only") as caught:
        house.arrivals.rehearse(now=NOON)
    assert caught.value.reason is Reason.STORE_UNAVAILABLE
