"""A database that has served for years: finished studies with all that came of them, rows only, without images.

As a script: `python -m tests.benchmarks.finished DATABASE_URL [STUDIES]`.
"""

import sys
import time

from sqlalchemy import Engine

from ichd.store.engine import migrate, open_database

#: `n` counts the studies from 1; they arrived a minute apart, and were finished at once.
_ROWS = (
    """INSERT INTO study (id, study_instance_uid, accession_number, accession_key, triage, study_datetime, state,
         revision, received_at, last_instance_at, ready_at, started_at, finished_at, closing, closing_detail, detail)
       SELECT n, '1.2.826.9.' || n, 'A' || n, 'a' || n, CASE WHEN n % 9 = 0 THEN 'urgent' ELSE 'routine' END,
         '20260101120000', CASE WHEN n % 50 = 0 THEN 'not_analysed' WHEN n % 500 = 1 THEN 'failed' ELSE 'reported' END,
         1, {at}, {at}, {at}, {at}, {at}, 'released_and_quiet', '', '' FROM {numbers}""",
    """INSERT INTO job (id, kind, study_id, revision, destination, state, run_at, order_at, owed_since, attempt,
         unsettled, deaths, owner, begun, superseded, detail, created_at, finished_at)
       SELECT 2 * n - 1, 'analyse', n, 1, NULL, 'done', {at}, {at}, {at}, 1, 0, 0, 'filled', {true}, {false}, '', {at},
         {at} FROM {numbers}""",
    """INSERT INTO job (id, kind, study_id, revision, destination, state, run_at, order_at, owed_since, attempt,
         unsettled, deaths, owner, begun, superseded, detail, created_at, finished_at)
       SELECT 2 * n, 'publish', n, 1, 'pacs', 'done', {at}, {at}, {at}, 1, 0, 0, 'filled', {true}, {false}, '', {at},
         {at} FROM {numbers}""",
    """INSERT INTO finding (id, study_id, revision, created_at, triage, scan, record)
       SELECT n, n, 1, {at}, CASE WHEN n % 9 = 0 THEN 'urgent' ELSE 'routine' END, '{{"any": 0.5}}', '{{}}'
       FROM {numbers}""",
    """INSERT INTO receipt (id, job_id, study_id, revision, destination, sent_at, sop_instance_uids, sop_class_uid,
         status, left_out, proof)
       SELECT n, 2 * n, n, 1, 'pacs', {at}, CAST('["2.25.' || n || '"]' AS {json}),
         '1.2.840.10008.5.1.4.1.1.88.34', '0x0000', '[]', 'sent' FROM {numbers}""",
)
_POSTGRESQL = {
    "at": "timestamptz '2024-01-01 00:00Z' + n * interval '1 minute'",
    "json": "json",
    "true": "true",
    "false": "false",
}
_SQLITE = {
    # As the driver of SQLAlchemy writes times.
    "at": "strftime('%Y-%m-%d %H:%M:%S.000000', 1704067200 + 60 * n, 'unixepoch')",
    "json": "text",
    "true": "1",
    "false": "0",
}


def fill(engine: Engine, studies: int) -> None:
    """Make rows of `studies` finished studies in an empty database, and have its statistics brought up to date."""
    postgresql = engine.dialect.name == "postgresql"
    words = dict(_POSTGRESQL if postgresql else _SQLITE)
    if postgresql:
        words["numbers"] = f"generate_series(1, {studies}) AS numbers(n)"
    else:
        counting = f"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {studies})"  # noqa: S608 - our own words
        words["numbers"] = f"({counting} SELECT n FROM c)"  # noqa: S608
    with engine.begin() as connection:
        if postgresql:
            # Its own work for the length of this transaction: the statements below take longer than any of ours.
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            # A million rows each refer to one that was made above.
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        for rows in _ROWS:
            connection.exec_driver_sql(rows.format(**words).replace("%", "%%" if postgresql else "%"))
        if postgresql:
            for table in ("study", "job", "finding", "receipt"):
                counted = f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table}"  # noqa: S608
                connection.exec_driver_sql(counted)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if postgresql:
            connection.exec_driver_sql("SET statement_timeout = 0")
        connection.exec_driver_sql("VACUUM ANALYZE" if postgresql else "ANALYZE")
        if postgresql:
            connection.exec_driver_sql("RESET statement_timeout")


def main() -> None:
    url, studies = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    migrate(url)
    engine = open_database(url)
    started = time.monotonic()
    fill(engine, studies)
    print(f"{studies} studies in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
