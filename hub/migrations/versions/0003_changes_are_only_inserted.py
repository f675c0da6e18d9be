"""Changes are only inserted, and on PostgreSQL ordered by transaction: a plain number loses rows of concurrent writers."""

import sqlalchemy as sa
from alembic import op

from hub.tables import TransactionId

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Changes from before keep their numbers; on PostgreSQL they become this transaction's."""
    if op.get_bind().dialect.name == "postgresql":
        # The default is volatile, so the rows that are there are rewritten with it.
        op.execute("ALTER TABLE change ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id()")
        op.drop_constraint("change_once", "change", type_="unique")
        op.create_index("change_by_xid", "change", ["xid", "seq"])
    else:
        op.create_table(
            "change_new",
            sa.Column("seq", _big, autoincrement=True, nullable=False),
            sa.Column("xid", TransactionId(), nullable=False, server_default=sa.text("0")),
            sa.Column("table", sa.Text(), nullable=False),
            sa.Column("key", sa.Text(), nullable=False),
            sa.PrimaryKeyConstraint("seq"),
            sqlite_autoincrement=True,
        )
        op.execute('INSERT INTO change_new (seq, "table", key) SELECT seq, "table", key FROM change ORDER BY seq')
        op.drop_table("change")
        op.rename_table("change_new", "change")
    op.create_index("change_by_key", "change", ["table", "key", "seq"])
    op.create_table(
        "feed_digest",
        sa.Column("table", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("digest", _big, nullable=False),
        sa.PrimaryKeyConstraint("table", "key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "feed_time",
        sa.Column("at", _big, nullable=False, autoincrement=False),
        sa.Column("xid", TransactionId(), nullable=False),
        sa.Column("seq", _big, nullable=False),
        sa.PrimaryKeyConstraint("at"),
    )
    op.create_table(
        "unreported", sa.Column("device", sa.LargeBinary(), nullable=False), sa.PrimaryKeyConstraint("device")
    )


def downgrade() -> None:
    raise NotImplementedError("a hub is taken back by its backup, not by a downgrade")
