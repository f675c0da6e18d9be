"""What is taken of a ticket without anybody passing (cancelled, refunded, transferred), and who has ruled over its uses since when."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Tickets that were cancelled before keep their state; what was left of them then is not known to have been counted."""
    op.add_column("ticket", sa.Column("withdrawn", sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "withdrawal",
        sa.Column("op", sa.LargeBinary(), primary_key=True),
        sa.Column("ticket", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("units", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer()),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
    )
    op.create_index("withdrawal_by_ticket", "withdrawal", ["ticket"])
    op.create_table(
        "reign",
        sa.Column("epoch", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("node", sa.LargeBinary()),
        sa.Column("statement", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
    )
    # The rows' digests cover more columns from now on: all are counted anew, from the feed's start.
    op.execute("DELETE FROM feed_digest")
    op.execute("DELETE FROM meta WHERE key IN ('feed_sum', 'feed_walk')")


def downgrade() -> None:
    raise NotImplementedError("a hub is taken back by its backup, not by a downgrade")
