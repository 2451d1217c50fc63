"""A request is accepted within its bounds and refused beyond them, field by field."""

import math
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from roadworthy.models import fuel

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


def test_the_example_is_valid_and_needs_only_what_is_required():
    schema = fuel.Request.model_json_schema()

    assert fuel.Request(**schema["example"])
    assert set(schema["example"]) == set(schema["required"]) == {"weight_kg", "year"}


@given(field=st.sampled_from(sorted(BOUNDS)), value=st.floats(allow_nan=True, allow_infinity=True))
def test_no_number_beyond_the_bounds_ever_passes(field, value):
    lowest, highest, _ = BOUNDS[field]
    whole = field in {"year", "cylinders"}
    allowed = lowest <= value <= highest and (not whole or value == int(value))

    if allowed:
        assert getattr(fuel.Request(**LEAST | {field: value}), field) == value
    else:
        assert wrong_fields(LEAST | {field: value}) == {field}


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
