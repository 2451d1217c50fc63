"""A request is accepted within its bounds and refused beyond them, field by field."""

import math
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from roadworthy.models import fuel
from roadworthy.models.fuel.dataset import COLUMNS
from roadworthy.models.fuel.estimator import ANSWER

LEAST = {"weight_kg": 1200, "year": 1980}
BOUNDS = {
    "weight_kg": (700, 2400, "kg"),
    "year": (1970, 1982, "year"),
    "cylinders": (3, 8, "cylinders"),
    "displacement": (60, 480, "cu in"),
    "horsepower": (40, 240, "hp"),
    "acceleration": (7, 26, "s"),
}


def wrong_fields(request):
    with pytest.raises(ValidationError) as caught:
        fuel.Request(**request)
    return {error["loc"][0] for error in caught.value.errors()}


def test_the_fields_are_the_columns_of_the_estimator_in_their_order():
    assert tuple(fuel.Request.model_fields) == COLUMNS
    assert tuple(fuel.Answer.model_fields) == ANSWER


def test_the_example_is_valid_and_needs_only_what_is_required():
    schema = fuel.Request.model_json_schema()

    assert fuel.Request(**schema["example"])
    assert set(schema["example"]) == set(schema["required"]) == {"weight_kg", "year"}


@pytest.mark.parametrize(("field", "bounds"), BOUNDS.items())
def test_the_json_schema_tells_bounds_unit_and_meaning(field, bounds):
    found = fuel.Request.model_json_schema()["properties"][field]

    assert (found["minimum"], found["maximum"], found["unit"]) == bounds
    assert found["description"].endswith(".")


def test_the_json_schema_of_an_answer_tells_the_units():
    found = fuel.Answer.model_json_schema()["properties"]

    assert {name: field["unit"] for name, field in found.items()} == {
        name: "l/100 km" if name.startswith("l_") else "mpg" for name in ANSWER
    }


def test_the_json_schema_lists_the_origins():
    found = fuel.Request.model_json_schema()["properties"]["origin"]

    assert found["enum"] == ["usa", "europe", "japan"]


@pytest.mark.parametrize(("field", "bounds"), BOUNDS.items())
def test_both_bounds_are_allowed_and_what_is_beyond_is_refused(field, bounds):
    lowest, highest, _ = bounds

    for allowed in (lowest, highest):
        assert getattr(fuel.Request(**LEAST | {field: allowed}), field) == allowed
    for refused in (lowest - 1, highest + 1):
        assert wrong_fields(LEAST | {field: refused}) == {field}


@given(field=st.sampled_from(sorted(BOUNDS)), value=st.floats(allow_nan=True, allow_infinity=True))
def test_no_number_beyond_the_bounds_ever_passes(field, value):
    lowest, highest, _ = BOUNDS[field]
    whole = field in {"year", "cylinders"}
    allowed = lowest <= value <= highest and (not whole or value == int(value))

    if allowed:
        assert getattr(fuel.Request(**LEAST | {field: value}), field) == value
    else:
        assert wrong_fields(LEAST | {field: value}) == {field}


@pytest.mark.parametrize("field", COLUMNS)
@pytest.mark.parametrize("value", [None, "much", [1200], {}])
def test_null_and_other_types_are_refused(field, value):
    assert wrong_fields(LEAST | {field: value}) == {field}


@pytest.mark.parametrize("field", sorted(LEAST))
def test_weight_and_year_are_needed(field):
    assert wrong_fields({name: value for name, value in LEAST.items() if name != field}) == {field}


def test_an_unknown_field_is_refused():
    assert wrong_fields(LEAST | {"colour": "red"}) == {"colour"}


@pytest.mark.parametrize("value", ["", "germany", "USA"])
def test_an_unknown_origin_is_refused(value):
    assert wrong_fields(LEAST | {"origin": value}) == {"origin"}


def test_what_is_left_out_is_not_a_number_or_an_empty_word_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        car = fuel.Request(**LEAST).model_dump()

    assert car["origin"] == ""
    assert {
        name for name, value in car.items() if isinstance(value, float) and math.isnan(value)
    } == {
        "cylinders",
        "displacement",
        "horsepower",
        "acceleration",
    }
    assert not math.isnan(car["weight_kg"])
