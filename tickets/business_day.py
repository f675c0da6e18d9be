"""The business day: what a venue calls today. It ends at a boundary hour after midnight, which is a setting of the venue."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class BusinessDay:
    """`boundary_hour` 0 to 23: with 4, half past three in the night still belongs to the day before."""

    timezone: str
    boundary_hour: int

    def of(self, at: datetime) -> date:
        """The business day of an aware instant."""
        local = at.astimezone(ZoneInfo(self.timezone))
        return (local - timedelta(hours=self.boundary_hour)).date()

    def starts(self, day: date) -> datetime:
        """When `day` begins, UTC."""
        return datetime.combine(day, time(self.boundary_hour), ZoneInfo(self.timezone)).astimezone(UTC)

    def ends(self, day: date) -> datetime:
        """When `day` is over, UTC; the next day begins there."""
        return self.starts(day + timedelta(days=1))

    def local(self, at: datetime) -> datetime:
        return at.astimezone(ZoneInfo(self.timezone))
