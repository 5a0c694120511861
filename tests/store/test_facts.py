"""Facts of an image survive the database, whatever a header holds."""

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ichd.domain.study import InstanceFacts
from ichd.store.facts import facts_from_json, facts_to_json
from tests.store.house import House

PLAIN = InstanceFacts(
    study_instance_uid="1.2",
    series_instance_uid="1.2.3",
    sop_instance_uid="1.2.3.4",
    sop_class_uid="1.2.840",
    transfer_syntax_uid="1.2.840.2",
)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def _restore(facts: InstanceFacts) -> InstanceFacts:
    plain = json.loads(json.dumps(facts_to_json(facts), allow_nan=False))
    return facts_from_json(
        plain,
        study_instance_uid="1.2",
        series_instance_uid="1.2.3",
        sop_instance_uid="1.2.3.4",
        sop_class_uid="1.2.840",
    )


@given(
    modality=TEXT,
    image_type=st.lists(TEXT).map(tuple),
    rows=st.none() | st.integers(),
    number_of_frames=st.integers(),
    image_position=st.none() | st.tuples(FINITE, FINITE, FINITE),
    image_orientation=st.none() | st.tuples(*[FINITE] * 6),
    pixel_spacing=st.none() | st.tuples(FINITE, FINITE),
    slice_thickness_mm=st.none() | FINITE,
    series_description=TEXT,
)
def test_facts_come_back_as_they_were(**attributes: object) -> None:
    facts = replace(PLAIN, **attributes)  # type: ignore[arg-type]
    assert _restore(facts) == facts


@given(st.tuples(*[st.floats()] * 3), st.text())
def test_what_json_or_postgresql_can_not_hold_is_left_out(position: tuple[float, float, float], text: str) -> None:
    restored = _restore(replace(PLAIN, image_position=position, series_description=text))
    assert restored.image_position in {position, None}
    assert "\0" not in restored.series_description
    restored.series_description.encode()


def test_hostile_text_reaches_both_databases(house: House) -> None:
    hostile = replace(
        PLAIN,
        series_description="head\0\udcff'); DROP TABLE study; --" + "x" * 20_000,
        accession_number="\0",
        image_position=(float("inf"), 0.0, 0.0),
        series_number=1 << 70,
    )
    association_id = house.open_association()
    house.arrive(hostile, association_id=association_id)
    (series,) = house.studies.detail("1.2").series
    assert series.description.startswith("head?'); DROP")
    assert series.series_number == 1 << 70
    assert house.summary("1.2").accession_number == ""
