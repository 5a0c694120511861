"""Images of studies that are still arriving, for whoever looks at them before their study is complete."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, select

from ichd.domain.image_file import ImageFile
from ichd.domain.study import InstanceFacts, StudyState
from ichd.store.contents import StoredImage, series_facts
from ichd.store.draft import StoredFile
from ichd.store.spool import Spool
from ichd.store.tables import InstanceRow, SeriesRow, StudyRow
from ichd.store.transaction import reading

_BATCH = 500


@dataclass(frozen=True, kw_only=True)
class ArrivingImage:
    """A stored image of a study that is being received."""

    #: Grows in the order of arrival.
    number: int
    facts: InstanceFacts
    stored: StoredFile
    file: ImageFile


class Arriving:
    """Every method raises Transient where the database fails."""

    def __init__(self, engine: Engine, spool: Spool) -> None:
        self._engine = engine
        self._spool = spool

    def numbers(self) -> frozenset[int]:
        """Of all images of studies that are being received: cheap enough to be asked for many times a second."""
        statement = (
            select(InstanceRow.id)
            .join(SeriesRow)
            .join(StudyRow)
            .where(StudyRow.state == StudyState.RECEIVING, InstanceRow.dropped_at.is_(None))
        )
        with reading(self._engine) as session:
            return frozenset(session.scalars(statement))

    def images(self, numbers: Sequence[int]) -> list[ArrivingImage]:
        """Images by their numbers; at most a few hundred at once, the first to arrive."""
        statement = (
            select(StudyRow.study_instance_uid, SeriesRow.series_instance_uid, InstanceRow)
            .join_from(InstanceRow, SeriesRow)
            .join(StudyRow)
            .where(InstanceRow.id.in_(sorted(numbers)[:_BATCH]), InstanceRow.dropped_at.is_(None))
            .order_by(InstanceRow.id)
        )
        with reading(self._engine) as session:
            return [self._image(study, series, row) for study, series, row in session.execute(statement)]

    def bring(self, image: ArrivingImage) -> None:
        """Make sure that its file lies on this machine.

        Raises:
            Transient: as `Spool.bring`.
        """
        self._spool.bring([image.stored])

    def _image(self, study_uid: str, series_uid: str, row: InstanceRow) -> ArrivingImage:
        (facts,) = series_facts(study_uid, series_uid, [row]).instances
        stored = StoredImage(series_instance_uid=series_uid, row=row).stored
        return ArrivingImage(number=row.id, facts=facts, stored=stored, file=self._spool.image(stored))
