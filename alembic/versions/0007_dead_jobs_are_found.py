"""Dead jobs are found without a look at all that are done: whoever watches asks for them all the time."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    where = sa.text("state = 'dead'")
    op.create_index("ix_job_dead", "job", ["destination", "order_at"], sqlite_where=where, postgresql_where=where)
