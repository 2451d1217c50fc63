"""What the models for tests have in common."""

import numpy as np
from sklearn.base import clone

from roadworthy.models import splits
from roadworthy.models.contract import Bound, Criteria, Evaluation, Scores, Validation


def criteria(metric, least, *, error, hold_out=()):
    """Return what the gate requires: a metric of at least so much, and a graph that is quick."""
    return Criteria(
        metric=metric,
        cross_validated=(Bound(f"cv_{metric}", "at least", least),),
        hold_out=(Bound(metric, "at least", least), *hold_out),
        margin=-0.05,
        error=error,
        slice_tolerance=1.0,
        simplicity=0.01,
        latency_ms=5.0,
    )


def train(candidate, frame):
    return clone(candidate.estimator).fit(frame)


def cross_validate(candidate, frame):
    """Return the accuracy of labels in five folds."""
    right = []
    for fitted_on, tested_on in splits.k_fold(len(frame), folds=5, seed=0):
        unseen = frame.iloc[tested_on]
        found = train(candidate, frame.iloc[fitted_on]).predict(unseen)["label"]
        right += list(found == unseen["label"])
    return Validation({"cv_accuracy": float(np.mean(right))}, ())


def accuracy_by(slices):
    """Return a ``score`` of labels, in all and for each value of a column."""

    def score(answers, test):
        right = (answers["label"] == test["label"]).to_numpy()

        def metrics(rows):
            return {"accuracy": float(right[rows].mean()), "error": float(1 - right[rows].mean())}

        found = {
            f"{slices}={one}": metrics((test[slices] == one).to_numpy())
            for one in sorted(test[slices].unique())
        }
        return Scores(metrics(slice(None)), found)

    return score


def evaluation(score, behaviour, inputs):
    """Return an ``evaluate`` of these two, which has no figures."""

    def evaluate(estimator, test):
        found = score(estimator.predict(test[inputs]), test)
        return Evaluation(found.metrics, found.slices, behaviour(estimator.predict, test))

    return evaluate
