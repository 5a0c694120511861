"""Readers' words: kept once, about the finding that is meant, and given out for calibration."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from ichd.domain.delivery import ObjectKind
from ichd.domain.errors import Refused
from ichd.domain.reason import Reason
from ichd.domain.review import Agreement, Review, ReviewSource
from ichd.store.reviews import MOST_OF_A_STUDY, Meant, Reviews, standing
from ichd.store.tables import RenditionRow
from tests.store.house import NOON, SERIES, STUDY, House, read_record, unread

OTHER = "1.2.840.2"


def word(
    agreement: Agreement = Agreement.AGREED, *, key: str = "reader-1", after_s: float = 0.0, **more: object
) -> Review:
    values = {"source": ReviewSource.API, "reviewer": key} | more
    return Review(agreement=agreement, key=key, received_at=NOON + timedelta(seconds=after_s), **values)  # type: ignore[arg-type]


@pytest.fixture
def reviews(house: House) -> Reviews:
    return Reviews(house.engine)


@pytest.fixture
def read(house: House) -> House:
    """A study whose first revision was read."""
    house.ready()
    house.analyse()
    return house


def read_again(house: House) -> None:
    """A late slice makes another revision, which is read too."""
    house.receive(9)
    assert house.close() == [STUDY]
    house.analyse(record=read_record(any_p=0.11, triage="routine"))


def test_a_word_is_about_the_newest_finding(read: House, reviews: Reviews) -> None:
    assert reviews.record(STUDY, word(truth={"subdural": True, "epidural": False})) == 1
    (given,) = reviews.of_study(STUDY)
    assert given.revision == 1
    assert given.review == word(truth={"subdural": True, "epidural": False})


def test_while_later_images_wait_it_is_about_what_was_read(read: House, reviews: Reviews) -> None:
    read.receive(9)
    assert read.summary().revision == 2
    assert reviews.record(STUDY, word()) == 1


def test_a_word_may_name_an_earlier_revision(read: House, reviews: Reviews) -> None:
    read_again(read)
    assert reviews.record(STUDY, word(key="a"), revision=1) == 1
    assert reviews.record(STUDY, word(Agreement.DISAGREED, key="b")) == 2
    given = reviews.of_study(STUDY)
    assert (standing(given, 1), standing(given, 2), standing(given, 3)) == (Agreement.AGREED, Agreement.DISAGREED, None)


def test_who_says_it_again_or_changes_his_mind_has_one_word(read: House, reviews: Reviews) -> None:
    reviews.record(STUDY, word())
    reviews.record(STUDY, word())
    reviews.record(STUDY, word(Agreement.DISAGREED, after_s=60))
    (given,) = reviews.of_study(STUDY)
    assert given.review == word(Agreement.DISAGREED, after_s=60)


def test_other_readers_and_other_ways_have_words_of_their_own(read: House, reviews: Reviews) -> None:
    reviews.record(STUDY, word(key="a"))
    reviews.record(STUDY, word(key="b", after_s=1))
    reviews.record(STUDY, word(Agreement.DISAGREED, key="a", after_s=2, source=ReviewSource.HL7))
    assert [(g.review.source, g.review.key) for g in reviews.of_study(STUDY)] == [
        (ReviewSource.API, "a"),
        (ReviewSource.API, "b"),
        (ReviewSource.HL7, "a"),
    ]
    assert standing(reviews.of_study(STUDY), 1) is Agreement.DISAGREED


def test_words_without_a_key_do_not_replace_one_another(read: House, reviews: Reviews) -> None:
    reviews.record(STUDY, word(key=""))
    reviews.record(STUDY, word(key="", after_s=1))
    assert len(reviews.of_study(STUDY)) == 2


def test_what_names_no_finding_is_refused(house: House, reviews: Reviews) -> None:
    house.ready()
    house.ready(study=OTHER)
    job = house.claim()
    house.studies.begin_analysis(job, now=house.now)
    house.studies.not_analysed(job, record=unread(), now=house.now)
    for study_uid, revision in (("1.2.3", None), (STUDY, None), (OTHER, None), (STUDY, 7)):
        with pytest.raises(Refused) as refused:
            reviews.record(study_uid, word(), revision=revision)
        assert refused.value.reason is Reason.REVIEW_UNKNOWN
    assert reviews.of_study(STUDY) == reviews.of_study("1.2.3") == ()


def test_a_study_has_as_many_words_as_anybody_needs(read: House, reviews: Reviews) -> None:
    for number in range(MOST_OF_A_STUDY):
        reviews.record(STUDY, word(key=str(number)))
    with pytest.raises(Refused):
        reviews.record(STUDY, word(key="one more"))
    reviews.record(STUDY, word(Agreement.DISAGREED, key="7", after_s=1))


def test_a_study_is_found_by_its_accession_number_if_that_is_its_alone(house: House, reviews: Reviews) -> None:
    assert reviews.by_accession("A-17") is None
    house.receive(1)
    assert reviews.by_accession("A-17") == STUDY
    assert reviews.by_accession("A-1") is reviews.by_accession("") is None
    house.receive(1, study=OTHER)
    assert reviews.by_accession("A-17") is None, "two studies have it"


def test_a_finding_is_found_by_an_object_that_states_it(read: House, reviews: Reviews) -> None:
    read_again(read)
    with Session(read.engine) as session, session.begin():
        for revision, uid in ((1, "2.25.1"), (2, "2.25.2")):
            session.add(rendition(revision, uid))
        session.add(rendition(2, "", kind=ObjectKind.HEAT, number=0))
    assert reviews.by_instance("2.25.1") == Meant(study_uid=STUDY, revision=1)
    assert reviews.by_instances(["2.25.1", "2.25.2", "1.2.3"]) == (Meant(study_uid=STUDY, revision=2),)
    assert reviews.by_instance("1.2.3") is reviews.by_instance("") is None


def rendition(revision: int, uid: str, *, kind: ObjectKind = ObjectKind.SR, number: int = 1) -> RenditionRow:
    """A row of the first study of an empty database."""
    return RenditionRow(
        study_id=1,
        revision=revision,
        kind=kind,
        destination="",
        number=number,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
        sop_instance_uid=uid,
        path=uid,
        sha256="",
        size=0,
        rendered_at=NOON,
    )


def test_the_export_has_each_word_beside_what_the_model_said(read: House, reviews: Reviews) -> None:
    reviews.record(STUDY, word(Agreement.DISAGREED, truth={"any": False}))
    read_again(read)
    reviews.record(STUDY, word(key="b"))
    first, second = reviews.all_reviews()
    assert (first.study_uid, first.revision, first.series_uid) == (STUDY, 1, SERIES)
    assert (first.bundle_sha256, first.scan) == ("cd" * 32, {"any": 0.93})
    assert first.review == replace(word(Agreement.DISAGREED), truth={"any": False})
    assert (second.revision, second.scan, second.review.agreement) == (2, {"any": 0.11}, Agreement.AGREED)


def test_an_export_of_many_comes_in_pieces(read: House, reviews: Reviews, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ichd.store.reviews._BATCH", 2)
    for number in range(5):
        reviews.record(STUDY, word(key=str(number)))
    assert [each.review.key for each in reviews.all_reviews()] == ["0", "1", "2", "3", "4"]
