"""Which form of a report a destination gets."""

import pytest

from ichd.domain.delivery import LADDER, SOP_CLASSES, ObjectKind, choose, proposed
from ichd.domain.errors import Permanent
from ichd.domain.reason import Reason

SR, COMPREHENSIVE, ENHANCED, SC = LADDER
KO, HEAT, GSPS = ObjectKind.KO, ObjectKind.HEAT, ObjectKind.GSPS


def classes(*kinds: ObjectKind) -> set[str]:
    return {SOP_CLASSES[kind] for kind in kinds}


@pytest.mark.parametrize(
    ("wanted", "accepted", "kinds", "left_out"),
    [
        ((SR, KO, SC), classes(SR, COMPREHENSIVE, ENHANCED, KO, SC), (SR, KO, SC), ()),
        ((SR, KO, SC), classes(COMPREHENSIVE, ENHANCED, KO, SC), (COMPREHENSIVE, KO, SC), ()),
        ((SR, KO), classes(ENHANCED), (ENHANCED,), (KO,)),
        ((SR,), classes(SC), (SC,), ()),
        ((SR, KO, SC), classes(SC), (SC,), (KO,)),
        ((SC, HEAT, GSPS), classes(SC), (SC, HEAT), (GSPS,)),
        ((KO,), classes(KO), (KO,), ()),
        ((GSPS, SC), classes(SC, GSPS), (SC, GSPS), ()),
    ],
)
def test_the_highest_rung_that_a_peer_takes_is_sent(
    wanted: tuple[ObjectKind, ...],
    accepted: set[str],
    kinds: tuple[ObjectKind, ...],
    left_out: tuple[ObjectKind, ...],
) -> None:
    chosen = choose(wanted, accepted)
    assert (chosen.kinds, chosen.left_out) == (kinds, left_out)


@pytest.mark.parametrize(("wanted", "accepted"), [((SR, KO), classes(KO)), ((SC,), classes(SR)), ((KO,), set())])
def test_a_peer_that_takes_nothing_that_says_what_was_found_is_an_error(
    wanted: tuple[ObjectKind, ...], accepted: set[str]
) -> None:
    with pytest.raises(Permanent) as raised:
        choose(wanted, accepted)
    assert raised.value.reason is Reason.NO_ACCEPTED_CONTEXT


def test_every_rung_is_proposed_where_a_report_is_wanted() -> None:
    assert set(proposed((SR, KO))) == classes(*LADDER, KO)
    assert proposed((SC, HEAT)) == (SOP_CLASSES[SC],)
