"""Who may stay when the house is full."""

from ichd.intake.dimse.doorkeeper import Caps, Doorkeeper
from ichd.intake.peers import Rejection

HERE, THERE, ELSEWHERE = "192.0.2.1", "192.0.2.2", "192.0.2.3"


class Visitor:
    def __init__(self) -> None:
        self.dropped = False

    def drop(self) -> None:
        self.dropped = True


def keeper(connections: int = 4, here: int = 3, associations: int = 2, associations_here: int = 2) -> Doorkeeper:
    return Doorkeeper(
        Caps(
            connections=connections,
            connections_per_address=here,
            associations=associations,
            associations_per_address=associations_here,
        )
    )


def dropped(visitors: list[Visitor]) -> list[int]:
    return [number for number, visitor in enumerate(visitors) if visitor.dropped]


def test_a_full_address_gives_up_its_own_oldest_idle_connection() -> None:
    door, others, visitors = keeper(connections=9), Visitor(), [Visitor() for _ in range(5)]
    assert door.enter(others, THERE)
    for visitor in visitors:
        assert door.enter(visitor, HERE)
    assert dropped(visitors) == [0, 1]
    assert not others.dropped


def test_a_full_house_gives_up_the_oldest_idle_connection_of_all() -> None:
    door, visitors = keeper(), [Visitor() for _ in range(5)]
    for visitor, address in zip(visitors, (HERE, THERE, HERE, THERE, ELSEWHERE), strict=True):
        assert door.enter(visitor, address)
    assert dropped(visitors) == [0]


def test_who_has_associated_stays_and_a_house_full_of_them_takes_nobody() -> None:
    door, visitors = keeper(connections=2), [Visitor() for _ in range(3)]
    assert door.enter(visitors[0], HERE)
    assert door.associate(visitors[0]) is None
    assert door.enter(visitors[1], HERE)
    assert door.enter(visitors[2], HERE)
    assert dropped(visitors) == [1]
    assert door.associate(visitors[2]) is None
    assert not door.enter(Visitor(), THERE)
    assert dropped(visitors) == [1]


def test_associations_are_counted_in_all_and_by_address_and_given_back() -> None:
    door, visitors = keeper(connections=9, here=9, associations=2, associations_here=1), [Visitor() for _ in range(4)]
    for visitor, address in zip(visitors, (HERE, HERE, THERE, ELSEWHERE), strict=True):
        assert door.enter(visitor, address)
    full = Rejection.LOCAL_LIMIT_EXCEEDED
    assert [door.associate(visitor) for visitor in visitors] == [None, full, None, full]
    # Released, but still connected; then gone.
    door.part(visitors[0])
    assert door.associate(visitors[1]) is None
    door.leave(visitors[2])
    assert door.associate(visitors[3]) is None


def test_who_was_dropped_can_not_associate_any_more() -> None:
    door, first = keeper(here=1), Visitor()
    assert door.enter(first, HERE)
    assert door.enter(Visitor(), HERE)
    assert first.dropped
    assert door.associate(first) is Rejection.LOCAL_LIMIT_EXCEEDED
    door.part(first)
    door.leave(first)
