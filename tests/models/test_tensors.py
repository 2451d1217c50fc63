"""Fields are read from what pydantic says of a model, and rows become columns and rows again."""

from typing import Annotated, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from roadworthy.models import images
from roadworthy.models.tensors import SchemaError, columns, parse, ragged, records

PHOTO = {"height": 2, "width": 3, "channels": 3, "max_bytes": 5000, "max_pixels": 100}


class Request(BaseModel):
    """A field of each kind."""

    length: Annotated[float, Field(ge=0, le=5, json_schema_extra={"unit": "m"})]
    doors: Annotated[int, Field(ge=1)] | None = None
    open: bool
    wet: bool | None = None
    colour: Literal["red", "blue"] = "red"
    code: Annotated[str, Field(max_length=3)] = ""
    corners: tuple[float, float]
    window: Annotated[
        list[Annotated[float, Field(ge=-1, le=1)]],
        Field(min_length=2, max_length=4, json_schema_extra={"unit": "mV"}),
    ]
    tags: list[str] = []
    photo: Annotated[
        str,
        Field(json_schema_extra={"contentEncoding": "base64", "image": PHOTO | {"types": ["png"]}}),
    ]


FIELDS = parse(Request.model_json_schema())
NUMBERS = {"length", "doors", "wet"}


@pytest.mark.parametrize(
    ("name", "kind", "shape", "required", "expected"),
    [
        ("length", "number", (), True, "0 to 5 m"),
        ("doors", "integer", (), False, "at least 1"),
        ("open", "boolean", (), True, "true or false"),
        ("wet", "boolean", (), False, "true or false"),
        ("colour", "string", (), False, "one of red, blue"),
        ("code", "string", (), False, "a string of at most 3 characters"),
        ("corners", "list", (2,), True, "a list of 2 numbers"),
        ("window", "list", (None,), True, "a list of 2 to 4 numbers, each -1 to 1 mV"),
        ("tags", "list", (None,), False, "a list of strings"),
        ("photo", "image", (2, 3, 3), True, "a PNG image of at most 5000 bytes and 100 pixels"),
    ],
)
def test_a_schema_made_by_pydantic_is_read(name, kind, shape, required, expected):
    field = FIELDS[name]

    found = (field.kind, field.shape, field.required, field.expected)
    assert found == (kind, shape, required, expected)


def test_required_fields_come_first_and_there_may_be_none():
    assert [field.required for field in FIELDS.values()] == [True] * 5 + [False] * 5
    optional = parse({"type": "object", "properties": {"x": {"type": "number"}}})
    assert not optional["x"].required


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ({"type": "object"}, "type 'object'"),
        ({"anyOf": [{"type": "number"}, {"type": "string"}]}, "type None"),
        ({"type": "array", "items": {"type": "array", "items": {"type": "number"}}}, "holds lists"),
        ({"type": "array", "prefixItems": [{"type": "number"}, {"type": "string"}]}, "several"),
        ({"type": "string", "image": PHOTO}, "may be left out"),
    ],
)
def test_what_no_model_takes_is_refused_with_its_name(part, told):
    with pytest.raises(SchemaError, match=rf"\bx\b.*{told}"):
        parse({"properties": {"x": part}})


pixel = st.integers(0, 255)
rows = st.lists(
    st.fixed_dictionaries(
        {
            "length": st.floats(0, 5),
            "open": st.booleans(),
            "corners": st.lists(st.floats(-9, 9), min_size=2, max_size=2),
            "window": st.lists(st.floats(-1, 1), min_size=2, max_size=4),
            "photo": st.lists(pixel, min_size=18, max_size=18),
        },
        optional={
            "doors": st.integers(1, 9),
            "wet": st.booleans(),
            "colour": st.sampled_from(["red", "blue"]),
            "code": st.text("abc", min_size=1, max_size=3),
            "tags": st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=2),
        },
    ),
    min_size=1,
    max_size=4,
)


@given(rows)
def test_rows_become_columns_and_the_same_rows_again(rows):
    for row in rows:
        pixels = np.array(row.pop("photo"), np.uint8).reshape(2, 3, 3)
        row["photo"] = images.encode(pixels)

    found = columns(FIELDS, rows)
    again = records(found, FIELDS)

    for name, column in found.items():
        assert len(column) == len(rows)
        assert column.dtype == object or column.dtype == FIELDS[name].dtype
    assert found["photo"].shape == (len(rows), 2, 3, 3)
    lengths = {len(row["window"]) for row in rows}
    assert found["window"].shape[1:] == (tuple(lengths) if len(lengths) == 1 else ())
    for row, one in zip(rows, again, strict=True):
        assert {**one, "photo": None} == {**row, "photo": None}
    assert np.array_equal(columns(FIELDS, again)["photo"], found["photo"])


def test_a_missing_value_and_null_are_the_same():
    window, corners, photo = [0, 1], [1, 2], images.encode(np.zeros((2, 3, 3), np.uint8))
    needed = {"length": 1, "open": True, "corners": corners, "window": window, "photo": photo}

    found = columns(FIELDS, [needed, needed | {"doors": None, "wet": None}])

    assert np.isnan(found["doors"]).all()
    assert np.isnan(found["wet"]).all()
    assert found["colour"].tolist() == ["", ""]


def test_answers_become_plain_values():
    answers = {
        "label": np.array(["a", "b"], object),
        "sure": np.array([True, False]),
        "bars": ragged([np.array([1.0]), np.array([2.0, 3.0])]),
    }

    assert records(answers) == [
        {"label": "a", "sure": True, "bars": [1.0]},
        {"label": "b", "sure": False, "bars": [2.0, 3.0]},
    ]
