"""Leases can be returned, taken back and lent on; a slot says how its stock stands; a key counts its tickets."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Until now `leased` counted what was lent and never returned, sold or not."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    for name in ("sold", "free", "at_risk", "wanted", "borrowed_returned", "upstream_free"):
        op.add_column("slot", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
    op.add_column("slot", sa.Column("state", sa.Text(), nullable=False, server_default="open"))
    op.add_column("slot", sa.Column("borrowed", sa.Integer()))
    op.add_column("lease", sa.Column("returned", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("selling_key", sa.Column("tickets", big, nullable=False, server_default="0"))
    op.create_table(
        "lease_taken",
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("slot", sa.Text(), nullable=False),
        sa.Column("device", sa.LargeBinary(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("base", sa.Integer(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("lease_taken_by_slot", "lease_taken", ["slot"])
    op.create_table(
        "lease_member",
        sa.Column("device", sa.LargeBinary(), primary_key=True),
        sa.Column("node", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "slot_change",
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("slot", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("order_line_by_slot", "order_line", ["slot"])
    op.execute("UPDATE slot SET free = capacity - leased")
    op.execute(
        "UPDATE slot SET sold = (SELECT coalesce(sum(order_line.count), 0) FROM order_line JOIN sales_order ON"
        ' sales_order."order" = order_line."order" WHERE order_line.slot = slot.slot AND sales_order.state = \'paid\')'
    )
    op.execute("UPDATE slot SET leased = CASE WHEN leased > sold THEN leased - sold ELSE 0 END")
    op.execute("UPDATE selling_key SET tickets = (SELECT count(*) FROM ticket WHERE ticket.kid = selling_key.kid)")


def downgrade() -> None:
    raise NotImplementedError("a hub is taken back by its backup, not by a downgrade")
