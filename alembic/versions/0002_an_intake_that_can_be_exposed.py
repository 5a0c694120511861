"""Other doors, what others say of a study, requests to vouch for images, and the audit trail."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

#: SQLite numbers rows by itself only where the key is exactly INTEGER.
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)

#: The trail is append-only for everybody who has not the right to drop triggers.
GUARD_SQLITE = """
CREATE TRIGGER audit_{verb} BEFORE {verb} ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END
"""
#: INSERT OR REPLACE removes a row without asking the trigger of DELETE.
GUARD_SQLITE_REPLACE = """
CREATE TRIGGER audit_REPLACE BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END
"""
GUARD_POSTGRESQL = """
CREATE FUNCTION audit_guard() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the audit trail is append-only'; END $$;
CREATE TRIGGER audit_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
FOR EACH STATEMENT EXECUTE FUNCTION audit_guard();
"""


def upgrade() -> None:
    # A default in the database, so that no table has to be copied to get the column.
    op.add_column("association", sa.Column("door", sa.String(), nullable=False, server_default="dimse"))
    op.add_column("study", sa.Column("closing_detail", sa.String(), nullable=False, server_default=""))
    op.add_column("refusal", sa.Column("study_instance_uid", sa.String(), nullable=True))
    op.create_index(op.f("ix_refusal_study_instance_uid"), "refusal", ["study_instance_uid"], unique=False)

    op.create_table(
        "announcement",
        sa.Column("id", KEY, nullable=False),
        sa.Column("study_instance_uid", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("instances", KEY, nullable=True),
        sa.Column("made_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_announcement")),
        sa.UniqueConstraint("kind", "source", "key", name=op.f("uq_announcement_kind_source_key")),
    )
    op.create_index(op.f("ix_announcement_study_instance_uid"), "announcement", ["study_instance_uid"], unique=False)

    op.create_index(
        "uq_announcement_step",
        "announcement",
        ["key"],
        unique=True,
        sqlite_where=sa.text("kind = 'performed_step'"),
        postgresql_where=sa.text("kind = 'performed_step'"),
    )
    op.create_index(op.f("ix_announcement_source_made_at"), "announcement", ["source", "made_at"], unique=False)

    op.create_table(
        "commitment",
        sa.Column("id", KEY, nullable=False),
        sa.Column("transaction_uid", sa.String(), nullable=False),
        sa.Column("calling_ae_title", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("requested_at", TIME, nullable=False),
        sa.Column("images", KEY, nullable=False),
        sa.Column("instances", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", KEY, nullable=False),
        sa.Column("run_at", TIME, nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commitment")),
        sa.UniqueConstraint(
            "calling_ae_title", "transaction_uid", name=op.f("uq_commitment_calling_ae_title_transaction_uid")
        ),
    )
    op.create_index(op.f("ix_commitment_state_run_at"), "commitment", ["state", "run_at"], unique=False)

    op.create_table(
        "audit",
        sa.Column("id", KEY, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("outcome", sa.Integer(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("subject", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_at"), "audit", ["at"], unique=False)
    op.create_table(
        "audit_cursor",
        sa.Column("id", KEY, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("audit_id", KEY, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_cursor")),
        sa.UniqueConstraint("name", name=op.f("uq_audit_cursor_name")),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(GUARD_POSTGRESQL)
    else:
        for verb in ("UPDATE", "DELETE"):
            op.execute(GUARD_SQLITE.format(verb=verb))
        op.execute(GUARD_SQLITE_REPLACE)
