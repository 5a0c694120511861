"""Which spool belongs to which database: both carry the same random code, or nothing is opened.

A spool under a foreign database would look full of files that no row names, and a database over a foreign spool would
miss all of its images. A typing error in `database.url`, a restored backup or a disk that is not mounted must end in a
message, not in a tidied spool.

With a bucket the code lies in the bucket, and the folder of each machine is adopted freely once the bucket's is right.
"""

import secrets
from datetime import UTC, datetime

from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from ichd.domain.errors import UserError
from ichd.store.bucket_spool import BucketSpool
from ichd.store.spool import Spool
from ichd.store.tables import InstallationRow
from ichd.store.transaction import insert_if_new, reading, writing
from ichd.store.uploads import Uploads

#: The key of the only row.
_ONLY = 1


def claim_spool(engine: Engine, spool: Spool) -> None:
    """Make sure that database and spool belong together; where neither was ever used, marry them.

    Safe to run by several processes at once, and to be killed at any moment: the database notes its code first, the
    spool takes the code next, and only then does the database note that a spool has it.

    Raises:
        UserError: they do not belong together; names the mend.
        Transient: the database or the spool does not answer.
    """
    with reading(engine) as session:
        installation = session.get(InstallationRow, _ONLY)
    if installation is None:
        with writing(engine) as session:
            insert_if_new(session, InstallationRow, {"id": _ONLY, "code": secrets.token_hex(16), "has_spool": False})
            installation = _installation(session)
    owner = spool.owner()
    if owner is None and not installation.has_spool:
        if spool.holds_images():
            raise UserError(
                f"the spool {spool.place} holds images, but nothing says of which database; "
                "set spool.url to an empty folder, or database.url to the database that these images belong to"
            )
        owner = spool.adopt(installation.code)
    if owner is None and isinstance(spool, BucketSpool):
        owner = _outgrown(engine, spool, installation.code)
    if owner is None:
        raise UserError(
            f"the spool {spool.place} of this database is gone; mount its disk or correct spool.url, or, if it is lost "
            f"for good, write {installation.code} into {spool.place}/.owner"
        )
    if owner != installation.code:
        raise UserError(
            f"the spool {spool.place} belongs to another database; correct database.url or spool.url, "
            "or set spool.url to an empty folder"
        )
    spool.move_in(installation.code)
    if not installation.has_spool:
        with writing(engine) as session:
            session.execute(update(InstallationRow).values(has_spool=True))


def _outgrown(engine: Engine, spool: BucketSpool, code: str) -> str | None:
    """A database whose folder was the whole spool gets a bucket: its owner then, all images owed to it."""
    machine = spool.outgrown_by(code)
    if machine is None:
        return None
    # First of all: killed after this, the same is done again; killed after the other, nobody would know of the images.
    Uploads(engine).owe_everything(machine, now=datetime.now(UTC))
    return spool.adopt(code)


def _installation(session: Session) -> InstallationRow:
    """The row, which somebody has inserted by now."""
    return session.scalars(select(InstallationRow)).one()
