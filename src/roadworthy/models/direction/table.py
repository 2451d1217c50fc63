"""From raw daily prices to the rows that a model is trained and evaluated on."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view

from roadworthy.models import splits
from roadworthy.models.contract import Prepared, Split
from roadworthy.models.datasets import TableDataset
from roadworthy.models.tables import read_csv

WINDOW = 22
"""How many closes a prepared row has: about a month."""
HOLD_OUT = 504
"""How many trading days are held out, the latest: two years."""


def read(path: Path) -> pd.DataFrame:
    """Return the raw daily prices of a CSV file."""
    return read_csv(path, strings=("trading_day", "ticker"))


dataset = TableDataset(read)


def adjusted(raw: pd.DataFrame) -> pd.DataFrame:
    """Return raw rows by day, with ``close``: comparable between days, in units of the last day."""
    rows = raw.sort_values("trading_day").drop_duplicates("trading_day").reset_index(drop=True)
    factor = rows["price_factor"].to_numpy(dtype=np.float64)
    # What each close is multiplied by: the factors of all later days.
    later = np.append(np.cumprod(factor[::-1])[::-1][1:], 1.0)
    return rows.assign(close=rows["raw_close"].to_numpy(dtype=np.float64) * later)


def prepare(raw: pd.DataFrame) -> Prepared:
    """Return a row for each trading day of which the next close is known.

    Columns: ``trading_day``; ``last_closes``, the closes up to that day; ``next_close``, UP or
    DOWN; ``base_rate``, the share of UP among the days whose outcome was known then. None of the
    inputs changes when later days do.
    """
    rows = adjusted(raw)
    close = rows["close"].to_numpy()
    if len(rows) <= WINDOW:
        raise ValueError(f"{len(rows)} trading days are too few: {WINDOW + 1} or more are required")
    windows = sliding_window_view(close, WINDOW)[:-1]
    # In units of the window's own last day, as they were known then.
    last = rows["raw_close"].to_numpy(dtype=np.float64)[WINDOW - 1 : -1]
    up = close[1:] > close[:-1]
    known = np.arange(len(up))
    base_rate = (np.cumsum(up) - up + 1) / (known + 2)
    kept = slice(WINDOW - 1, None)
    frame = pd.DataFrame(
        {
            "trading_day": rows["trading_day"].to_numpy()[kept][:-1],
            "last_closes": list(windows * (last / windows[:, -1])[:, None]),
            "next_close": np.where(up[kept], "UP", "DOWN").astype(object),
            "base_rate": base_rate[kept],
        }
    )
    dropped = {
        "repeats a trading day": len(raw) - len(rows),
        f"fewer than {WINDOW} closes": WINDOW - 1,
        "the next close is not known yet": 1,
    }
    return Prepared(frame, {reason: count for reason, count in dropped.items() if count})


def split(frame: pd.DataFrame) -> Split:
    """Return the earlier days to train on, and the latest as the hold-out.

    The last day before the hold-out is left out: its outcome is the first close of the hold-out.
    """
    share = min(HOLD_OUT / len(frame), 0.5)
    halves = splits.by_time(frame, frame["trading_day"].tolist(), share=share)
    return Split(halves.train.iloc[:-1], halves.test)
