"""The types of a request's and an answer's fields, and their values as columns.

A bundle carries the JSON schema of its request and of its answer, as pydantic makes it.
:func:`parse` reads one; :func:`columns` turns rows as JSON has them into one array for each field,
with a leading batch dimension, and :func:`records` turns columns into rows again. For ``n`` rows:

============================  ===============================================================
field                         column
============================  ===============================================================
number, integer               float64 ``[n]``; not a number is a missing value
boolean                       bool ``[n]``; float64 where it may be left out
string                        object ``[n]``; the empty string is a missing value
list of ``k`` numbers         float64 ``[n, k]``
list of free length           float64 ``[n, L]``, or object ``[n]`` of arrays of unequal length
image                         uint8 ``[n, H, W]``, or ``[n, H, W, 3]``
============================  ===============================================================

Lists of booleans are bool, lists of strings object.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from roadworthy.models import images
from roadworthy.models.images import ImageError, ImageType

Columns = Mapping[str, npt.NDArray[Any]]
Kind = Literal["number", "integer", "boolean", "string", "list", "image"]

_NOUNS = {
    "number": "number",
    "integer": "whole number",
    "boolean": "boolean",
    "string": "string",
}


class SchemaError(ValueError):
    """A schema has a field that no model can take."""


class ValueRefusedError(ValueError):
    """A value of one row is refused.

    Parameters
    ----------
    row, field
        The number of the row, from 0, and the field's name.
    problem
        What is wrong, as the rest of a sentence that begins with the field's name.
    """

    def __init__(self, row: int, field: str, problem: str) -> None:
        super().__init__(f"In row {row}, {field} {problem}.")
        self.row = row
        self.field = field
        self.problem = problem


@dataclass(frozen=True)
class FieldType:
    """One field of a request or an answer.

    Parameters
    ----------
    name
        Its name.
    kind
        ``number``, ``integer``, ``boolean``, ``string``, ``list`` or ``image``.
    required
        Whether every row has it.
    nullable
        Whether null stands for a value that is left out.
    minimum, maximum, exclusive_minimum, exclusive_maximum
        The bounds of a number.
    min_length, max_length
        The least and most characters of a string, or elements of a list.
    pattern, format
        What a string must match, and what such a string is, e.g. ``date``.
    choices
        The only values of a string or number, where there are only some.
    item
        The type of a list's elements.
    image
        The bounds and size of an image.
    unit, description
        For people.
    """

    name: str
    kind: Kind
    required: bool = True
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: float | None = None
    exclusive_maximum: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    format: str = ""
    choices: tuple[Any, ...] = ()
    item: FieldType | None = None
    image: ImageType | None = None
    unit: str = ""
    description: str = ""

    @cached_property
    def shape(self) -> tuple[int | None, ...]:
        """The shape of one row's value; None is a free length."""
        if self.image is not None:
            return self.image.shape
        if self.kind != "list":
            return ()
        return (self.max_length if self.min_length == self.max_length else None,)

    @cached_property
    def dtype(self) -> type:
        """The numpy type of the column."""
        if self.image is not None:
            return np.uint8
        kind = self.kind if self.item is None else self.item.kind
        if kind == "string":
            return object
        return np.bool_ if kind == "boolean" and self.required else np.float64

    @property
    def bound(self) -> str:
        """What is allowed, in words, e.g. ``700 to 2400``."""
        if self.image is not None:
            return self.image.bound
        if self.item is not None:
            return self._list_bound(self.item)
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        if self.kind in ("number", "integer"):
            return self._range() or f"a {_NOUNS[self.kind]}"
        if self.kind == "boolean":
            return "true or false"
        length = _extent(self.min_length, self.max_length)
        string = "a date such as 2024-03-15" if self.format == "date" else "a string"
        return f"a string of {length} characters" if length else string

    @property
    def expected(self) -> str:
        """What to send, e.g. ``700 to 2400 kg``."""
        element = self if self.item is None else self.item
        shown = element.kind in ("number", "integer") and self.unit not in ("", self.name)
        return f"{self.bound} {self.unit}" if shown else self.bound

    def _list_bound(self, item: FieldType) -> str:
        length = _extent(self.min_length, self.max_length)
        nouns = f"{length} {_NOUNS[item.kind]}s".lstrip()
        each = item.bound
        plain = each in (f"a {_NOUNS[item.kind]}", "true or false")
        return f"a list of {nouns}" if plain else f"a list of {nouns}, each {each}"

    def _range(self) -> str:
        if self.minimum is not None and self.maximum is not None:
            return f"{self.minimum:.15g} to {self.maximum:.15g}"
        ends = (
            ("at least", self.minimum),
            ("more than", self.exclusive_minimum),
            ("at most", self.maximum),
            ("less than", self.exclusive_maximum),
        )
        return " and ".join(f"{word} {end:.15g}" for word, end in ends if end is not None)


def parse(schema: Mapping[str, Any]) -> dict[str, FieldType]:
    """Return the fields of a JSON schema by name, the required ones first.

    Parameters
    ----------
    schema
        The schema of an object, as ``model_json_schema`` of pydantic gives it.

    Raises
    ------
    SchemaError
        A field is of a type that no model can take.
    """
    required = set(schema.get("required", ()))
    definitions: Mapping[str, Any] = schema.get("$defs", {})
    properties = sorted(
        schema.get("properties", {}).items(), key=lambda item: item[0] not in required
    )
    return {
        name: _field(name, part, definitions, required=name in required)
        for name, part in properties
    }


def columns(
    fields: Mapping[str, FieldType], rows: Sequence[Mapping[str, Any]]
) -> dict[str, npt.NDArray[Any]]:
    """Return one array for each field.

    Parameters
    ----------
    fields
        The fields.
    rows
        Rows that fit the schema, as JSON has them: an image is a base64 string, or the bytes of a
        file.

    Raises
    ------
    ValueRefusedError
        An image is not what its field takes.
    """
    return {name: column(field, _values(rows, field)) for name, field in fields.items()}


def column(field: FieldType, values: Sequence[Any]) -> npt.NDArray[Any]:
    """Return the values of one field as an array; None is a value that is left out.

    Raises
    ------
    ValueRefusedError
        An image is not what its field takes.
    """
    if field.image is not None:
        return _decoded(field, field.image, values)
    if field.item is not None:
        return _lists(field, values)
    if field.dtype is object:
        return np.array(["" if value is None else value for value in values], object)
    return np.array(values, field.dtype)


def records(
    columns: Columns, fields: Mapping[str, FieldType] | None = None
) -> list[dict[str, Any]]:
    """Return one object of plain values for each row.

    Parameters
    ----------
    columns
        Columns of one length.
    fields
        The fields of a request: then missing values are left out, whole numbers are integers and
        images base64 strings of PNG files, so that each object is a request. Without them every
        value is given as it is.
    """
    if fields is None:
        plain = [_plain(column) for column in columns.values()]
        return [dict(zip(columns, row, strict=True)) for row in zip(*plain, strict=True)]
    values = {name: [_value(field, one) for one in columns[name]] for name, field in fields.items()}
    rows = zip(*values.values(), strict=True)
    return [
        {name: value for name, value in zip(values, row, strict=True) if value is not None}
        for row in rows
    ]


def ragged(parts: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Return arrays as one, with a row for each; an object array where their lengths differ."""
    if len({len(part) for part in parts}) == 1:
        return np.stack(parts)
    found = np.empty(len(parts), object)
    found[:] = parts
    return found


def _values(rows: Sequence[Mapping[str, Any]], field: FieldType) -> list[Any]:
    name = field.name
    try:
        return [row[name] for row in rows]  # most requests leave out the same, or nothing
    except KeyError:
        return [row.get(name) for row in rows]


def _lists(field: FieldType, values: Sequence[Any]) -> npt.NDArray[Any]:
    (length,) = field.shape
    missing: Any = "" if field.dtype is object else math.nan
    left_out = [missing] * (length or 0)
    return ragged([np.array(left_out if v is None else v, field.dtype) for v in values])


def _decoded(field: FieldType, spec: ImageType, values: Sequence[Any]) -> npt.NDArray[np.uint8]:
    found = np.empty((len(values), *spec.shape), np.uint8)
    for row, value in enumerate(values):
        try:
            data = images.from_base64(value, spec) if isinstance(value, str) else value
            found[row] = images.decode(data, spec)
        except ImageError as error:
            raise ValueRefusedError(row, field.name, str(error)) from error
    return found


def _plain(values: npt.NDArray[Any]) -> list[Any]:
    found: list[Any] = values.tolist()
    return [one.tolist() if isinstance(one, np.ndarray) else one for one in found]


def _value(field: FieldType, value: Any) -> Any:
    """Return a value of a column as JSON has it, None for a missing one."""
    if field.image is not None:
        return base64.b64encode(images.encode(np.asarray(value, np.uint8))).decode()
    if field.item is not None:
        found = [_value(field.item, one) for one in value]
        missing = any(one is None for one in found) or not (found or field.required)
        return None if missing else found
    if field.kind == "string":
        return value or None if isinstance(value, str) else None
    if math.isnan(value):
        return None
    if field.kind == "boolean":
        return bool(value)
    return int(value) if field.kind == "integer" else float(value)


def _field(
    name: str, part: Mapping[str, Any], definitions: Mapping[str, Any], *, required: bool
) -> FieldType:
    part, nullable = _resolved(part, definitions)
    kind = part.get("type")
    choices = part.get("enum", [part["const"]] if "const" in part else [])
    told: dict[str, Any] = {
        "required": required,
        "nullable": nullable,
        "minimum": part.get("minimum"),
        "maximum": part.get("maximum"),
        "exclusive_minimum": part.get("exclusiveMinimum"),
        "exclusive_maximum": part.get("exclusiveMaximum"),
        "min_length": part.get("minLength", part.get("minItems")),
        "max_length": part.get("maxLength", part.get("maxItems")),
        "pattern": part.get("pattern"),
        "format": str(part.get("format", "")),
        "choices": () if kind == "boolean" else tuple(choices),
        "unit": str(part.get("unit", "")),
        "description": str(part.get("description", "")),
    }
    if kind == "string" and "image" in part:
        if not required:
            raise SchemaError(f"The image {name} may be left out. Make it a required field.")
        return FieldType(name, "image", image=_image(name, part["image"]), **told)
    if kind in _NOUNS:
        return FieldType(name, kind, **told)
    if kind == "array":
        first, *others = part.get("prefixItems") or [part.get("items") or {}]
        if any(one != first for one in others):
            raise SchemaError(
                f"The list {name} holds values of several kinds. Make a field of each."
            )
        item = _field(name, first, definitions, required=True)
        if item.kind not in _NOUNS:
            raise SchemaError(f"The list {name} holds lists or images. Make a field of each.")
        return FieldType(name, "list", item=item, **told)
    raise SchemaError(
        f"The field {name} is of type {kind!r}, which no model takes. Make it a number, an "
        f"integer, a boolean, a string, a list of these, or an image."
    )


def _resolved(
    part: Mapping[str, Any], definitions: Mapping[str, Any]
) -> tuple[Mapping[str, Any], bool]:
    """Return a part of a schema without references, and whether it may be null."""
    nullable = False
    while True:
        options = part.get("anyOf") or part.get("allOf") or []
        some = [one for one in options if one.get("type") != "null"]
        nullable |= len(some) < len(options)
        if "$ref" in part:
            found = definitions.get(str(part["$ref"]).removeprefix("#/$defs/"), {})
            part = {**found, **{key: value for key, value in part.items() if key != "$ref"}}
        elif len(some) == 1:
            rest = {key: value for key, value in part.items() if key not in ("anyOf", "allOf")}
            part = {**some[0], **rest}
        else:
            return part, nullable


def _image(name: str, image: Mapping[str, Any]) -> ImageType:
    try:
        known = {**image, "types": tuple(image.get("types", ImageType.types))}
        found = ImageType(**{key: known[key] for key in ImageType.__annotations__ if key in known})
    except TypeError as error:
        raise SchemaError(f"The image {name} lacks its size ({error}).") from error
    if found.channels not in (1, 3) or not set(found.types) <= {"png", "jpeg"}:
        raise SchemaError(f"The image {name} has 1 or 3 channels, and is of type png or jpeg.")
    return found


def _extent(least: int | None, most: int | None) -> str:
    if least == most:
        return "" if least is None else str(least)
    if not least:
        return f"at most {most}"
    return f"at least {least}" if most is None else f"{least} to {most}"
