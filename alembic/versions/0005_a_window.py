"""The window: a worklist that is searched, sorted and watched, log-ins of browsers, and dead jobs that are found.

A study has its newest triage on its row, and keys for prefixes; a second bell rings for whoever watches. Sessions are
shared by all web processes. Dead jobs are found without a look at all that are done: metrics ask for them all the time.
Objects of a bucket that are to go have rows, so that nobody asks a bucket for anything under a lock.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

#: SQLite numbers rows by itself only where the key is exactly INTEGER.
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)

#: What `ichd.store.listing` takes for a study's newest finding: that its images were dropped is no news of the patient.
TRIAGE = """
UPDATE study SET triage = (
    SELECT finding.triage FROM finding
    WHERE finding.study_id = study.id
    AND (finding.triage IS NOT NULL OR coalesce({reason}, '') <> 'images_dropped')
    ORDER BY finding.revision DESC LIMIT 1
)
"""

#: Whoever changes what the worklist shows rings as his transaction commits. A statement rings once, and what is said
#: twice within a transaction is heard once. The columns are those that a worklist shows and that change seldom: an
#: image more of a study that is being received rings for nobody, nor does a claim, since every bell makes commits wait
#: for one another. Of a job that begins or ends, its study's row or a receipt tells.
BELL = """
CREATE FUNCTION ichd_worklist_changed() RETURNS trigger AS $$
BEGIN
    PERFORM pg_notify('ichd_worklist', '');
    RETURN NULL;
END
$$ LANGUAGE plpgsql
"""
RUNG = """
CREATE TRIGGER ichd_worklist_changed AFTER INSERT OR DELETE OR UPDATE{columns} ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION ichd_worklist_changed()
"""
WATCHED = {
    "study": " OF state, revision, triage, reason, images_dropped_at",
    "job": " OF superseded, reason",
    "receipt": "",
    "review": "",
}


def upgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    op.add_column("study", sa.Column("triage", sa.String(), nullable=True))
    op.add_column("study", sa.Column("accession_key", sa.String(), nullable=False, server_default=""))
    op.execute(TRIAGE.format(reason="finding.record ->> 'reason'"))
    # In both databases of ASCII alone, which is all that an accession number of the default character set has.
    folded = 'lower(accession_number COLLATE "C")' if postgresql else "lower(accession_number)"
    op.execute(f"UPDATE study SET accession_key = {folded}")  # noqa: S608 - our own words
    op.create_index(op.f("ix_study_triage_state_received_at"), "study", ["triage", "state", "received_at"])
    for name, column in (
        ("ix_study_accession_prefix", "accession_key"),
        ("ix_study_uid_prefix", "study_instance_uid"),
    ):
        op.create_index(name, "study", [column], postgresql_ops={column: "varchar_pattern_ops"})
    if postgresql:
        op.execute(BELL)
        for table, columns in WATCHED.items():
            op.execute(RUNG.format(table=table, columns=columns))

    op.create_table(
        "web_session",
        sa.Column("id", KEY, nullable=False),
        sa.Column("key_hash", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=True),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_web_session")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_web_session_key_hash")),
    )
    op.create_index(op.f("ix_web_session_started_at"), "web_session", ["started_at"])

    op.create_table(
        "removal",
        sa.Column("id", KEY, nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("size", KEY, nullable=False),
        sa.Column("owed_at", TIME, nullable=False),
        sa.Column("claimed_until", TIME, nullable=True),
        sa.Column("claims", KEY, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_removal")),
        sa.UniqueConstraint("sha256", name=op.f("uq_removal_sha256")),
    )

    where = sa.text("state = 'dead'")
    op.create_index("ix_job_dead", "job", ["destination", "order_at"], sqlite_where=where, postgresql_where=where)
