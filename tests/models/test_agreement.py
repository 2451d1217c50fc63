import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.models.agreement import DEFAULT, Tolerance, agree, differences

numbers = st.floats(allow_nan=False)
values = st.one_of(numbers, st.booleans(), st.text(max_size=5), st.lists(numbers, max_size=4))


@given(st.lists(values))
def test_equal_answers_agree_whatever_they_are(column):
    assert differences(column, column).tolist() == [0.0] * len(column)
    assert agree({"answer": column}, {"answer": list(column)}).agrees


@given(
    st.lists(st.tuples(st.floats(), st.floats()), min_size=1),
    st.floats(1e-9, 0.5),
    st.floats(0, 10),
)
def test_numbers_agree_when_the_difference_is_within_both_tolerances(pairs, relative, absolute):
    # given
    tolerance = Tolerance(relative, absolute)
    expected, answered = (np.array(side, np.float64) for side in zip(*pairs, strict=True))
    # when
    found = differences(expected, answered, tolerance)
    # then
    for (right, given_), difference in zip(pairs, found, strict=True):
        if right == given_:
            assert difference == 0
        elif not (math.isfinite(right) and math.isfinite(given_)):
            assert difference == math.inf
        else:
            apart, allowed = abs(given_ - right), relative * abs(right) + absolute
            if not math.isclose(apart, allowed, rel_tol=1e-9):
                assert (difference <= relative) == (apart <= allowed)


@given(st.lists(st.one_of(st.none(), values, st.just(math.nan)), min_size=1, max_size=5), st.data())
def test_numpy_columns_and_json_lists_give_the_same_differences(column, data):
    other = data.draw(st.permutations(column))
    arrays = []
    for side in (column, other):
        array = np.empty(len(side), object)
        array[:] = [np.array(value) if isinstance(value, list) else value for value in side]
        arrays.append(array)
    assert differences(*arrays).tolist() == differences(column, other).tolist()


@pytest.mark.parametrize(
    ("expected", "answered", "difference"),
    [
        (0.0, -0.0, 0),
        (0.0, 1e-300, math.inf),
        (-2.0, -2.2, 0.1),
        (math.inf, math.inf, 0),
        (math.inf, -math.inf, math.inf),
        (math.inf, 1.0, math.inf),
        (1.0, math.nan, math.inf),
        (math.nan, math.nan, math.inf),
        (1.0, None, math.inf),
        (True, True, 0),
        (True, False, 1),
        (True, 1, math.inf),
        ("usa", "usa", 0),
        ("usa", "japan", 1),
        ("1", 1, math.inf),
        ([1.0, 0.0, -4.0], [1.0, 0.0, -5.0], 0.25),
        ([1.0], [1.0, 2.0], math.inf),
        ([1.0], 1.0, math.inf),
        ([True, "a"], [True, "b"], 1),
        ([], [], 0),
    ],
)
def test_the_difference_of_two_answers(expected, answered, difference):
    assert differences([expected], [answered]) == pytest.approx([difference])


def test_columns_of_the_graph_have_a_difference_for_each_row():
    fixed = np.array([[1.0, 2.0], [0.0, 0.0], [4.0, 4.0]])
    off = fixed + np.array([[0, 0], [0, 0], [1, 2]])
    free = np.array([np.array([1.0]), np.array([1.0, 2.0]), np.array([])], dtype=object)
    longer = np.array([np.array([1.0]), np.array([1.0]), np.array([])], dtype=object)
    assert differences(fixed, off).tolist() == [0, 0, 0.5]
    assert differences(free, longer).tolist() == [0, math.inf, 0]
    assert differences(np.float32([0.5]), np.array([0.5])).tolist() == [0]
    assert differences(fixed, off[:, :1]).tolist() == [math.inf] * 3
    assert differences(fixed, off[:2]).tolist() == [math.inf] * 3


def test_the_agreement_names_the_field_that_fails_and_by_how_much():
    # given
    expected = {"mpg": [20.0, 30.0], "degrees": [0.0, -1.0], "label": ["a", "b"]}
    answered = {"mpg": [20.0, 30.3], "degrees": [0.05, -1.0], "label": ["a", "b"], "more": [1, 2]}
    tolerance = {"degrees": Tolerance(0.01, 0.1)}
    # when
    found = agree(expected, answered, tolerance)
    # then
    assert found.fields == pytest.approx({"mpg": 0.01, "degrees": 0.005, "label": 0})
    assert (found.agrees, found.worst) == (False, "mpg")
    told = "the field mpg differs by 0.01, at most 1e-05 is allowed"
    assert str(found) == f"{told}; 1 of 2 rows exceed it, most row 1"
    assert agree(expected, answered, tolerance | {"mpg": Tolerance(0.02)}).agrees
    del answered["label"]
    assert agree(expected, answered, tolerance).worst == "label"
    assert Tolerance(1e-5, 0) == DEFAULT


@pytest.mark.parametrize("limits", [(-1, 0), (1, 0), (0, 1), (0.1, -1), (0.1, math.inf)])
def test_a_tolerance_that_means_nothing_is_refused(limits):
    with pytest.raises(ValueError, match="relative must be"):
        Tolerance(*limits)
