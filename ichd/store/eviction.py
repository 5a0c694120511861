"""Copies of images that a machine keeps of what lies in a bucket: the oldest make room when its disk is short."""

from collections.abc import Sequence
from itertools import islice
from pathlib import PurePosixPath

import structlog
from sqlalchemy import Engine, select, union_all

from ichd.domain.retention import Watermarks
from ichd.store.draft import StoredFile
from ichd.store.spool import Spool
from ichd.store.tables import ConflictRow, InstanceRow
from ichd.store.transaction import reading

log = structlog.get_logger(__name__)

_BATCH = 500


def evict_copies(engine: Engine, spool: Spool, marks: Watermarks) -> int:
    """Remove this machine's oldest copies until its disk is no longer short; returns how many went.

    Whatever the state of its study: what is needed again is brought again. What the bucket does not have stays.

    Raises:
        Transient: the bucket, the database or the disk does not answer.
    """
    if not marks.is_short(1 - spool.free_fraction(), was_short=False):
        return 0
    evicted = 0
    # Their names begin with the time of their making.
    paths = iter(sorted(spool.paths(), key=lambda path: PurePosixPath(path).name))
    while batch := tuple(islice(paths, _BATCH)):
        for stored in _known(engine, batch):
            if not marks.is_short(1 - spool.free_fraction(), was_short=True):
                log.info("copies_evicted", images=evicted)
                return evicted
            evicted += spool.evict(stored)
    log.warning("disk_short", evicted=evicted, mend="what is left is not in the bucket yet, or is no image of ours")
    return evicted


def _known(engine: Engine, paths: Sequence[str]) -> list[StoredFile]:
    """Those that have a row, in their order."""
    statement = union_all(
        *(
            select(table.path, table.sha256, table.size).where(table.path.in_(paths))
            for table in (InstanceRow, ConflictRow)
        )
    )
    with reading(engine) as session:
        found = {
            row.path: StoredFile(path=row.path, sha256=row.sha256, size=row.size) for row in session.execute(statement)
        }
    return [found[path] for path in paths if path in found]
