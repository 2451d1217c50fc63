"""The numbers that are learnt from, written once: for arrays and for the ONNX graph.

Both do the same operations in the same order in double precision, so that no row falls on the
other side of a tree's threshold in production.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from roadworthy.models.onnx_graph import Graph, Term

NAMES = ("return_1", "above_mean_3", "above_mean_5", "volatility_3")


def features(close: Callable[[int], Any]) -> list[Any]:
    """Return the columns of :data:`NAMES`.

    They are the return of the last day, by which fraction the close is above its moving averages of
    3 and 5 days, and the standard deviation of the last 3 returns.

    Parameters
    ----------
    close
        Returns the column of the closes of so many days ago, 0 for the last.
    """
    returns = [close(ago) / close(ago + 1) - 1 for ago in range(3)]
    apart = [one - _mean(returns) for one in returns]
    return [
        returns[0],
        *(close(0) / _mean([close(ago) for ago in range(days)]) - 1 for days in (3, 5)),
        np.sqrt(_mean([one * one for one in apart])),
    ]


def of_frame(frame: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return a row of :data:`NAMES` for each row with ``last_closes``."""
    closes = np.array([row[-5:] for row in frame["last_closes"]], dtype=np.float64).reshape(-1, 5)
    return np.column_stack(features(lambda ago: closes[:, -1 - ago]))


def add_features(graph: Graph, closes: str) -> str:
    """Add the features of closes [N, length] to a graph: a matrix [N, features]."""

    def close(ago: int) -> Term:
        return Term(graph, graph.add("Gather", closes, graph.integers(-1 - ago), axis=1))

    return graph.add("Concat", *(column.name for column in features(close)), axis=1)


def _mean(columns: Sequence[Any]) -> Any:
    total = columns[0]
    for column in columns[1:]:
        total = total + column
    return total / len(columns)
