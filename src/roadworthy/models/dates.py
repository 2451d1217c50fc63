"""Dates as features: a step from ISO dates to numbers, in scikit-learn and as an ONNX graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from onnx import TensorProto, helper
from sklearn.base import BaseEstimator, TransformerMixin

from roadworthy.models.onnx_graph import Graph, Term

Matrix = npt.NDArray[np.float64]

DAYS_OF_YEAR = 365.2425
_EPOCH = 2440588
"""The Julian day number of 1970-01-01."""
_UNKNOWN = "1970-01-01"
# Cosines are shifted sines: ONNX Runtime has no cosine in double precision.
_PHASES = (0.0, math.pi / 2)


class Dates(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """The trend, the season and the weekday of dates.

    From ``n`` columns of strings such as ``2024-03-15``, or empty where missing, to ``5 n``
    columns: the years since 1970, the sine and cosine of the day in its year, and those of the day
    in its week. A missing date gets the mean of each.

    Attributes
    ----------
    means_
        The mean of each feature, [5 n].
    """

    def fit(self, dates: pd.DataFrame, target: object = None) -> Self:  # noqa: ARG002
        """Learn the means."""
        features, missing = _matrix(dates)
        known = np.ma.masked_array(features, missing)
        self.means_: Matrix = known.mean(axis=0).filled(0.0)
        return self

    def transform(self, dates: pd.DataFrame) -> Matrix:
        """Return the features, [N, 5 n]."""
        features, missing = _matrix(dates)
        return np.where(missing, self.means_, features)

    def add_to(self, graph: Graph, value: str) -> str:
        """Add the step to a graph: from a matrix of strings [N, n] to one of doubles [N, 5 n]."""
        missing = graph.add("Equal", value, graph.strings(""))
        dates = graph.add("Where", missing, graph.strings(_UNKNOWN), value)
        parts = f"StringSplit_{len(graph.nodes)}"
        split = helper.make_node("StringSplit", [dates], [parts, f"{parts}_lengths"], delimiter="-")
        graph.nodes.append(split)
        numbers = graph.add("Cast", parts, to=TensorProto.DOUBLE)
        terms = [
            Term(graph, graph.add("Squeeze", part, graph.integers(2)))
            for part in (
                graph.add("Gather", numbers, graph.integers(at), axis=2) for at in range(3)
            )
        ]
        features = _features(*terms, floor=Term.floor)
        whole = graph.add("Concat", *(feature.name for feature in features), axis=1)
        absent = graph.add("Concat", *[missing] * len(features), axis=1)
        return graph.add("Where", absent, graph.constant(self.means_), whole)


def _matrix(dates: pd.DataFrame) -> tuple[Matrix, npt.NDArray[np.bool_]]:
    """Return the features of dates, and which are missing."""
    strings = np.asarray(dates, dtype=object)
    missing = strings == ""
    flat = pd.Series(np.where(missing, _UNKNOWN, strings).ravel(), dtype=object)
    parts = flat.str.split("-", expand=True).to_numpy(dtype=np.float64)
    year, month, day = parts.T.reshape(3, *strings.shape)
    features = _features(year, month, day, floor=np.floor)
    return np.hstack(features), np.hstack([missing] * len(features))


def _features(year: Any, month: Any, day: Any, *, floor: Callable[[Any], Any]) -> list[Any]:
    """Return the five features, of arrays or of terms of a graph.

    The days since 1970 come from the Julian day number, see
    https://en.wikipedia.org/wiki/Julian_day#Converting_Gregorian_calendar_date_to_Julian_Day_Number.
    """
    from_march = floor((month + 9.0) / 12.0)
    years = year + 4799.0 + from_march
    months = month + 9.0 - from_march * 12.0
    leap = floor(years / 4.0) - floor(years / 100.0) + floor(years / 400.0)
    days = day + floor((months * 153.0 + 2.0) / 5.0) + years * 365.0 + leap - (32045.0 + _EPOCH)
    waves = []
    for length in (DAYS_OF_YEAR, 7.0):
        turns = days / length
        angle = (turns - floor(turns)) * (2 * math.pi)
        waves += [np.sin(angle + phase) for phase in _PHASES]
    return [days / DAYS_OF_YEAR, *waves]
