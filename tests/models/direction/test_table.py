"""From raw prices to rows: no row knows the future, a split changes nothing."""

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from pandera.errors import SchemaErrors

from roadworthy.models import direction
from roadworthy.models.direction.features import of_frame

PRICES = ["raw_open", "raw_high", "raw_low", "raw_close"]


def test_the_rows_are_the_closes_and_what_came_next(prices):
    frame, dropped = direction.prepare(prices)

    closes = prices["raw_close"].to_numpy()
    assert len(frame) + sum(dropped.values()) == len(prices)
    assert np.allclose(frame["last_closes"].iloc[0], closes[:22], rtol=1e-12)
    assert frame["trading_day"].iloc[0] == prices["trading_day"].iloc[21]
    assert list(frame["next_close"].iloc[:5] == "UP") == list(closes[22:27] > closes[21:26])
    assert (frame["next_close"] == "UP").mean() == pytest.approx(0.53, abs=0.01)


def test_no_row_changes_when_the_future_is_shuffled(prices):
    # given prices of which everything after a day is in another order, and split as well
    known = 3000
    later = prices.iloc[known:].sample(frac=1, random_state=0)
    shuffled = prices.copy()
    shuffled.loc[known:, PRICES] = later[PRICES].to_numpy()
    shuffled.loc[known + 5, "price_factor"] = 0.5

    # when both are prepared
    before, after = (direction.prepare(one).frame for one in (prices, shuffled))

    # then every row whose outcome was known on that day is the same, and so are its features
    same = before["trading_day"] < prices["trading_day"].iloc[known - 1]
    assert same.sum() == known - 22
    assert_frame_equal(before[same], after[same], rtol=1e-12)
    assert np.allclose(of_frame(before[same]), of_frame(after[same]), rtol=0, atol=1e-12)


def test_a_split_and_a_dividend_change_no_return(prices):
    # given the same market, where the share was split 4:1 on one day and paid 1 % on another
    rows = prices.tail(300).reset_index(drop=True)
    paid = rows.copy()
    paid.loc[150:, PRICES] = paid.loc[150:, PRICES] / 4
    paid.loc[150, "price_factor"] = 0.25
    paid.loc[200:, PRICES] = paid.loc[200:, PRICES] * 0.99
    paid.loc[200, "price_factor"] = 0.99

    # when both are prepared
    before, after = (direction.prepare(one).frame for one in (rows, paid))

    # then outcomes and features are the same
    assert (before["next_close"] == after["next_close"]).all()
    assert np.allclose(of_frame(before), of_frame(after), rtol=0, atol=1e-12)


def test_rows_that_come_unsorted_or_twice_add_nothing(prices):
    again = pd.concat([prices, prices.tail(3)]).sample(frac=1, random_state=1)

    frame, dropped = direction.prepare(again)

    assert_frame_equal(frame, direction.prepare(prices).frame)
    assert dropped["repeats a trading day"] == 3


def test_the_hold_out_is_later_with_a_gap(days):
    train, test = direction.split(days)

    assert (len(test), len(train)) == (504, len(days) - 505)
    assert train["trading_day"].max() < days["trading_day"].iloc[-505] < test["trading_day"].min()


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("raw_close", -1.0, "raw_close"),
        ("raw_high", 0.5, "between low and high"),
        ("ticker", "SPY", "one ticker"),
        ("trading_day", "28.12.2018", "trading_day"),
    ],
)
def test_a_wrong_row_violates_the_schema(prices, column, value, told):
    wrong = prices.tail(5).copy()
    wrong.iloc[-1, wrong.columns.get_loc(column)] = value

    with pytest.raises(SchemaErrors, match=told):
        direction.schema.validate(wrong, lazy=True)
