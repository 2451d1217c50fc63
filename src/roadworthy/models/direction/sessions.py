"""The trading days of the New York Stock Exchange, with a file of exceptions.

``exceptions.csv`` says what the calendar of the package does not know: a day on which the exchange
is closed, closes early, or trades after all (``kind`` is ``closed``, ``early`` or ``open``, and
``close`` is the local time of the close).
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from exchange_calendars import ExchangeCalendar

EXCHANGE, ZONE = "XNYS", ZoneInfo("America/New_York")
EXCEPTIONS = Path(__file__).with_name("exceptions.csv")
_REGULAR = time(16)
_FIRST = "1990-01-01"


@dataclass(frozen=True)
class Sessions:
    """The days on which the exchange trades.

    Parameters
    ----------
    closed
        Days that are none, although the calendar says so.
    closes
        The local time of the close of days of which the calendar does not know it.
    """

    closed: frozenset[date] = frozenset()
    closes: dict[date, time] = field(default_factory=dict)

    @classmethod
    def of(cls, exceptions: Path = EXCEPTIONS) -> Sessions:
        """Return the trading days with a file of exceptions.

        Raises
        ------
        ValueError
            A row of the file is none.
        """
        closed, closes = set(), {}
        with exceptions.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                day = date.fromisoformat(row["trading_day"])
                if row["kind"] == "closed":
                    closed.add(day)
                elif row["kind"] in ("early", "open"):
                    closes[day] = time.fromisoformat(row["close"] or _REGULAR.isoformat())
                else:
                    raise ValueError(
                        f"{exceptions.name}: {row['kind']!r} of {day} is neither closed, early nor "
                        f"open. Correct the row."
                    )
        return cls(frozenset(closed), closes)

    def between(self, first: date, last: date) -> Sequence[date]:
        """Return the trading days from one day to another, both included."""
        calendar = _calendar(last.year + 1)
        known = {one.date() for one in calendar.sessions_in_range(str(first), str(last))}
        added = {day for day in self.closes if first <= day <= last}
        return sorted((known | added) - self.closed)

    def close(self, day: date) -> datetime:
        """Return when a trading day closes, earlier on a half-day."""
        if day in self.closes:
            return datetime.combine(day, self.closes[day], ZONE).astimezone(UTC)
        found: datetime = _calendar(day.year + 1).session_close(str(day)).to_pydatetime()
        return found.astimezone(UTC)

    def after(self, day: date) -> date:
        """Return the next trading day."""
        return self.between(day + timedelta(days=1), day + timedelta(days=14))[0]

    def complete(self, now: datetime) -> date:
        """Return the latest trading day that has closed."""
        today = now.astimezone(ZONE).date()
        return next(
            day
            for day in reversed(self.between(today - timedelta(days=14), today))
            if self.close(day) <= now
        )


@cache
def _calendar(year: int) -> ExchangeCalendar:
    """Return the calendar up to the end of a year."""
    from exchange_calendars import get_calendar

    # The package itself ends a year after the system's date, which a simulated clock ignores.
    return get_calendar(EXCHANGE, start=_FIRST, end=f"{year}-12-31")
