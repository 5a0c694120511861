"""Databases of earlier releases, with what their ichd had written, and how to look at one whatever its schema."""

from pathlib import Path
from typing import Any

from alembic import command
from sqlalchemy import Connection, Engine, MetaData, select, text

from ichd.store import engine as engine_module
from ichd.store.engine import open_database

#: Every schema that was released and has a successor. Whoever adds a migration adds the rows of the one before it.
RELEASED = ("0001", "0002", "0003", "0004")
#: What they become.
NEWEST = "0005"
_FOLDER = Path(__file__).with_name("released")

#: By table.
Rows = dict[str, list[dict[str, Any]]]


def make_release(url: str, revision: str) -> Engine:
    """Fill an empty database as an ichd with this schema left it; returns an engine on it."""
    engine = open_database(url)
    command.upgrade(engine_module._config(engine), revision)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            # The file's times are UTC without saying so.
            connection.execute(text("SET LOCAL TIME ZONE 'UTC'"))
        for statement in (_FOLDER / f"{revision}.sql").read_text("utf-8").split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)
        if engine.dialect.name == "postgresql":
            _number_on(connection)
    return engine


def rows_of(engine: Engine) -> Rows:
    """All rows of all tables but Alembic's own, as the database itself describes them."""
    with engine.connect() as connection:
        return _rows(connection)


def _rows(connection: Connection) -> Rows:
    metadata = MetaData()
    metadata.reflect(connection)
    return {
        table.name: [dict(row._mapping) for row in connection.execute(select(table).order_by(*table.primary_key))]
        for table in metadata.sorted_tables
        if table.name != "alembic_version"
    }


def _number_on(connection: Connection) -> None:
    """Rows that bring their numbers leave the sequences behind."""
    for name, rows in _rows(connection).items():
        if "id" in rows[0]:
            facts = {"table": name, "last": max(row["id"] for row in rows)}
            connection.execute(text("SELECT setval(pg_get_serial_sequence(:table, 'id'), :last)"), facts)
