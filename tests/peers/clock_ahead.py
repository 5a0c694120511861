"""A PostgreSQL server whose clock, as far as anybody can ask it, is ahead of ours."""

from sqlalchemy import Engine, make_url, text

from ichd.store.engine import open_database
from tests.peers.postgresql import PostgresqlServer


def url_ahead(server: PostgresqlServer, hours: int) -> str:
    """Of its first database, for sessions that shall see that clock."""
    engine = open_database(server.url)
    set_ahead(engine, hours)
    engine.dispose()
    ahead = make_url(server.url).update_query_dict({"options": "-csearch_path=ahead,pg_catalog,public"})
    return ahead.render_as_string(hide_password=False)


def set_ahead(engine: Engine, hours: int) -> None:
    """From now on."""
    body = f"SELECT pg_catalog.clock_timestamp() + interval '{hours} hours'"
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA IF NOT EXISTS ahead"))
        connection.execute(
            text(
                "CREATE OR REPLACE FUNCTION ahead.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE "
                f"AS $$ {body} $$"
            )
        )
