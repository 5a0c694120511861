"""Many workers: retention, a bucket, ticks under leases, and a bell for whoever waits for jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

#: SQLite numbers rows by itself only where the key is exactly INTEGER.
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)

#: Whoever brings a job into the queue, by whatever way, rings for it as his transaction commits. The payload is its
#: destination, empty for readings; what is said twice within a transaction is heard once.
BELL = """
CREATE FUNCTION ichd_job_queued() RETURNS trigger AS $$
BEGIN
    PERFORM pg_notify('ichd_jobs', coalesce(NEW.destination, ''));
    RETURN NULL;
END
$$ LANGUAGE plpgsql
"""
RUNG = """
CREATE TRIGGER ichd_job_queued AFTER INSERT OR UPDATE OF state, run_at ON job
FOR EACH ROW WHEN (NEW.state = 'queued') EXECUTE FUNCTION ichd_job_queued()
"""

#: What waits is at the head of an index; finished jobs leave dead entries there until a vacuum. By default that comes
#: after a fifth of a table, which after some years is a million jobs.
TIDY = "ALTER TABLE job SET (autovacuum_vacuum_scale_factor = 0.01)"


def upgrade() -> None:
    op.add_column("study", sa.Column("images_dropped_at", TIME, nullable=True))
    op.create_index(op.f("ix_study_images_dropped_at_finished_at"), "study", ["images_dropped_at", "finished_at"])
    op.add_column("instance", sa.Column("dropped_at", TIME, nullable=True))
    op.add_column("conflict", sa.Column("dropped_at", TIME, nullable=True))
    # Whoever works while we migrate has begun.
    op.add_column("job", sa.Column("begun", sa.Boolean(), nullable=False, server_default=sa.true()))

    op.drop_index(op.f("ix_job_lease_until"), "job")
    op.drop_index(op.f("ix_job_state_destination_order_at"), "job")
    for name, columns, condition in (
        ("ix_job_readings", ["order_at", "id"], "state = 'queued' AND destination IS NULL"),
        ("ix_job_deliveries", ["destination", "order_at", "id"], "state = 'queued' AND destination IS NOT NULL"),
        ("ix_job_leased", ["lease_until", "destination"], "lease_until IS NOT NULL"),
    ):
        where = sa.text(condition)
        op.create_index(name, "job", columns, sqlite_where=where, postgresql_where=where)

    op.create_table(
        "upload",
        sa.Column("id", KEY, nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("size", KEY, nullable=False),
        sa.Column("machine", sa.String(), nullable=False),
        sa.Column("stored_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upload")),
        sa.UniqueConstraint("path", name=op.f("uq_upload_path")),
    )
    op.create_index(op.f("ix_upload_machine_id"), "upload", ["machine", "id"])

    op.create_table(
        "tick",
        sa.Column("id", KEY, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=True),
        sa.Column("lease_until", TIME, nullable=True),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("ran_at", TIME, nullable=True),
        sa.Column("trouble", sa.String(), nullable=True),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("troubled_since", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tick")),
        sa.UniqueConstraint("name", name=op.f("uq_tick_name")),
    )
    op.create_table(
        "statistic",
        sa.Column("id", KEY, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_statistic")),
        sa.UniqueConstraint("name", "at", name=op.f("uq_statistic_name_at")),
    )
    op.create_table(
        "baseline",
        sa.Column("id", KEY, nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("made_at", TIME, nullable=False),
        sa.Column("engine", sa.String(), nullable=False),
        sa.Column("answer", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_baseline")),
        sa.UniqueConstraint("key", name=op.f("uq_baseline_key")),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(BELL)
        op.execute(RUNG)
        op.execute(TIDY)
