"""How devices say they are: the latest report of each. Nothing is decided by it, and nothing is lost with one."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select

from hub.tables import stamp, telemetry
from sync.protocol import Telemetry
from tickets.ids import DeviceId

AHEAD = timedelta(seconds=60)
"""A report from so far in the future was made by a clock that was wrong: whatever comes after it is later."""


def keep(connection: Connection, said: Telemetry, *, device: DeviceId, now: datetime) -> bool:
    """Keep a report if it is the latest of its device by the device's own time, then sequence; whether it was. One that arrives late is
    dropped.
    """
    mine = telemetry.c.device == device
    held = connection.execute(select(telemetry.c.at, telemetry.c.sequence).where(mine).with_for_update()).first()
    if held is not None:
        newest = (held.at, held.sequence)
        if held.at <= stamp(now + AHEAD) and (stamp(said.at), said.sequence) < newest:
            return False
        connection.execute(delete(telemetry).where(mine))
    row = {
        "device": device,
        "at": stamp(said.at),
        "received_at": stamp(now),
        "body": json.dumps(said.to_row(), ensure_ascii=False),
        "sequence": said.sequence,
    }
    connection.execute(insert(telemetry), row)
    return True
