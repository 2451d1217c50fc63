"""New prices from outside: a clear word and yesterday's data, never a wrong row."""

from datetime import UTC, date, datetime, time

import numpy as np
import pandas as pd
import pytest
import tenacity

from roadworthy.models import direction
from roadworthy.models.direction.market import (
    File,
    MarketError,
    Yahoo,
    ingest,
    latest,
    of_history,
)
from roadworthy.models.direction.sessions import Sessions

NEW_YEAR_S_EVE = datetime(2018, 12, 31, 21, 30, tzinfo=UTC)  # half an hour after the close


@pytest.fixture(scope="module")
def known(prices):
    """All but the last three trading days: 27, 28 and 31 December 2018."""
    return prices.iloc[:-3]


@pytest.fixture(scope="module")
def whole(root):
    return File(root / "data" / "direction.csv")


class Broken:
    """A source of which an answer is changed."""

    def __init__(self, source, change):
        self.source, self.change = source, change

    def prices(self, ticker, since, until):
        return self.change(self.source.prices(ticker, since, until))


@pytest.mark.parametrize(
    ("now", "days"),
    [
        (NEW_YEAR_S_EVE, ["2018-12-27", "2018-12-28", "2018-12-31"]),
        (datetime(2018, 12, 31, 20, 59, tzinfo=UTC), ["2018-12-27", "2018-12-28"]),
        (datetime(2018, 12, 30, 12, tzinfo=UTC), ["2018-12-27", "2018-12-28"]),
        (datetime(2018, 12, 27, 12, tzinfo=UTC), []),
    ],
    ids=["after the close", "before the close", "on a Sunday", "nothing new"],
)
def test_what_has_closed_since_is_added(known, whole, now, days):
    assert ingest(known, now, whole)["trading_day"].tolist() == days


def insert_holiday(rows):
    return pd.concat([rows, rows.tail(1).assign(trading_day="2018-12-29")])


def untold_split(rows):
    prices = ["raw_open", "raw_high", "raw_low", "raw_close"]
    return rows.assign(
        **{c: np.where(rows.index >= len(rows) - 2, rows[c] / 4, rows[c]) for c in prices}
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rows: rows.iloc[:0], "empty answer is an outage and not a delisting"),
        (lambda rows: rows.drop(index=rows.index[-2]), "no price of 2018-12-28"),
        (lambda rows: rows.assign(raw_close=rows["raw_close"] * 0.98), "revised the past"),
        (lambda rows: rows[rows["trading_day"] > "2018-12-26"], "revised the past"),
        (insert_holiday, "2018-12-29, on which the exchange was closed"),
        (untold_split, "a split that the source does not tell"),
    ],
    ids=["empty", "gap", "revised", "no overlap", "holiday", "untold split"],
)
def test_an_answer_that_cannot_be_trusted_is_refused(known, whole, change, told):
    with pytest.raises(MarketError, match=told):
        ingest(known, NEW_YEAR_S_EVE, Broken(whole, change))


def test_a_split_and_a_dividend_of_yahoo_become_raw_prices_and_factors():
    # given a 4:1 split on the third day and a dividend on the fourth, as yfinance tells them: every
    # price before the split is divided by 4
    history = pd.DataFrame(
        {name: [100.0, 101.0, 102.0, 101.0] for name in ("Open", "High", "Low", "Close")}
        | {"Volume": 5, "Stock Splits": [0, 0, 4.0, 0], "Dividends": [0, 0, 0, 1.02]},
        index=pd.date_range("2018-12-24", periods=4, tz="America/New_York"),
    )

    rows = of_history(history, "SPY")

    assert rows["raw_close"].tolist() == [400, 404, 102, 101]
    assert rows["price_factor"].tolist() == pytest.approx([1, 1, 0.25, 0.99])


def test_a_rate_limit_is_waited_for_and_an_answer_is_kept(monkeypatch, tmp_path):
    # given a source that limits the rate twice
    yfinance = pytest.importorskip("yfinance")
    calls = []

    def history(self, **asked):
        calls.append(asked)
        if len(calls) < 3:
            raise yfinance.exceptions.YFRateLimitError
        return pd.DataFrame(
            {name: [100.0] for name in ("Open", "High", "Low", "Close")}
            | {"Volume": 5, "Stock Splits": 0.0, "Dividends": 0.0},
            index=pd.DatetimeIndex(["2018-12-31"]),
        )

    monkeypatch.setattr(yfinance.Ticker, "history", history)
    day = date(2018, 12, 31)
    source = Yahoo(tmp_path, tenacity.wait_none())

    # when it is asked twice, then it answers, the second time from the cache
    first, second = (source.prices("SPY", day, day) for _ in range(2))
    assert len(calls) == 3
    assert first["raw_close"].tolist() == second["raw_close"].tolist() == [100.0]

    # and one that goes on limiting is told as that
    calls.clear()
    with pytest.raises(MarketError, match=r"limits the rate .* after 1 attempts"):
        Yahoo(tmp_path / "none", tenacity.wait_none(), attempts=1).prices("SPY", day, day)


def test_half_days_and_exceptions_are_known(tmp_path):
    file = tmp_path / "exceptions.csv"
    file.write_text(
        "trading_day,kind,close,why\n2018-12-27,closed,,storm\n2018-12-28,early,12:00,\n"
        "2018-12-29,open,,\n"
    )

    usual, changed = Sessions.of(), Sessions.of(file)

    first, last = date(2018, 12, 24), date(2018, 12, 31)
    assert [day.day for day in usual.between(first, last)] == [24, 26, 27, 28, 31]
    assert [day.day for day in changed.between(first, last)] == [24, 26, 28, 29, 31]
    assert usual.close(first) == datetime(2018, 12, 24, 18, tzinfo=UTC)  # at 13:00 in New York
    assert changed.close(date(2018, 12, 28)).time() == time(17)
    assert usual.after(last) == date(2019, 1, 2)


def test_the_latest_request_is_of_the_last_closes_and_expires_with_the_next(prices):
    found = latest(prices)

    assert (found.as_of, found.facts) == ("2018-12-31", {"next_trading_day": "2019-01-02"})
    assert found.expires == "2019-01-02T21:00:00+00:00"
    assert found.request["last_closes"][-1] == prices["raw_close"].iloc[-1]
    direction.Request.model_validate(found.request)
