"""What commands and the status page look at before they speak; nothing here changes anything."""

from datetime import datetime
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from ichd.app.storage import Storage, spool_of
from ichd.domain.errors import UserError
from ichd.intake.dimse.tls import TlsFiles, expiry
from ichd.intake.disk_gate import DiskGate
from ichd.settings import Settings
from ichd.store.engine import check_schema, open_database
from ichd.store.studies import Studies

#: A certificate that expires within so many days wants to be renewed.
_SOON_DAYS = 14


def open_existing(settings: Settings) -> Storage:
    """The storage for a command of a person: nothing is created, and a spool whose disk is away is no hindrance.

    Raises:
        UserError: there is no database yet, or it has another schema; the message names `ichd migrate`.
        Transient: the database does not answer.
    """
    require_database(settings.database.url)
    engine = open_database(settings.database.url)
    check_schema(engine)
    spool = spool_of(settings.spool, engine)
    return Storage(engine=engine, spool=spool, studies=Studies(engine, spool))


def require_database(url: str) -> None:
    """Opening an SQLite database would create it; whoever only looks, or acts on what is there, asks first.

    Raises:
        UserError: the file of the URL does not exist; the message names `ichd migrate`.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        return  # whoever opens it says what is wrong with the URL
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        return
    if not Path(parsed.database).exists():
        raise UserError(f"there is no database at {parsed.database} yet; run `ichd migrate`, or start `ichd serve`")


def check_certificate(files: TlsFiles, *, now: datetime) -> str:
    """When a certificate of ours expires.

    Raises:
        UserError: its files can't be used, or it is not valid at `now`.
    """
    expires_at = expiry(files, now)
    days = (expires_at - now).days
    return f"valid until {expires_at:%Y-%m-%d}, {days} days left" + ("; renew it soon" if days < _SOON_DAYS else "")


def check_disk(gate: DiskGate) -> str:
    """How full the spool's disk is.

    Raises:
        UserError: images are refused.
        Transient: the disk does not say.
    """
    state, marks = gate.look(), gate.watermarks
    if state.is_shut:
        raise UserError(
            f"{state.used:.0%} of the spool's disk is used: images are refused from {marks.high:.0%} on, until less "
            f"than {marks.low:.0%} is used; free some space, `ichd gc --dry-run` says what can go"
        )
    return f"{state.used:.0%} used, images are refused from {marks.high:.0%}"
