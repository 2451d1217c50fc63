"""The estimators of fuel consumption: from a request's columns to the answer's, nothing outside.

What is learnt is the logarithm of miles per gallon, from the logarithms of weight, displacement
and power. An error is then a percentage, no answer is negative, and the conversion to litres per
100 km is a sign and a constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin, clone
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.svm import SVR
from sklearn.utils.validation import check_is_fitted

from roadworthy.models.contract import Candidate
from roadworthy.models.fuel.table import COLUMNS, OPTIONAL_NUMBERS, ORIGINS, TARGET
from roadworthy.models.fuel.units import consumption

Floats = npt.NDArray[np.float64]

CONFIDENCE = 0.9
"""The share of cars whose true consumption the interval holds."""
LOGGED = frozenset({"weight_kg", "cylinders", "displacement", "horsepower"})
"""The numbers that enter by their logarithm."""
ANSWER = (
    "l_per_100km",
    "l_per_100km_low",
    "l_per_100km_high",
    "mpg",
    "mpg_low",
    "mpg_high",
)
WEIGHT_CENTRE = 7.1  # about the mean logarithm of a weight in kilograms
YEAR_CENTRE, YEAR_SCALE = 1976.0, 10.0


def train(candidate: Candidate, frame: pd.DataFrame) -> FuelEstimator:
    """Return the candidate, fitted to prepared rows."""
    fitted: FuelEstimator = clone(candidate.estimator).fit(frame[list(COLUMNS)], frame[TARGET])
    return fitted


class FuelEstimator(BaseEstimator):  # type: ignore[misc]
    """Consumption with a conformal interval, from the columns of a request.

    Parameters
    ----------
    point
        A pipeline from the request's columns to the logarithm of miles per gallon.

    Attributes
    ----------
    point_
        The fitted pipeline.
    complete_, incomplete_
        Half the width of the interval, in logarithms, for a car of which everything is said and
        for one of which something is left out. Each is the conformal quantile, the
        ``ceil(0.9 (n + 1))``-th smallest, of the absolute errors of 10-fold cross-validation; those
        of the second group are made with only weight and year said, the least that a request may
        say. So one of which less is left out has an interval that is rather too wide, and none is
        narrower than that of a car of which everything is said. This is the jackknife with folds,
        not jackknife+ (Barber et al. 2021, "Predictive inference with the jackknife+"): it promises
        its coverage only for an estimator that one fold more or less hardly moves, so the hold-out
        tests it.
    """

    def __init__(self, point: Pipeline) -> None:
        self.point = point

    def fit(self, frame: pd.DataFrame, mpg: pd.Series) -> Self:
        """Fit the pipeline and both intervals."""
        target = np.log(mpg.to_numpy(dtype=np.float64))
        self.complete_ = _half_width(self.point, frame, target)
        least_said = _half_width(WithoutOptional(self.point), frame, target)
        self.incomplete_ = max(least_said, self.complete_)
        self.point_ = clone(self.point).fit(frame, target)
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return one row of :data:`ANSWER` for each row of the frame, with its index.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            It was not fitted.
        """
        check_is_fitted(self)
        centre = self.point_.predict(frame)
        half = np.where(_incomplete(frame), self.incomplete_, self.complete_)
        mpg, low, high = np.exp(centre), np.exp(centre - half), np.exp(centre + half)
        columns = (consumption(mpg), consumption(high), consumption(low), mpg, low, high)
        return pd.DataFrame(dict(zip(ANSWER, columns, strict=True)), index=frame.index)


class CarFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """The numbers a regressor learns from; what a request leaves out is imputed here.

    An absent number is what a quadratic in weight and year, fitted to the cars that have it, says
    of a car like this one; an absent origin is the share of each origin among such cars. A median
    would call every light car with an unknown engine an average one.

    Parameters
    ----------
    columns
        Which columns of a request are used, ``weight_kg`` and ``year`` first.

    Attributes
    ----------
    coefficients_
        The quadratic of each optional number and of each origin: six figures a name.
    """

    def __init__(self, columns: Sequence[str] = COLUMNS) -> None:
        self.columns = columns

    def fit(self, frame: pd.DataFrame, target: Floats | None = None) -> Self:  # noqa: ARG002
        """Fit the quadratics by least squares."""
        base = quadratic(frame)
        self.coefficients_: dict[str, Floats] = {}
        for name in OPTIONAL_NUMBERS:
            value = scaled(frame, name)
            self.coefficients_[name] = _least_squares(base, value, ~np.isnan(value))
        origin = frame["origin"].to_numpy()
        for name in ORIGINS:
            is_it = (origin == name).astype(np.float64)
            self.coefficients_[name] = _least_squares(base, is_it, origin != "")
        return self

    def transform(self, frame: pd.DataFrame) -> Floats:
        """Return a row of numbers for each row, none of them absent."""
        check_is_fitted(self)
        base = quadratic(frame)
        numbers = [self._imputed(base, frame, name) for name in self.columns if name != "origin"]
        return np.column_stack(numbers + self._origins(base, frame))

    def _imputed(self, base: Floats, frame: pd.DataFrame, name: str) -> Floats:
        value = scaled(frame, name)
        if name not in self.coefficients_:
            return value
        return np.where(np.isnan(value), base @ self.coefficients_[name], value)

    def _origins(self, base: Floats, frame: pd.DataFrame) -> list[Floats]:
        if "origin" not in self.columns:
            return []
        origin = frame["origin"].to_numpy()
        return [
            np.where(
                origin == "",
                np.clip(base @ self.coefficients_[name], 0, 1),
                (origin == name).astype(np.float64),
            )
            for name in ORIGINS
        ]


class WithoutOptional(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A pipeline that learns from whole rows and answers from weight and year alone."""

    def __init__(self, point: Pipeline) -> None:
        self.point = point

    def fit(self, frame: pd.DataFrame, target: Floats) -> Self:
        """Fit the pipeline to the whole rows."""
        self.point_ = clone(self.point).fit(frame, target)
        return self

    def predict(self, frame: pd.DataFrame) -> Floats:
        """Return the answers with everything optional left out."""
        answers: Floats = self.point_.predict(without_optional(frame))
        return answers


def without_optional(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows as requests that say only weight and year."""
    return frame.assign(**dict.fromkeys(OPTIONAL_NUMBERS, np.nan), origin="")


def scaled(frame: pd.DataFrame, name: str) -> Floats:
    """Return a number as it enters: its logarithm, or itself."""
    value = frame[name].to_numpy(dtype=np.float64)
    return np.log(value) if name in LOGGED else value


def quadratic(frame: pd.DataFrame) -> Floats:
    """Return 1, w, t, w², w·t and t² of each row, w and t being centred weight and year."""
    weight = scaled(frame, "weight_kg") - WEIGHT_CENTRE
    year = (scaled(frame, "year") - YEAR_CENTRE) / YEAR_SCALE
    ones = np.ones_like(weight)
    return np.column_stack([ones, weight, year, weight * weight, weight * year, year * year])


def _incomplete(frame: pd.DataFrame) -> npt.NDArray[np.bool_]:
    numbers = frame[list(OPTIONAL_NUMBERS)].to_numpy(dtype=np.float64)
    incomplete: npt.NDArray[np.bool_] = np.isnan(numbers).any(axis=1)
    incomplete |= frame["origin"].to_numpy() == ""
    return incomplete


def _least_squares(base: Floats, value: Floats, known: npt.NDArray[np.bool_]) -> Floats:
    solution = np.linalg.lstsq(base[known], value[known], rcond=None)[0]
    return solution.astype(np.float64)


def _half_width(point: BaseEstimator, frame: pd.DataFrame, target: Floats) -> float:
    from mapie.regression import CrossConformalRegressor

    conformal = CrossConformalRegressor(
        estimator=clone(point),
        confidence_level=CONFIDENCE,
        method="base",
        cv=KFold(n_splits=10, shuffle=True, random_state=0),
    )
    conformal.fit_conformalize(frame, target)
    centre, interval = conformal.predict_interval(frame.iloc[:1])
    return float(interval[0, 1, 0] - centre[0])


def _candidate(
    name: str,
    description: str,
    columns: Sequence[str],
    steps: Sequence[tuple[str, BaseEstimator]],
    told: Sequence[str],
) -> Candidate:
    """Return a candidate; ``told`` names those of its steps' parameters that say what it is."""
    point = Pipeline([("features", CarFeatures(tuple(columns))), *steps])
    every = point.get_params()
    parameters = {parameter.rpartition("__")[2]: every[parameter] for parameter in told}
    return Candidate(name, FuelEstimator(point), parameters, description)


candidates = (
    _candidate(
        "polynomial",
        "polynomial of degree 2 on weight and year",
        ("weight_kg", "year"),
        [
            ("scale", StandardScaler()),
            ("powers", PolynomialFeatures(2, include_bias=False)),
            ("regressor", LinearRegression()),
        ],
        told=("powers__degree",),
    ),
    _candidate(
        "ridge",
        "ridge regression on the polynomial of degree 2 of everything",
        COLUMNS,
        [
            ("scale", StandardScaler()),
            ("powers", PolynomialFeatures(2, include_bias=False)),
            ("regressor", Ridge(alpha=10.0)),
        ],
        told=("powers__degree", "regressor__alpha"),
    ),
    _candidate(
        "support_vectors",
        "support vector regression with a radial kernel on everything",
        COLUMNS,
        [
            ("scale", StandardScaler()),
            ("regressor", SVR(kernel="rbf", C=1.0, gamma=0.05, epsilon=0.05)),
        ],
        told=("regressor__C", "regressor__gamma", "regressor__epsilon"),
    ),
)
