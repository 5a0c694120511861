"""Four ways out, one protocol; and what a ladder does with what is turned down."""

from collections.abc import Sequence

import pytest

from ichd.domain.delivery import SOP_CLASSES, ObjectKind, Outgoing, proposed
from ichd.domain.errors import Permanent
from ichd.publish.cstore import CStore
from ichd.publish.ladder import ship
from ichd.publish.mllp import Mllp, MllpPeer
from ichd.publish.peer import DimsePeer
from ichd.publish.sender import Sender
from ichd.publish.stow import Stow
from ichd.publish.web import WebPeer
from ichd.publish.webhook import Webhook
from tests.publish.parcels import KO, SC, SR, Outbox


@pytest.mark.parametrize(
    "sender",
    [
        CStore(peer=DimsePeer(name="there", host="127.0.0.1", port=104, ae_title="PACS")),
        Stow(peer=WebPeer(name="there", url="http://127.0.0.1/dicom-web")),
        Mllp(peer=MllpPeer(name="there", host="127.0.0.1", port=2575)),
        Webhook(peer=WebPeer(name="there", url="http://127.0.0.1/hook"), secret="known to both of us"),  # noqa: S106
    ],
    ids=lambda sender: type(sender).__name__,
)
def test_every_way_has_a_name_and_knows_whether_it_leaves_this_machine(sender: Sender) -> None:
    assert sender.name == "there"
    assert sender.is_loopback


@pytest.mark.parametrize(
    ("turned_down", "kinds", "left_out"),
    [
        ((), [SR, KO, SC], ()),
        ((SR,), [ObjectKind.SR_COMPREHENSIVE, KO, SC], ()),
        ((SR, ObjectKind.SR_COMPREHENSIVE), [ObjectKind.SR_ENHANCED, KO, SC], ()),
        ((SR, ObjectKind.SR_COMPREHENSIVE, ObjectKind.SR_ENHANCED), [SC, KO], ()),
        ((SC,), [SR, KO], (SC,)),
        ((KO, SC), [SR], (KO, SC)),
    ],
)
def test_the_richest_form_that_is_left(
    outbox: Outbox, turned_down: tuple[ObjectKind, ...], kinds: list[ObjectKind], left_out: tuple[ObjectKind, ...]
) -> None:
    sent: list[ObjectKind] = []

    def store(objects: Sequence[Outgoing]) -> set[str]:
        sent.extend(each.kind for each in objects)
        return {each.sop_class_uid for each in objects if each.kind in turned_down}

    parcel = outbox.parcel(SR, KO, SC)
    shipment = ship(parcel, store, accepted=proposed(parcel.wanted), kind_by_kind=False)
    assert [each.kind for each in shipment.objects] == kinds
    assert shipment.choice.left_out == left_out
    assert shipment.rung == SOP_CLASSES[kinds[0]]
    assert len(sent) == len(set(sent)), "what was taken, or turned down, is not sent again"


def test_the_end_of_the_ladder(outbox: Outbox) -> None:
    parcel = outbox.parcel(SR, KO)
    with pytest.raises(Permanent):
        ship(
            parcel,
            lambda objects: {each.sop_class_uid for each in objects},
            accepted=proposed(parcel.wanted),
            kind_by_kind=False,
        )
