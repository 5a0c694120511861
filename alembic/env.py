"""Alembic's entry: migrates the database that `ichd.store.engine.migrate` hands over, in one transaction.

There is no alembic.ini: a migration must find the same folder and the same database from a checkout, from a wheel and
from a test. `ichd.store.engine.draft_migration` drafts a new one.
"""

from typing import Literal

from alembic import context
from sqlalchemy import Engine, text
from sqlalchemy.types import TypeDecorator

from ichd.store.tables import Base
from ichd.store.transaction import BEGIN_MODE

#: Any constant that is ours: the first migrator takes it, the others wait until that one's transaction ends.
_ADVISORY_LOCK = 0x69636864


def render_item(kind: str, item: object, _context: object) -> str | Literal[False]:
    """Draft columns by what the database sees: a migration must not change when our types do."""
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{item.impl_instance!r}"
    return False


engine: Engine = context.config.attributes["engine"]
with engine.connect().execution_options(**{BEGIN_MODE: "IMMEDIATE"}) as connection:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,
        render_item=render_item,
        # SQLite's schema changes are transactional too, once transactions are begun by hand as our engine does.
        transactional_ddl=True,
    )
    with context.begin_transaction():
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        context.run_migrations()
