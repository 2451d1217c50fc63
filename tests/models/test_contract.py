"""What a model offers: loading by name, bounds and checks."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.models import contract
from roadworthy.models.contract import Bound, Check
from tests.loading import loaded_by

PARTS = [
    *contract.Model.__annotations__,
    *(
        name
        for name, part in vars(contract.Model).items()
        if callable(part) and not name.startswith("_")
    ),
]
numbers = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize("name", contract.available())
def test_a_model_has_every_part_of_the_contract(name):
    model = contract.load(name)

    assert {"schema", "candidates", "train", "behaviour"} <= set(PARTS)
    assert [part for part in PARTS if not hasattr(model, part)] == []
    assert model.name == name


def test_fuel_is_available():
    assert "fuel" in contract.available()


def test_an_unknown_model_is_told_with_those_there_are_and_what_to_do():
    with pytest.raises(contract.UnknownModelError) as caught:
        contract.load("fule")

    sentence = str(caught.value)
    assert "'fule'" in sentence
    assert "fuel" in sentence
    assert "src/roadworthy/models/fule/" in sentence


def test_a_module_that_is_no_model_cannot_be_loaded():
    with pytest.raises(contract.UnknownModelError):
        contract.load("contract")


def test_reading_the_request_costs_no_training_library():
    # when a fresh interpreter looks at a request only
    loaded = loaded_by("import roadworthy.models.fuel as fuel; fuel.Request")

    # then nothing heavy was imported
    assert not loaded & {"sklearn", "pandas", "pandera", "onnx", "matplotlib"}


@given(limit=numbers, value=numbers)
def test_at_least_and_at_most_are_opposite_but_at_the_limit(limit, value):
    low = Bound("x", "at least", limit).check(value)
    high = Bound("x", "at most", limit).check(value)

    assert low.passed == (value >= limit)
    assert (low.passed and high.passed) == (value == limit)
    assert low.passed or high.passed


@pytest.mark.parametrize("comparison", ["at least", "at most"])
def test_not_a_number_never_passes(comparison):
    assert not Bound("x", comparison, 0.0).check(math.nan).passed


def test_a_check_is_a_sentence_with_value_bound_and_unit():
    check = Bound("mae_mpg", "at most", 2.6, "mpg").check(2.75)

    assert str(check) == "mae_mpg is 2.75 mpg, at most 2.6 mpg is required"


def test_a_check_keeps_everything_of_its_bound():
    bound = Bound("r2", "at least", 0.84, "", "R² on mpg")

    assert bound.check(0.9) == Check("r2", "at least", 0.84, "", "R² on mpg", value=0.9)
