"""What becomes of images that are turned away in numbers."""

from dataclasses import replace
from datetime import timedelta

import pytest

from ichd.domain.arrival import Door
from ichd.domain.errors import Refused
from ichd.domain.reason import Reason
from ichd.intake.refusals import Refusals
from ichd.store.tables import RefusalRow
from tests.intake.conftest import House, now
from tests.intake.images import ROOT, encode, image
from tests.intake.test_admit import CLAIM, SENDER, bring, counter_of, welcome

STUDY = f"{ROOT}.2"


def test_refusals_of_one_address_have_so_many_rows_a_minute(house: House) -> None:
    """Rows that anybody may cause must not keep the images of others waiting."""
    counter = counter_of(house)
    visit = welcome(counter)
    for _ in range(25):
        with pytest.raises(Refused):
            bring(visit, b"no image")
    assert (visit.refused, house.count(RefusalRow)) == (25, 20)
    other = counter.welcome(replace(SENDER, address="192.0.2.2"), door=Door.STOW, place="here:8080", now=now())
    with pytest.raises(Refused):
        bring(other, b"no image")
    assert house.count(RefusalRow) == 21


def test_the_next_row_says_how_many_had_none(house: House) -> None:
    refusals, begin = Refusals(house.arrivals), now()
    error = Refused(Reason.TRUNCATED, "20 of 128 pixel bytes")
    for seconds in [0] * 25 + [61] * 2:
        at = begin + timedelta(seconds=seconds)
        refusals.image(error, SENDER, CLAIM, study_instance_uid=None, now=at)
    latest, one_more = house.arrivals.refusals(limit=2)[::-1]
    assert (latest.detail, one_more.detail) == ("20 of 128 pixel bytes (and 5 more like this)", "20 of 128 pixel bytes")


def test_what_is_lost_of_a_study_under_reception_always_has_a_row(house: House) -> None:
    """It is what keeps the study from being closed without it."""
    counter = counter_of(house)
    bring(welcome(counter), encode(image(1)))
    visit = welcome(counter)
    broken = encode(image(2))[:-1]
    for _ in range(25):
        with pytest.raises(Refused):
            bring(visit, b"no image")
    for _ in range(25):
        with pytest.raises(Refused):
            bring(visit, broken, replace(CLAIM, sop_instance_uid=image(2).SOPInstanceUID))
    rows = [row.study_instance_uid for row in house.rows(RefusalRow)]
    assert (rows.count(STUDY), rows.count(None)) == (25, 20)
