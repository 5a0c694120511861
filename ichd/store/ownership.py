"""Which spool belongs to which database: both carry the same random code, or nothing is opened.

A spool under a foreign database would look full of files that no row names, and a database over a foreign spool would
miss all of its images. A typing error in `database.url`, a restored backup or a disk that is not mounted must end in a
message, not in a tidied spool.
"""

import secrets

from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from ichd.domain.errors import UserError
from ichd.store.spool import Spool
from ichd.store.tables import InstallationRow
from ichd.store.transaction import insert_if_new, reading, writing

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
                f"the spool {spool.root} holds images, but nothing says of which database; "
                "set spool.url to an empty folder, or database.url to the database that these images belong to"
            )
        owner = spool.adopt(installation.code)
    if owner is None:
        raise UserError(
            f"the spool {spool.root} of this database is gone; mount its disk or correct spool.url, or, if it is lost "
            f"for good, write {installation.code} into {spool.owner_file}"
        )
    if owner != installation.code:
        raise UserError(
            f"the spool {spool.root} belongs to another database; correct database.url or spool.url, "
            "or set spool.url to an empty folder"
        )
    if not installation.has_spool:
        with writing(engine) as session:
            session.execute(update(InstallationRow).values(has_spool=True))


def _installation(session: Session) -> InstallationRow:
    """The row, which somebody has inserted by now."""
    return session.scalars(select(InstallationRow)).one()
