"""The ONNX graph answers as the estimator does, for windows of any length."""

import numpy as np
import pandas as pd
import pytest

from roadworthy.bundles.scoring import Scorer, from_frame, to_frame
from roadworthy.models import direction
from roadworthy.models.agreement import agree


@pytest.mark.parametrize("candidate", direction.candidates, ids=lambda candidate: candidate.name)
def test_the_graph_agrees_with_the_estimator_on_every_day(parts, candidate):
    estimator = direction.train(candidate, parts.train)

    scorer = Scorer(direction.export(estimator).SerializeToString())
    answered = scorer.score(from_frame(parts.test, scorer.inputs))

    expected = estimator.predict(parts.test)
    found = agree(from_frame(expected, expected.columns), answered, direction.tolerance)
    assert found.agrees, found
    checks = direction.behaviour(
        lambda asked: to_frame(scorer.score(from_frame(asked, scorer.inputs)), asked.index),
        parts.test,
    )
    assert all(check.passed for check in checks)


def test_an_estimator_of_one_outcome_is_not_certain():
    up = pd.DataFrame({"last_closes": [np.arange(1.0, 6)] * 8, "next_close": ["UP"] * 8})

    estimator = direction.train(direction.candidates[1], up)

    assert estimator.predict(up)["probability_up"].tolist() == [0.9] * 8
    assert direction.export(estimator).graph.output
