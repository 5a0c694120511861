"""What readers say of our findings, and whose finding they mean."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Engine, Row, func, select
from sqlalchemy.orm import Session

from ichd.domain.errors import Refused
from ichd.domain.reason import Reason
from ichd.domain.review import Agreement, Review
from ichd.store.among import among
from ichd.store.facts import storable_text
from ichd.store.tables import FindingRow, RenditionRow, ReviewRow, StudyRow
from ichd.store.transaction import reading, writing

#: Of one study, so that a program gone wild does not fill the study's page, nor the table.
MOST_OF_A_STUDY = 100
#: Rows of one read of the export.
_BATCH = 200
#: Columns that hold text of others: names are cut, keys are not longer than what we make of them.
_LONGEST = 128


@dataclass(frozen=True, kw_only=True)
class Meant:
    """The finding that an object of ours states."""

    study_uid: str
    revision: int


@dataclass(frozen=True, kw_only=True)
class GivenReview:
    """A review, and the revision whose finding it is about."""

    revision: int
    review: Review


@dataclass(frozen=True, kw_only=True)
class ReviewedFinding:
    """A review beside what the model had said: one line of what calibration and retraining start from."""

    study_uid: str
    revision: int
    #: The series that was read.
    series_uid: str
    #: Which thresholds and calibration spoke.
    bundle_sha256: str
    #: Scan-level probability by class name.
    scan: Mapping[str, float]
    review: Review


class Reviews:
    """Every method raises Transient where the database fails."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(self, study_uid: str, review: Review, *, revision: int | None = None) -> int:
        """Keep a reader's word about a revision, the newest that was read where none is named; returns which.

        The same source with the same key replaces its earlier word on the study: whoever says it again, or changes his
        mind, has one word. A word without a key has the moment and the reviewer for one.

        Raises:
            Refused: REVIEW_UNKNOWN, there is no such study, or nothing was found in it that could be right or wrong;
                or as many words as anybody needs stand there already.
        """
        key = review.key or f"{review.reviewer}/{review.received_at.isoformat()}"
        with writing(self._engine) as session:
            # Locked, so that two words at once count one another.
            study_id = session.scalars(
                select(StudyRow.id).where(StudyRow.study_instance_uid == study_uid).with_for_update()
            ).one_or_none()
            if study_id is None:
                raise Refused(Reason.REVIEW_UNKNOWN, "the study is unknown")
            revision = _read_revision(session, study_id, revision)
            row = session.scalars(
                select(ReviewRow).where(
                    ReviewRow.study_id == study_id,
                    ReviewRow.source == review.source,
                    ReviewRow.key == storable_text(key),
                )
            ).one_or_none()
            if row is None:
                given = session.scalar(select(func.count()).where(ReviewRow.study_id == study_id)) or 0
                if given >= MOST_OF_A_STUDY:
                    raise Refused(Reason.REVIEW_UNKNOWN, f"the study has {given} reviews already")
                row = ReviewRow(study_id=study_id, source=review.source, key=storable_text(key))
                session.add(row)
            row.revision = revision
            row.agreement = review.agreement
            row.reviewer = storable_text(review.reviewer)[:_LONGEST]
            row.truth = dict(review.truth)
            row.received_at = review.received_at
        return revision

    def of_study(self, study_uid: str) -> tuple[GivenReview, ...]:
        """All of one study, oldest first; none of a study that is unknown."""
        with reading(self._engine) as session:
            ids = session.scalars(select(StudyRow.id).where(StudyRow.study_instance_uid == study_uid)).all()
            return tuple(review for given in reviews_of(session, ids).values() for review in given)

    def by_accession(self, accession_number: str) -> str | None:
        """The study with this accession number; None where there is none, or more than one and so no telling which."""
        if not accession_number:
            return None
        named = select(StudyRow.study_instance_uid).where(StudyRow.accession_number == accession_number).limit(2)
        with reading(self._engine) as session:
            uids = session.scalars(named).all()
        return uids[0] if len(uids) == 1 else None

    def by_instance(self, sop_instance_uid: str) -> Meant | None:
        """The finding that an object of ours states; None where it is none of ours."""
        return next(iter(self.by_instances([sop_instance_uid])), None)

    def by_instances(self, sop_instance_uids: Collection[str]) -> tuple[Meant, ...]:
        """The same for several objects: of each study the newest finding that one of them states."""
        newest = (
            select(StudyRow.study_instance_uid, func.max(RenditionRow.revision))
            .join(RenditionRow, RenditionRow.study_id == StudyRow.id)
            .where(RenditionRow.sop_instance_uid.in_(set(sop_instance_uids) - {""}))
            .group_by(StudyRow.study_instance_uid)
            .order_by(StudyRow.study_instance_uid)
        )
        with reading(self._engine) as session:
            return tuple(Meant(study_uid=uid, revision=revision) for uid, revision in session.execute(newest))

    def all_reviews(self) -> Iterator[ReviewedFinding]:
        """Every review with what the model had said, in the order in which they first came; read in small batches.

        A record of 400 slices is 100 kB, and only three values of it are kept.
        """
        after_id = 0
        while batch := self._batch(after_id):
            yield from (reviewed for _, reviewed in batch)
            after_id = batch[-1][0]

    def _batch(self, after_id: int) -> list[tuple[int, ReviewedFinding]]:
        same = (FindingRow.study_id == ReviewRow.study_id) & (FindingRow.revision == ReviewRow.revision)
        statement = (
            select(
                ReviewRow,
                StudyRow.study_instance_uid,
                FindingRow.scan,
                FindingRow.record["series_uid"].as_string().label("series_uid"),
                FindingRow.record["model"]["bundle_sha256"].as_string().label("bundle_sha256"),
            )
            .join(StudyRow, ReviewRow.study_id == StudyRow.id)
            .join(FindingRow, same)
            .where(ReviewRow.id > after_id)
            .order_by(ReviewRow.id)
            .limit(_BATCH)
        )
        with reading(self._engine) as session:
            return [(row.ReviewRow.id, _reviewed(row)) for row in session.execute(statement)]


def reviews_of(session: Session, study_ids: Sequence[int]) -> Mapping[int, list[GivenReview]]:
    """What readers said of each study, oldest first."""
    given: dict[int, list[GivenReview]] = defaultdict(list)
    statement = (
        select(ReviewRow)
        .where(among(session, ReviewRow.study_id, study_ids))
        .order_by(ReviewRow.received_at, ReviewRow.id)
    )
    for row in session.scalars(statement):
        given[row.study_id].append(GivenReview(revision=row.revision, review=_review(row)))
    return given


def standing(reviews: Sequence[GivenReview], revision: int | None) -> Agreement | None:
    """The newest word about a revision; None where nobody has said one."""
    return next((given.review.agreement for given in reversed(reviews) if given.revision == revision), None)


def _read_revision(session: Session, study_id: int, revision: int | None) -> int:
    """The revision that a word is about.

    Raises:
        Refused: REVIEW_UNKNOWN, nothing was found in it, or nothing yet.
    """
    found = select(func.max(FindingRow.revision)).where(FindingRow.study_id == study_id, FindingRow.scan.is_not(None))
    if revision is not None:
        found = found.where(FindingRow.revision == revision)
    known = session.scalar(found)
    if known is None:
        raise Refused(Reason.REVIEW_UNKNOWN, f"no finding of revision {revision}" if revision else "no finding yet")
    return known


def _reviewed(row: Row[Any]) -> ReviewedFinding:
    return ReviewedFinding(
        study_uid=row.study_instance_uid,
        revision=row.ReviewRow.revision,
        series_uid=row.series_uid,
        bundle_sha256=row.bundle_sha256,
        scan=dict(row.scan),
        review=_review(row.ReviewRow),
    )


def _review(row: ReviewRow) -> Review:
    return Review(**{field.name: getattr(row, field.name) for field in fields(Review)})
