"""The database and the spool that the settings name."""

from dataclasses import dataclass

from sqlalchemy import Engine

from ichd.settings import Settings
from ichd.store.engine import check_schema, open_database
from ichd.store.ownership import claim_spool
from ichd.store.spool import Spool
from ichd.store.studies import Studies


@dataclass(frozen=True, kw_only=True)
class Storage:
    """An open database of the right schema, and the spool that belongs to it."""

    engine: Engine
    spool: Spool
    studies: Studies


def open_storage(settings: Settings) -> Storage:
    """Open what the settings name.

    Raises:
        UserError: the database has another schema, or the spool is not this database's; the message names the mend.
        Transient: the database or the spool does not answer.
    """
    engine = open_database(settings.database.url)
    check_schema(engine)
    spool = Spool(settings.spool.root)
    claim_spool(engine, spool)
    return Storage(engine=engine, spool=spool, studies=Studies(engine, spool))
