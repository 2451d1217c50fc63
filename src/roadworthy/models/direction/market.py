"""New daily prices from outside, behind one small interface.

What cannot be trusted is refused in a sentence, and nothing is added: the data stays that of the
day before.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import tenacity

from roadworthy.models.direction.schema import schema
from roadworthy.models.direction.sessions import Sessions
from roadworthy.models.direction.table import WINDOW, adjusted, read
from roadworthy.models.routes import Latest

SOURCE = "DIRECTION_PRICES"
"""The environment variable with the CSV file to ingest from; without it Yahoo Finance is asked."""
OVERLAP = 10
"""How many known trading days are asked for again, to see whether the past was revised."""
_SAME = 1e-3
"""By which fraction a close may differ from the known one: sources round."""
_JUMP = 0.25
"""The S&P 500 has never moved more on a day: a larger move is a split that was not told."""
_COLUMNS = {
    "Open": "raw_open",
    "High": "raw_high",
    "Low": "raw_low",
    "Close": "raw_close",
    "Volume": "shares_traded",
}


class MarketError(ValueError):
    """The source does not answer, or its answer cannot be trusted."""


class Source(Protocol):
    """Where daily prices come from."""

    def prices(self, ticker: str, since: date, until: date) -> pd.DataFrame:
        """Return raw rows from one trading day to another, both included.

        Raises
        ------
        MarketError
            There is no answer.
        """
        ...


@dataclass(frozen=True)
class File:
    """A CSV file with the columns of the raw data: the sample, or one of one's own."""

    path: Path

    def prices(self, ticker: str, since: date, until: date) -> pd.DataFrame:
        """Return the rows of the file."""
        try:
            rows = read(self.path)
            rows = rows[rows["ticker"] == ticker]
            return rows[rows["trading_day"].between(str(since), str(until))].reset_index(drop=True)
        except (OSError, ValueError, KeyError) as error:
            raise MarketError(
                f"{self.path} has no prices ({error}). Correct the file that {SOURCE} names."
            ) from error


@dataclass(frozen=True)
class Yahoo:
    """Yahoo Finance, by the package yfinance.

    Parameters
    ----------
    cache
        A directory for answers: one is asked for once, as the source limits the rate.
    wait
        How long to wait before each new attempt.
    """

    cache: Path = field(default_factory=lambda: Path(tempfile.gettempdir()) / "direction-prices")
    wait: Any = field(default_factory=lambda: tenacity.wait_exponential_jitter(initial=2, max=60))
    attempts: int = 4

    def prices(self, ticker: str, since: date, until: date) -> pd.DataFrame:
        """Return the rows from the cache, or ask for them."""
        kept = self.cache / f"{ticker.strip('^')}-{since}-{until}.csv"
        if kept.is_file():
            return read(kept)
        found = of_history(self._history(ticker, since, until), ticker)
        # An answer that lacks its last day is asked for again.
        if len(found) and found["trading_day"].iloc[-1] == str(until):
            self.cache.mkdir(parents=True, exist_ok=True)
            scratch = kept.with_suffix(f".{os.getpid()}")
            found.to_csv(scratch, index=False)
            scratch.rename(kept)
        return found

    def _history(self, ticker: str, since: date, until: date) -> pd.DataFrame:
        try:
            import yfinance
        except ImportError as error:
            raise MarketError(
                f"yfinance is not installed: install the extra `market`, or name a CSV file by "
                f"{SOURCE}."
            ) from error
        ask = tenacity.retry(
            stop=tenacity.stop_after_attempt(self.attempts), wait=self.wait, reraise=True
        )(yfinance.Ticker(ticker).history)
        try:
            found: pd.DataFrame = ask(
                start=str(since),
                end=str(until + timedelta(days=1)),
                auto_adjust=False,
                actions=True,
                raise_errors=True,
            )
        except Exception as error:  # of yfinance, curl and pandas: none of them is told apart
            limited = "RateLimit" in type(error).__name__
            told = "limits the rate of requests" if limited else f"does not answer ({error})"
            raise MarketError(
                f"Yahoo Finance {told}, also after {self.attempts} attempts. Try again later, or "
                f"name a CSV file by {SOURCE}."
            ) from error
        return found


def of_history(history: pd.DataFrame, ticker: str) -> pd.DataFrame:
    """Return raw rows of yfinance's history, whose prices are adjusted for later splits."""
    split = history["Stock Splits"].to_numpy(dtype=np.float64)
    split = np.where(split > 0, split, 1.0)
    later = np.append(np.cumprod(split[::-1])[::-1][1:], 1.0)  # the splits after each day
    raw = {new: history[old].to_numpy(dtype=np.float64) for old, new in _COLUMNS.items()}
    raw = {name: one * later if name != "shares_traded" else one for name, one in raw.items()}
    close = history["Close"].to_numpy(dtype=np.float64)
    before = np.append(np.nan, close[:-1])
    paid = history["Dividends"].to_numpy(dtype=np.float64)
    factor = np.where(paid > 0, 1 - paid / before, 1.0) / split
    days = pd.DatetimeIndex(history.index).strftime("%Y-%m-%d")
    frame = pd.DataFrame({"trading_day": days, "ticker": ticker, **raw, "price_factor": factor})
    return frame.dropna(subset=list(raw)).reset_index(drop=True)


def ingest(raw: pd.DataFrame, now: datetime, source: Source | None = None) -> pd.DataFrame:
    """Return the rows of the trading days that have closed since the last one of ``raw``.

    Raises
    ------
    MarketError
        The source does not answer, its answer is empty or has gaps, names a day on which the
        exchange was closed, revises the past, or has a move that only a split explains.
    """
    sessions = Sessions.of()
    days = [date.fromisoformat(day) for day in sorted(raw["trading_day"])[-OVERLAP:]]
    until = sessions.complete(now)
    if until <= days[-1]:
        return raw.iloc[:0]
    ticker = str(raw["ticker"].iloc[-1])
    found = (source or _source()).prices(ticker, days[0], until)
    return checked(raw, found, sessions, until)


def checked(
    raw: pd.DataFrame, found: pd.DataFrame, sessions: Sessions, until: date
) -> pd.DataFrame:
    """Return the new rows of an answer that begins before the last known day.

    Raises
    ------
    MarketError
        As :func:`ingest`.
    """
    known = raw.set_index("trading_day").sort_index()
    last = str(known.index[-1])
    ticker = str(known["ticker"].iloc[-1])
    rows = found[found["trading_day"] <= str(until)]
    new = rows[rows["trading_day"] > last].sort_values("trading_day").reset_index(drop=True)
    if new.empty:
        raise MarketError(
            f"The source has no price of {ticker} after {last}, although {until} has closed: an "
            f"empty answer is an outage and not a delisting. The data stays that of {last}; try "
            f"again later."
        )
    _check_past(known["raw_close"], rows.set_index("trading_day")["raw_close"], ticker)
    expected = [
        str(day) for day in sessions.between(date.fromisoformat(last) + timedelta(days=1), until)
    ]
    given = new["trading_day"].tolist()
    if extra := sorted(set(given) - set(expected)):
        raise MarketError(
            f"The source has a price of {extra[0]}, on which the exchange was closed. Nothing was "
            f"added; if it did trade, add the day to exceptions.csv as `open`."
        )
    if lacking := sorted(set(expected) - set(given)):
        raise MarketError(
            f"The source has no price of {lacking[0]}, on which the exchange traded. Nothing was "
            f"added; try again later, or add the day to exceptions.csv as `closed`."
        )
    closes = np.append(known["raw_close"].iloc[-1], new["raw_close"].to_numpy(dtype=np.float64))
    moves = closes[1:] / (closes[:-1] * new["price_factor"].to_numpy(dtype=np.float64)) - 1
    if (np.abs(moves) > _JUMP).any():
        row = int(np.argmax(np.abs(moves) > _JUMP))
        raise MarketError(
            f"The close of {ticker} on {given[row]} is {moves[row]:+.0%} from the day before: a "
            f"split that the source does not tell. Nothing was added; add the row by hand, with "
            f"its price_factor."
        )
    return new[list(schema.columns)]


def _check_past(known: pd.Series, found: pd.Series, ticker: str) -> None:
    """Check that an answer has the last known close, and no known one changed."""
    asked = known[known.index >= min(found.index[0], known.index[-1])]
    again = found.reindex(asked.index)
    revised = asked.index[((again / asked - 1).abs() > _SAME) | again.isna()]
    if len(revised):
        day = str(revised[0])
        raise MarketError(
            f"The source has revised the past: the close of {ticker} on {day} is "
            f"{asked[day]:.2f}, now {again[day]:.2f}. Nothing was added; compare another source, "
            f"and correct the row by hand if it was wrong."
        )


def latest(raw: pd.DataFrame) -> Latest:
    """Return the request of the last closes, and the trading day that it is about."""
    rows = adjusted(raw)
    day = date.fromisoformat(str(rows["trading_day"].iloc[-1]))
    sessions = Sessions.of()
    following = sessions.after(day)
    facts: Mapping[str, str] = {"next_trading_day": str(following)}
    return Latest(
        request={"last_closes": rows["close"].tail(WINDOW).round(6).tolist()},
        as_of=str(day),
        expires=sessions.close(following).isoformat(),
        facts=facts,
    )


def _source() -> Source:
    return File(Path(os.environ[SOURCE])) if os.environ.get(SOURCE) else Yahoo()
