"""What kind of images were read in an hour, days out of hours, and how far the input drifted; on both databases."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from ichd.domain.drift import drift
from ichd.domain.histogram import duration_bin
from ichd.domain.review import Agreement, Review, ReviewSource
from ichd.store.days import DAY, count_day, day_of
from ichd.store.figures import families_of, names_of, put
from ichd.store.reviews import Reviews
from ichd.store.statistics import HOUR, Statistics
from ichd.store.transaction import reading, writing
from ichd.store.trends import Trends
from tests.store.house import NOON, House, image, read_record

HIGH_NOON = NOON.replace(minute=0, second=0, microsecond=0)
MIDNIGHT = day_of(NOON)


def read_study(house: House, number: int, *, triage: str, any_p: float, **facts: Any) -> str:
    """A study of two slices with these facts, read and reported."""
    study = f"1.2.840.{number}"
    association = house.open_association()
    for slice_ in (1, 2):
        house.arrive(replace(image(slice_, study=study), **facts), association_id=association)
    house.end_association(association)
    assert house.close() == [study]
    record = read_record(triage=triage, any_p=any_p, series_uid=f"{study}.1")
    record["remarks"] = [{"code": "motion", "detail": "", "unseen": False}] * 2
    record["slices"] = record["slices"] * 30
    house.analyse("pacs", record=record)
    house.deliver()
    return study


def figures(engine: Engine, *families: str, day: bool = False) -> dict[str, float]:
    prefix = "day/" if day else ""
    with reading(engine) as session:
        at = MIDNIGHT if day else HIGH_NOON
        found = families_of(session, [prefix + each for each in families], since=at, until=at + HOUR)
    return {
        f"{family.removeprefix(prefix)}/{name}".rstrip("/"): rows[0][1]
        for family, members in found.items()
        for name, rows in members.items()
    }


def test_an_hour_tells_what_kind_of_images_were_read_and_by_whom(house: House) -> None:
    read_study(house, 1, triage="urgent", any_p=0.93, convolution_kernel="H31s", slice_thickness_mm=5.0)
    read_study(house, 2, triage="routine", any_p=0.02, convolution_kernel="<b>" + "x" * 40)
    read_study(house, 3, triage="routine", any_p=0.02, slice_thickness_mm=0.6)
    Statistics(house.engine).count_hours(now=HIGH_NOON + HOUR + timedelta(minutes=2))

    found = figures(
        house.engine,
        "input_slices",
        "input_thickness",
        "input_kernel",
        "input_source",
        "input_remark",
        "read_by",
        "any_bin",
        "latency_bin",
    )

    assert found == {
        "input_slices/24 to 32": 3,
        "input_thickness/4.5 mm to 5.5 mm": 1,
        "input_thickness/below 0.9 mm": 1,
        "input_thickness/unknown": 1,
        "input_kernel/H31s": 1,
        "input_kernel/<b>xxxxxxxxxxxxx": 1,
        "input_kernel/unknown": 1,
        "input_source/CT1": 3,
        "input_remark/motion": 3,
        "read_by/test 1 cdcdcdcdcdcd": 3,
        "any_bin/18": 1,
        "any_bin/00": 2,
        f"latency_bin/{duration_bin(2.0):02d}": 3,
    }


def test_counting_an_hour_and_its_day_again_changes_nothing(house: House) -> None:
    read_study(house, 1, triage="urgent", any_p=0.93)
    statistics = Statistics(house.engine)
    statistics.count_hours(now=HIGH_NOON + HOUR + timedelta(minutes=2))
    before = figures(house.engine, "triage", "any_bin", "input_source", day=True)
    statistics.count_hours(now=HIGH_NOON + HOUR + timedelta(minutes=50))
    count_day(house.engine, MIDNIGHT)

    assert figures(house.engine, "triage", "any_bin", "input_source", day=True) == before
    assert before == {"triage/urgent": 1, "any_bin/18": 1, "input_source/CT1": 1}


def test_texts_of_others_do_not_fill_the_table_with_names(house: House) -> None:
    for number in range(45):
        read_study(house, number + 1, triage="routine", any_p=0.1, convolution_kernel=f"K{number:02d}")
    Statistics(house.engine).count_hours(now=HIGH_NOON + HOUR + timedelta(minutes=2))

    found = figures(house.engine, "input_kernel")
    assert len(found) == 40
    assert found["input_kernel/other"] == 45 - 39


def test_a_readers_newest_word_of_the_hour_counts_and_his_truth_before_his_agreement(house: House) -> None:
    reviews = Reviews(house.engine)
    urgent, other, routine = (
        read_study(house, 1, triage="urgent", any_p=0.9),
        read_study(house, 2, triage="urgent", any_p=0.9),
        read_study(house, 3, triage="routine", any_p=0.1),
    )

    def say(study: str, agreement: Agreement, truth: Mapping[str, bool] | None = None, *, key: str) -> None:
        house.wait(1)
        word = Review(
            agreement=agreement, source=ReviewSource.API, received_at=house.now, key=key, truth=dict(truth or {})
        )
        reviews.record(study, word)

    say(urgent, Agreement.DISAGREED, key="a")
    say(urgent, Agreement.AGREED, key="b")
    # Another kind of haemorrhage than was called: the alarm was right all the same.
    say(other, Agreement.DISAGREED, {"any": True, "subdural": False}, key="a")
    say(routine, Agreement.DISAGREED, key="a")
    Statistics(house.engine).count_hours(now=HIGH_NOON + HOUR + timedelta(minutes=2))

    assert figures(house.engine, "words") == {"words/urgent/right": 2, "words/routine/wrong": 1}


def test_days_add_up_hours_and_keep_the_worst_of_peaks(engine: Engine) -> None:
    statistics = Statistics(engine)
    statistics.record({"studies_received": 3, "triage/urgent": 1, "latency_bin/40": 2}, at=MIDNIGHT + 3 * HOUR)
    statistics.record({"studies_received": 4, "triage/urgent": 2, "latency_bin/41": 5}, at=MIDNIGHT + 23 * HOUR)
    statistics.record({"studies_received": 100}, at=MIDNIGHT + DAY)
    statistics.record_peaks({"queue_peak/analyse": 7}, at=MIDNIGHT)
    statistics.record_peaks({"queue_peak/analyse": 2, "owed_peak/pacs": 1}, at=MIDNIGHT)
    statistics.record_peaks({"queue_peak/analyse": 5}, at=MIDNIGHT + HOUR)
    count_day(engine, MIDNIGHT)

    found = Trends(engine).days(
        ("studies_received", "triage", "latency_bin", "queue_peak", "owed_peak"), since=MIDNIGHT, until=MIDNIGHT + DAY
    )
    values = {(family, name): rows for family, members in found.items() for name, rows in members.items()}
    assert {key: rows[0][1] for key, rows in values.items()} == {
        ("studies_received", ""): 7,
        ("triage", "urgent"): 3,
        ("latency_bin", "40"): 2,
        ("latency_bin", "41"): 5,
        ("queue_peak", "analyse"): 7,
        ("owed_peak", "pacs"): 1,
    }
    assert all(rows[0][0] == MIDNIGHT for rows in values.values())


def test_the_days_of_hours_that_are_made_up_for_are_counted_too(house: House) -> None:
    statistics = Statistics(house.engine)
    statistics.count_hours(now=MIDNIGHT + timedelta(minutes=5))
    read_study(house, 1, triage="urgent", any_p=0.93)
    statistics.count_hours(now=MIDNIGHT + DAY + 5 * HOUR)

    found = Trends(house.engine).days(["studies_received"], since=MIDNIGHT, until=MIDNIGHT + 2 * DAY)
    assert found["studies_received"][""] == [(MIDNIGHT, 1), (MIDNIGHT + DAY, 0)]


def test_drift_is_held_against_the_first_weeks_for_ever(engine: Engine) -> None:
    statistics = Statistics(engine)
    for number in range(40):
        kernels = {"H31s": 8, "H30f": 2} if number < 34 else {"H31s": 2, "Hr38": 8}
        statistics.record(
            {f"input_kernel/{name}": count for name, count in kernels.items()}, at=MIDNIGHT + number * DAY + 9 * HOUR
        )
        count_day(engine, MIDNIGHT + number * DAY)

    since, until = MIDNIGHT, MIDNIGHT + 50 * DAY
    rows = dict(statistics.series("input_drift/kernel", since=since, until=until))
    first = {"H31s": 8 * 28, "H30f": 2 * 28}
    assert min(rows) == MIDNIGHT + 28 * DAY, "nothing is said before the first weeks are over"
    assert rows[MIDNIGHT + 33 * DAY] == 0
    assert rows[MIDNIGHT + 39 * DAY] == pytest.approx(drift(first, {"H31s": 8 + 6 * 2, "H30f": 2, "Hr38": 6 * 8}))
    assert Trends(engine).reference("input_kernel", until=until) == first

    statistics.forget(before=until)
    assert Trends(engine).reference("input_kernel", until=until) == first


def test_names_are_found_by_their_family_and_no_other(engine: Engine) -> None:
    with writing(engine) as session:
        put(session, {"triage": 1, "triage/a": 1, "triage/b/c": 1, "triage0": 1, "triage_x/a": 1, "tr/a": 1}, NOON)
        put(session, {"triage/a": 2}, NOON + HOUR)
    with reading(engine) as session:
        assert names_of(session, "triage") == ["triage", "triage/a", "triage/b/c"]
        assert names_of(session, "nothing") == []
        found = families_of(session, ["triage"], since=NOON + HOUR, until=NOON + 2 * HOUR)
    assert found == {"triage": {"a": [(NOON + HOUR, 2.0)]}}
