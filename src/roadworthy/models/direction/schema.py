"""The raw daily prices: columns, types, units and ranges.

Prices stay as they were on their day. What a split or a dividend changes stands apart, in the row
of the day on which it took effect, so that no later event revises an earlier row.
"""

import pandera.pandas as pa

_PRICE = pa.Check.in_range(0.0001, 1e7)
_DAY = pa.Check.str_matches(r"^\d{4}-\d{2}-\d{2}$")


def _price(description: str) -> pa.Column:
    return pa.Column(float, _PRICE, description=description)


schema = pa.DataFrameSchema(
    {
        "trading_day": pa.Column(str, _DAY, unique=True, description="Date at the exchange."),
        "ticker": pa.Column(
            str, pa.Check.str_length(min_value=1), description="What was traded, Yahoo's symbol."
        ),
        "raw_open": _price("First price of the day, not adjusted."),
        "raw_high": _price("Highest price of the day, not adjusted."),
        "raw_low": _price("Lowest price of the day, not adjusted."),
        "raw_close": _price("Last price of the day, not adjusted."),
        "shares_traded": pa.Column(float, pa.Check.ge(0), description="Shares traded."),
        "price_factor": pa.Column(
            float,
            pa.Check.in_range(0.001, 1000),
            description=(
                "What the close of the trading day before is multiplied by to be comparable: 1 on "
                "most days, 0.5 on the day of a 2:1 split, 1 - dividend / close on an ex-day."
            ),
        ),
    },
    checks=[
        pa.Check(
            lambda rows: (
                (rows["raw_low"] <= rows[["raw_open", "raw_close"]].min(axis=1))
                & (rows["raw_high"] >= rows[["raw_open", "raw_close"]].max(axis=1))
            ),
            error="open and close are between low and high",
        ),
        pa.Check(lambda rows: rows["ticker"].nunique() <= 1, error="there is one ticker"),
    ],
    strict=True,
    coerce=True,
    description="S&P 500, 1999 to 2018, from Yahoo Finance, or what was ingested since.",
)
