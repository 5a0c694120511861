"""Which images are stored already."""

from ichd.store.held import Holdings
from tests.store.house import House, image


def test_of_the_images_asked_for_the_stored_ones_are_named(house: House) -> None:
    association = house.open_association()
    for number in (1, 2, 3):
        house.arrive(image(number, study="1.2.1", series="1.2.1.9"), association_id=association)
    holdings = Holdings(house.engine)

    assert holdings.held(["1.2.1.9.1", "1.2.1.9.3", "1.2.1.9.4"]) == {"1.2.1.9.1", "1.2.1.9.3"}
    assert holdings.held([]) == frozenset()


def test_more_uids_than_a_statement_takes(house: House) -> None:
    house.arrive(image(1, study="1.2.1", series="1.2.1.9"), association_id=house.open_association())
    many = [f"9.9.{number}" for number in range(70_000)]

    assert Holdings(house.engine).held([*many, "1.2.1.9.1"]) == {"1.2.1.9.1"}
