"""Which images are here."""

from collections.abc import Collection
from itertools import islice

from sqlalchemy import Engine, select

from ichd.store.tables import InstanceRow
from ichd.store.transaction import reading

#: Variables of one statement; SQLite takes 32,766, PostgreSQL 65,535.
_BATCH = 10_000


class Holdings:
    """The database, asked for images by their UIDs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def held(self, sop_instance_uids: Collection[str]) -> frozenset[str]:
        """Those of them that are here: their bytes and their row survive a loss of power. What was dropped is not.

        Raises:
            Transient: the database does not answer.
        """
        found: set[str] = set()
        left = iter(sop_instance_uids)
        with reading(self._engine) as session:
            while batch := list(islice(left, _BATCH)):
                among = (InstanceRow.sop_instance_uid.in_(batch), InstanceRow.dropped_at.is_(None))
                found.update(session.scalars(select(InstanceRow.sop_instance_uid).where(*among)))
        return frozenset(found)
