"""A venue node: what it relays, and the hub's signed word on who each device is, which it needs."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Devices that are enrolled already get their words from the answers that were kept, and a place in the feed."""
    op.add_column("device", sa.Column("enrolled", sa.Text()))
    op.add_column("device", sa.Column("enrolled_signature", sa.LargeBinary()))
    _tables()
    connection = op.get_bind()
    device = sa.table(
        "device", sa.column("device"), sa.column("enrolled"), sa.column("enrolled_signature", sa.LargeBinary())
    )
    enrolment = sa.table("enrolment", sa.column("device"), sa.column("answer"))
    change = sa.table("change", sa.column("table"), sa.column("key"))
    kept = {
        bytes(row.device): json.loads(row.answer)
        for row in connection.execute(sa.select(enrolment).where(enrolment.c.answer.is_not(None)))
    }
    for row in connection.execute(sa.select(device.c.device)).all():
        answer = kept.get(bytes(row.device))
        if answer is None:
            continue
        signed = {"enrolled": answer["text"], "enrolled_signature": bytes.fromhex(answer["signature"])}
        connection.execute(sa.update(device).where(device.c.device == row.device).values(signed))
        connection.execute(sa.insert(change), {"table": "device", "key": bytes(row.device).hex()})


def _tables() -> None:
    op.create_table(
        "relay_segment",
        sa.Column("device", sa.LargeBinary(), primary_key=True),
        sa.Column("incarnation", _Big, primary_key=True),
        sa.Column("first", _Big, primary_key=True),
        sa.Column("last", _Big, nullable=False),
        sa.Column("before", sa.LargeBinary(), nullable=False),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.Text(), nullable=False),
        sa.Column("position", _Big, nullable=False),
        sa.Column("relayed_at", sa.Text()),
    )
    op.create_index("relay_segment_open", "relay_segment", ["relayed_at"])
    op.create_table(
        "relay_answer",
        sa.Column("device", sa.LargeBinary(), primary_key=True),
        sa.Column("incarnation", _Big, primary_key=True),
        sa.Column("seq", _Big, primary_key=True),
        sa.Column("op", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
    )
    op.create_table(
        "relay_mark",
        sa.Column("position", _Big, primary_key=True),
        sa.Column("cursor", sa.Text(), nullable=False),
    )


def downgrade() -> None:
    raise NotImplementedError("a hub is taken back by its backup, not by a downgrade")
