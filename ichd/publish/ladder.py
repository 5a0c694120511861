"""Down the capability ladder: what a destination takes is found out by asking, and by what it turns down."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from ichd.domain.delivery import Choice, Outgoing, Parcel, choose

#: Stores objects; gives the SOP classes that the destination turned down as such, and raises on any other trouble.
Store = Callable[[Sequence[Outgoing]], Collection[str]]


@dataclass(frozen=True, kw_only=True)
class Shipment:
    """What a destination took."""

    choice: Choice
    #: The report first.
    objects: tuple[Outgoing, ...]

    @property
    def uids(self) -> tuple[str, ...]:
        """SOP Instance UIDs, the report's first."""
        return tuple(each.sop_instance_uid for each in self.objects)

    @property
    def rung(self) -> str:
        """SOP Class UID of the report as it was taken; empty where there was nothing to send."""
        return self.objects[0].sop_class_uid if self.objects else ""


def ship(parcel: Parcel, store: Store, *, accepted: Collection[str], kind_by_kind: bool) -> Shipment:
    """Store the parcel in the richest form that the destination takes.

    `accepted` are the SOP classes that it is thought to take. One that it turns down all the same is tried no more, and
    what was taken before stays. `kind_by_kind`: the report goes out while its pictures are still being drawn.

    Raises:
        Transient, Permanent: as `store`; NO_ACCEPTED_CONTEXT where nothing is left to try.
    """
    left = set(accepted)
    taken: set[str] = set()
    while True:
        choice = choose(parcel.wanted, left)
        turned_down: set[str] = set()
        for kinds in [(kind,) for kind in choice.kinds] if kind_by_kind else [choice.kinds]:
            due = [each for each in parcel.fetch(kinds) if each.sop_instance_uid not in taken]
            turned_down |= set(store(due)) if due else set()
            taken |= {each.sop_instance_uid for each in due if each.sop_class_uid not in turned_down}
        if not turned_down:
            return Shipment(choice=choice, objects=tuple(parcel.fetch(choice.kinds)))
        left -= turned_down
