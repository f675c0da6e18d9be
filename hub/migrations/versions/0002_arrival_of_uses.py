"""Uses are ordered by when they reached the arbiter, not by what a gate's clock said."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Of uses from before, the recorded times are the best that is known."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("used", sa.Column("arrival", big, nullable=False, server_default="0"))
    op.execute(
        "UPDATE used SET arrival = (SELECT count(*) FROM used AS earlier WHERE earlier.ticket = used.ticket"
        " AND (earlier.at < used.at OR (earlier.at = used.at AND earlier.op <= used.op)))"
    )


def downgrade() -> None:
    raise NotImplementedError("a hub is taken back by its backup, not by a downgrade")
