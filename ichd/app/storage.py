"""The database and the spool that the settings name."""

from dataclasses import dataclass

from sqlalchemy import Engine

from ichd.settings import Settings, SpoolSettings
from ichd.store.bucket import Bucket
from ichd.store.bucket_spool import BucketSpool
from ichd.store.engine import check_schema, open_database
from ichd.store.ownership import claim_spool
from ichd.store.spool import Spool
from ichd.store.studies import Studies
from ichd.store.uploads import Uploads


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
    spool = spool_of(settings.spool, engine)
    claim_spool(engine, spool)
    return Storage(engine=engine, spool=spool, studies=Studies(engine, spool))


def spool_of(settings: SpoolSettings, engine: Engine) -> Spool:
    """The spool that the settings name; nothing is read or written yet.

    Raises:
        UserError: the URL names no bucket, or the library for it is missing.
    """
    if not settings.is_bucket:
        return Spool(settings.root)
    at_once = settings.durability == "remote"
    return BucketSpool(settings.root, bucket_of(settings), Uploads(engine), at_once=at_once)


def bucket_of(settings: SpoolSettings) -> Bucket:
    """The bucket that the settings name.

    Raises:
        UserError: as `spool_of`.
    """
    return Bucket(
        settings.url, endpoint=settings.endpoint, access_key=settings.access_key, secret_key=settings.secret_key
    )
