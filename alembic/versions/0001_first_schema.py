"""Studies with their images and arrivals, the queue, findings and receipts."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

#: SQLite numbers rows by itself only where the key is exactly INTEGER.
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "installation",
        sa.Column("id", KEY, nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("has_spool", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation")),
    )
    op.create_table(
        "association",
        sa.Column("id", KEY, nullable=False),
        sa.Column("calling_ae_title", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("opened_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("released", sa.Boolean(), nullable=False),
        sa.Column("refused", KEY, nullable=False),
        sa.Column("listener", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_association")),
    )
    op.create_index(op.f("ix_association_ended_at"), "association", ["ended_at"], unique=False)

    op.create_table(
        "study",
        sa.Column("id", KEY, nullable=False),
        sa.Column("study_instance_uid", sa.String(), nullable=False),
        sa.Column("accession_number", sa.String(), nullable=False),
        sa.Column("study_datetime", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("revision", KEY, nullable=False),
        sa.Column("received_at", TIME, nullable=False),
        sa.Column("last_instance_at", TIME, nullable=False),
        sa.Column("ready_at", TIME, nullable=True),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("closing", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("detail", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study")),
        sa.UniqueConstraint("study_instance_uid", name=op.f("uq_study_study_instance_uid")),
    )
    op.create_index(op.f("ix_study_received_at"), "study", ["received_at"], unique=False)
    op.create_index(op.f("ix_study_state_received_at"), "study", ["state", "received_at"], unique=False)

    op.create_table(
        "arrival",
        sa.Column("study_id", KEY, nullable=False),
        sa.Column("association_id", KEY, nullable=False),
        sa.ForeignKeyConstraint(
            ["association_id"], ["association.id"], name=op.f("fk_arrival_association_id_association")
        ),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_arrival_study_id_study")),
        sa.PrimaryKeyConstraint("study_id", "association_id", name=op.f("pk_arrival")),
    )
    op.create_index(op.f("ix_arrival_association_id"), "arrival", ["association_id"], unique=False)

    op.create_table(
        "finding",
        sa.Column("id", KEY, nullable=False),
        sa.Column("study_id", KEY, nullable=False),
        sa.Column("revision", KEY, nullable=False),
        sa.Column("predecessor_revision", KEY, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("triage", sa.String(), nullable=True),
        sa.Column("scan", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("record", sa.JSON(none_as_null=True), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_finding_study_id_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_finding")),
        sa.UniqueConstraint("study_id", "revision", name=op.f("uq_finding_study_id_revision")),
    )
    op.create_table(
        "job",
        sa.Column("id", KEY, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("study_id", KEY, nullable=False),
        sa.Column("revision", KEY, nullable=False),
        sa.Column("destination", sa.String(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("priority", KEY, nullable=False),
        sa.Column("run_at", TIME, nullable=False),
        sa.Column("attempt", KEY, nullable=False),
        sa.Column("unsettled", KEY, nullable=False),
        sa.Column("deaths", KEY, nullable=False),
        sa.Column("owner", sa.String(), nullable=True),
        sa.Column("lease_until", TIME, nullable=True),
        sa.Column("superseded", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_job_study_id_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
        sa.UniqueConstraint("study_id", "revision", "destination", name=op.f("uq_job_study_id_revision_destination")),
    )
    op.create_index(op.f("ix_job_lease_until"), "job", ["lease_until"], unique=False)
    op.create_index(op.f("ix_job_state_priority_run_at"), "job", ["state", "priority", "run_at"], unique=False)
    op.create_index(
        "uq_job_analyse",
        "job",
        ["study_id", "revision"],
        unique=True,
        sqlite_where=sa.text("destination IS NULL"),
        postgresql_where=sa.text("destination IS NULL"),
    )

    op.create_table(
        "series",
        sa.Column("id", KEY, nullable=False),
        sa.Column("study_id", KEY, nullable=False),
        sa.Column("series_instance_uid", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_series_study_id_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_series")),
        sa.UniqueConstraint("study_id", "series_instance_uid", name=op.f("uq_series_study_id_series_instance_uid")),
    )
    op.create_table(
        "instance",
        sa.Column("id", KEY, nullable=False),
        sa.Column("series_id", KEY, nullable=False),
        sa.Column("sop_instance_uid", sa.String(), nullable=False),
        sa.Column("sop_class_uid", sa.String(), nullable=False),
        sa.Column("facts", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("size", KEY, nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("revision", KEY, nullable=False),
        sa.Column("received_at", TIME, nullable=False),
        sa.Column("association_id", KEY, nullable=False),
        sa.ForeignKeyConstraint(
            ["association_id"], ["association.id"], name=op.f("fk_instance_association_id_association")
        ),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=op.f("fk_instance_series_id_series")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instance")),
        sa.UniqueConstraint("path", name=op.f("uq_instance_path")),
        sa.UniqueConstraint("sop_instance_uid", name=op.f("uq_instance_sop_instance_uid")),
    )
    op.create_index(op.f("ix_instance_series_id"), "instance", ["series_id"], unique=False)

    op.create_table(
        "destination",
        sa.Column("id", KEY, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("failures", KEY, nullable=False),
        sa.Column("closed_until", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_destination")),
        sa.UniqueConstraint("name", name=op.f("uq_destination_name")),
    )
    op.create_table(
        "receipt",
        sa.Column("id", KEY, nullable=False),
        sa.Column("job_id", KEY, nullable=False),
        sa.Column("study_id", KEY, nullable=False),
        sa.Column("revision", KEY, nullable=False),
        sa.Column("destination", sa.String(), nullable=False),
        sa.Column("sent_at", TIME, nullable=False),
        sa.Column("sop_instance_uids", sa.JSON(), nullable=False),
        sa.Column("sop_class_uid", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_receipt_job_id_job")),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_receipt_study_id_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_receipt")),
        sa.UniqueConstraint("job_id", name=op.f("uq_receipt_job_id")),
    )
    op.create_index(op.f("ix_receipt_study_id"), "receipt", ["study_id"], unique=False)

    op.create_table(
        "conflict",
        sa.Column("id", KEY, nullable=False),
        sa.Column("study_id", KEY, nullable=False),
        sa.Column("instance_id", KEY, nullable=False),
        sa.Column("sop_instance_uid", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("size", KEY, nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("received_at", TIME, nullable=False),
        sa.Column("association_id", KEY, nullable=False),
        sa.ForeignKeyConstraint(
            ["association_id"], ["association.id"], name=op.f("fk_conflict_association_id_association")
        ),
        sa.ForeignKeyConstraint(["instance_id"], ["instance.id"], name=op.f("fk_conflict_instance_id_instance")),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_conflict_study_id_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conflict")),
        sa.UniqueConstraint("path", name=op.f("uq_conflict_path")),
        sa.UniqueConstraint("sop_instance_uid", "sha256", name=op.f("uq_conflict_sop_instance_uid_sha256")),
    )
    op.create_index(op.f("ix_conflict_instance_id"), "conflict", ["instance_id"], unique=False)
    op.create_index(op.f("ix_conflict_study_id"), "conflict", ["study_id"], unique=False)

    op.create_table(
        "refusal",
        sa.Column("id", KEY, nullable=False),
        sa.Column("refused_at", TIME, nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("calling_ae_title", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("sop_class_uid", sa.String(), nullable=True),
        sa.Column("sop_instance_uid", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refusal")),
    )
    op.create_index(op.f("ix_refusal_refused_at"), "refusal", ["refused_at"], unique=False)


def downgrade() -> None:
    receiving = ("refusal", "conflict", "receipt", "instance", "series")
    for table in (*receiving, "destination", "job", "finding", "arrival", "study", "association", "installation"):
        op.drop_table(table)
