"""Payments are followed from the moment a terminal is asked, so an attempt must be found among many."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("payment_by_attempt", "payment", ["attempt"])
    op.create_index("payment_doubt_by_attempt", "payment_doubt", ["attempt"])


def downgrade() -> None:
    raise NotImplementedError("a hub is taken back by its backup, not by a downgrade")
