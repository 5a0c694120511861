"""Commits that need not wait for the disk, because nothing is lost where a loss of power takes them back.

A lease is one. Nothing outside the database follows from it before the work has begun, which is a commit that waits,
and takes to the disk all that was committed before it. A lease that was lost leaves its job in the queue; who thought
to hold it is told so as it begins, and the next one to ask gets the job.
"""

from typing import Any

from sqlalchemy import Boolean, ColumnElement, Connection
from sqlalchemy.ext.compiler import compiles

#: Execution option of a connection: the transactions that it begins need not wait.
UNAWAITED = "ichd_unawaited"
_LEVEL = "ichd_synchronous"


class Unawaited(ColumnElement[bool]):
    """A condition that always holds; where the statement that it is in changes a row, its commit does not wait.

    Within the statement, since a SET before it would be another way to the server and back.
    """

    inherit_cache = True
    type = Boolean()


@compiles(Unawaited)
def _nothing_to_say(_element: Unawaited, _compiler: Any, **_: Any) -> str:
    """SQLite is told before the transaction."""
    return "1"


@compiles(Unawaited, "postgresql")
def _until_the_transaction_ends(_element: Unawaited, _compiler: Any, **_: Any) -> str:
    return "set_config('synchronous_commit', 'off', true) IS NOT NULL"


def choose_level(connection: Connection) -> None:
    """Tell SQLite whether the transaction that is about to begin waits for the disk.

    Said by whoever begins, and never put back by whoever ends: no failure can leave a level behind for an image that is
    acknowledged.
    """
    # WAL's usual NORMAL survives a crash of ours but may lose the last commits with the power; images that were
    # acknowledged must survive that too.
    level = "NORMAL" if connection.get_execution_options().get(UNAWAITED) else "FULL"
    if connection.info.get(_LEVEL) != level:
        driver: Any = connection.connection.driver_connection
        driver.execute(f"PRAGMA synchronous = {level}").close()
        connection.info[_LEVEL] = level
