"""A user changes a parameter of a candidate by its name, and is told where there is none."""

import pytest

from roadworthy.core.errors import RoadworthyError
from roadworthy.models import fuel
from roadworthy.training.parameters import changed, parse
from roadworthy.training.selection import named


@pytest.mark.parametrize(
    ("text", "parameter", "value"),
    [
        ("ridge.alpha=3", "point__regressor__alpha", 3),
        ("ridge.point__regressor__alpha=1e-3", "point__regressor__alpha", 0.001),
        ("support_vectors.kernel=linear", "point__regressor__kernel", "linear"),
    ],
)
def test_a_parameter_has_the_value_and_the_models_own_candidates_are_as_they_were(
    text, parameter, value
):
    change = parse(text)
    before = named(fuel.candidates, change.candidate)

    found = named(changed(fuel.candidates, [change]), change.candidate)

    assert found.estimator.get_params()[parameter] == value
    assert found.parameters[parameter.rpartition("__")[2]] == value
    assert before.estimator.get_params()[parameter] != value


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("alpha=3", "write CANDIDATE.PARAMETER=VALUE"),
        ("ridge.alpha", "write CANDIDATE.PARAMETER=VALUE"),
        ("forest.depth=3", "no candidate 'forest'"),
        ("ridge.depth=3", "ridge has no parameter 'depth': name one of alpha, "),
    ],
)
def test_what_changes_nothing_is_told(text, told):
    with pytest.raises(RoadworthyError, match=told):
        changed(fuel.candidates, [parse(text)])
