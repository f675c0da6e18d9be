"""What was refused is settled by a person or tried again, and its new answer goes out with the feed; telemetry has a sequence."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    for name in ("settled_at", "settled_by", "settled_because"):
        op.add_column("operation", sa.Column(name, sa.Text()))
    op.create_index("operation_by_status", "operation", ["status", "received_at"])
    op.create_table(
        "revised_answer",
        sa.Column("op", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("op"),
    )
    op.add_column("telemetry", sa.Column("sequence", big, nullable=False, server_default="0"))


def downgrade() -> None:
    raise NotImplementedError("a hub is taken back by its backup, not by a downgrade")
