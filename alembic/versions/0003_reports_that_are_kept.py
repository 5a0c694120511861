"""Urgent work first, renditions, proofs of delivery, promises of destinations, and what readers say."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

#: SQLite numbers rows by itself only where the key is exactly INTEGER.
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    # Defaults in the database, so that no table has to be copied to get the columns.
    for column in ("order_at", "owed_since"):
        op.add_column("job", sa.Column(column, TIME, nullable=False, server_default="2000-01-01 00:00:00.000000"))
    op.execute("UPDATE job SET order_at = run_at, owed_since = created_at")
    op.drop_index(op.f("ix_job_state_priority_run_at"), "job")
    op.drop_column("job", "priority")
    op.create_index(op.f("ix_job_state_destination_order_at"), "job", ["state", "destination", "order_at"])

    op.add_column("receipt", sa.Column("left_out", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("receipt", sa.Column("proof", sa.String(), nullable=False, server_default="sent"))
    op.add_column("receipt", sa.Column("proved_at", TIME, nullable=True))

    op.create_table(
        "rendition",
        sa.Column("id", KEY, nullable=False),
        sa.Column("study_id", KEY, nullable=False),
        sa.Column("revision", KEY, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("destination", sa.String(), nullable=False),
        sa.Column("number", KEY, nullable=False),
        sa.Column("sop_class_uid", sa.String(), nullable=False),
        sa.Column("sop_instance_uid", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("size", KEY, nullable=False),
        sa.Column("rendered_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_rendition_study_id_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rendition")),
        sa.UniqueConstraint(
            "study_id",
            "revision",
            "kind",
            "destination",
            "number",
            name=op.f("uq_rendition_study_id_revision_kind_destination_number"),
        ),
    )
    op.create_index(op.f("ix_rendition_sop_instance_uid"), "rendition", ["sop_instance_uid"], unique=False)

    op.create_table(
        "promise",
        sa.Column("id", KEY, nullable=False),
        sa.Column("transaction_uid", sa.String(), nullable=False),
        sa.Column("job_id", KEY, nullable=False),
        sa.Column("ae_title", sa.String(), nullable=False),
        sa.Column("asked_at", TIME, nullable=False),
        sa.Column("answered_at", TIME, nullable=True),
        sa.Column("committed", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_promise_job_id_job")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promise")),
        sa.UniqueConstraint("transaction_uid", name=op.f("uq_promise_transaction_uid")),
    )
    op.create_index(op.f("ix_promise_job_id"), "promise", ["job_id"], unique=False)

    op.create_table(
        "review",
        sa.Column("id", KEY, nullable=False),
        sa.Column("study_id", KEY, nullable=False),
        sa.Column("revision", KEY, nullable=False),
        sa.Column("agreement", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("reviewer", sa.String(), nullable=False),
        sa.Column("truth", sa.JSON(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("received_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_review_study_id_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review")),
        sa.UniqueConstraint("study_id", "source", "key", name=op.f("uq_review_study_id_source_key")),
    )
