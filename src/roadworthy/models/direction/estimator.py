"""The candidates: from closes to the probability that the next one is higher."""

from __future__ import annotations

from typing import Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from roadworthy.models.contract import Candidate
from roadworthy.models.direction.features import of_frame

THRESHOLD = 0.5


def train(candidate: Candidate, frame: pd.DataFrame) -> DirectionEstimator:
    """Return the candidate, fitted to prepared rows."""
    fitted: DirectionEstimator = clone(candidate.estimator).fit(frame)
    return fitted


class DirectionEstimator(BaseEstimator):  # type: ignore[misc]
    """The probability of a higher close, from the last closes.

    Parameters
    ----------
    classifier
        From the features to the probabilities of DOWN and UP.

    Attributes
    ----------
    classifier_
        The fitted classifier.
    """

    def __init__(self, classifier: ClassifierMixin) -> None:
        self.classifier = classifier

    def fit(self, frame: pd.DataFrame) -> Self:
        """Fit the classifier to prepared rows."""
        features, up = of_frame(frame), (frame["next_close"] == "UP").to_numpy()
        if up.all() or not up.any():  # nothing to learn but a base rate, which is never certain
            features, up = np.zeros((len(up) + 2, 1)), np.append(up, [True, False])
            self.classifier_ = DummyClassifier(strategy="prior").fit(features, up)
        else:
            self.classifier_ = clone(self.classifier).fit(features, up)
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return ``next_close`` and ``probability_up`` for each row, with its index.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            It was not fitted.
        """
        check_is_fitted(self)
        up = self.classifier_.predict_proba(of_frame(frame))[:, 1]
        call = np.where(up > THRESHOLD, "UP", "DOWN").astype(object)
        return pd.DataFrame({"next_close": call, "probability_up": up}, index=frame.index)


def _forest(trees: int, depth: int) -> Candidate:
    return Candidate(
        f"forest_{trees}_{depth}",
        DirectionEstimator(
            RandomForestClassifier(trees, max_depth=depth, min_samples_leaf=5, random_state=0)
        ),
        {"trees": trees, "depth": depth},
        f"random forest of {trees} trees, at most {depth} deep",
    )


candidates = (
    Candidate(
        "always_up",
        DirectionEstimator(DummyClassifier(strategy="prior")),
        {},
        "the base rate: UP on every day, with the share of UP as its probability",
    ),
    Candidate(
        "logistic",
        DirectionEstimator(
            Pipeline([("scale", StandardScaler()), ("regressor", LogisticRegression(C=0.01))])
        ),
        {"C": 0.01},
        "regularised logistic regression, which is calibrated by the likelihood it maximises",
    ),
    _forest(50, 3),
    _forest(100, 5),
    _forest(200, 8),
)
