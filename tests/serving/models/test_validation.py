import math

import pytest

from roadworthy.bundles.bundle import BundleError
from roadworthy.serving.models.rejection import Rejection
from roadworthy.serving.models.validation import SHOWN_PROBLEMS, RequestSchema

SCHEMA = {
    "additionalProperties": False,
    "properties": {
        "weight": {"type": "number", "minimum": 1, "maximum": 5, "unit": "kg"},
        "doors": {"type": "integer", "minimum": 2},
        "colour": {"$ref": "#/$defs/Colour", "unit": "region"},
        "word": {"type": "string", "maxLength": 3},
        "share": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    },
    "required": ["weight"],
    "$defs": {"Colour": {"type": "string", "enum": ["red", "blue"]}},
}
schema = RequestSchema(SCHEMA)


def refused(row: object) -> Rejection:
    with pytest.raises(Rejection) as caught:
        schema.rows([row])
    assert caught.value.status == 422
    return caught.value


def test_a_good_row_comes_back_with_floats():
    row = {"weight": 2, "doors": 4.0, "colour": "red", "word": "abc", "share": 0.5}

    (checked,) = schema.rows([row])

    assert checked == row
    assert type(checked["weight"]) is float


@pytest.mark.parametrize(
    ("row", "field", "problem", "bound"),
    [
        ({}, "weight", "is missing", "1 to 5"),
        ({"weight": None}, "weight", "is null", "1 to 5"),
        ({"weight": True}, "weight", "is not a number", "1 to 5"),
        ({"weight": math.nan}, "weight", "is not a finite number", "1 to 5"),
        ({"weight": 10**400}, "weight", "is not a number", "1 to 5"),
        ({"weight": 0.9}, "weight", "is out of range", "1 to 5"),
        ({"weight": 2, "doors": 2.000001}, "doors", "is not a whole number", "at least 2"),
        ({"weight": 2, "doors": 1}, "doors", "is out of range", "at least 2"),
        ({"weight": 2, "colour": "Red"}, "colour", "is none of the choices", "one of red, blue"),
        ({"weight": 2, "colour": None}, "colour", "is null", "one of red, blue"),
        ({"weight": 2, "word": 3}, "word", "is not a string", "a string of at most 3 characters"),
        (
            {"weight": 2, "word": "abcd"},
            "word",
            "is not allowed",
            "a string of at most 3 characters",
        ),
        ({"weight": 2, "share": 0}, "share", "is out of range", "more than 0 and less than 1"),
        ({"weight": 2, "wait": 3}, "wait", "is not a field of a request", ""),
        ([], None, "is not an object", ""),
        (None, None, "is null", ""),
    ],
)
def test_a_bad_row_is_refused_with_field_problem_and_bound(row, field, problem, bound):
    (detail,) = refused(row).details

    assert (detail["row"], detail["field"], detail["problem"]) == (0, field, problem)
    assert detail["bound"] == bound


def test_an_answer_lists_a_bounded_number_of_problems_and_counts_all():
    rejection = refused({f"x{n}": 1 for n in range(300)})

    assert len(rejection.details) == SHOWN_PROBLEMS
    assert rejection.sentence.endswith("Problems in all: 301.")


@pytest.mark.parametrize(
    ("value", "shown"),
    [("x" * 500, "x" * 100 + "…"), ([1, 2], "a list of 2"), ({"a": 1}, "an object"), (True, True)],
)
def test_an_invalid_value_is_repeated_shortened(value, shown):
    (detail,) = refused({"weight": value}).details

    assert detail["input"] == shown


def test_a_schema_that_cannot_be_checked_is_refused_when_it_is_read():
    with pytest.raises(BundleError, match="field wheels is of type 'object'"):
        RequestSchema({"properties": {"wheels": {"type": "object"}}})
