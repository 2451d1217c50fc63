"""Validates requests against the JSON schema that a bundle carries, compiled once per bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy.typing as npt
from pydantic_core import (
    ErrorDetails,
    PydanticCustomError,
    SchemaValidator,
    ValidationError,
    core_schema,
)

from roadworthy.bundles.bundle import BundleError
from roadworthy.models import images, tensors
from roadworthy.models.images import ImageError
from roadworthy.models.tensors import FieldType, SchemaError, ValueRefusedError
from roadworthy.serving.models.rejection import Rejection

Row = Mapping[str, Any]

SHOWN_PROBLEMS = 100
"""The most problems that a response lists; its sentence has their number."""
SHOWN_CHARACTERS = 100
"""The most characters of an invalid string that a response repeats."""
MAX_PIXELS = 1 << 25
"""The most pixels of all images of a request, unless one image alone may have more."""

_PROBLEMS = {
    "missing": "is missing",
    "extra_forbidden": "is not a field of a request",
    "float_type": "is not a number",
    "finite_number": "is not a finite number",
    "whole": "is not a whole number",
    "choice": "is none of the choices",
    "greater_than": "is out of range",
    "greater_than_equal": "is out of range",
    "less_than": "is out of range",
    "less_than_equal": "is out of range",
    "string_type": "is not a string",
    "bool_type": "is not a boolean",
    "list_type": "is not a list",
    "too_short": "has too few elements",
    "too_long": "has too many elements",
    "literal_error": "is none of the choices",
    "dict_type": "is not an object",
}


class RequestSchema:
    """The validation of requests to one version.

    Parameters
    ----------
    schema
        The JSON schema of a request; see :func:`roadworthy.models.tensors.parse`.

    Attributes
    ----------
    fields
        The fields of a request by name, the required ones first.

    Raises
    ------
    BundleError
        The schema has a field that this server cannot validate.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        try:
            self.fields = tensors.parse(schema)
        except SchemaError as error:
            raise BundleError(f"The request of the bundle cannot be validated. {error}") from error
        checks = {name: _check(field) for name, field in self.fields.items()}
        row = core_schema.typed_dict_schema(
            {
                name: core_schema.typed_dict_field(
                    _in_row(field, checks[name]), required=field.required
                )
                for name, field in self.fields.items()
            },
            extra_behavior="forbid",
            strict=True,
        )
        self._rows = SchemaValidator(core_schema.list_schema(row, strict=True))
        self._columns = {
            name: SchemaValidator(
                core_schema.list_schema(_in_column(field, checks[name]), strict=True)
            )
            for name, field in self.fields.items()
        }
        self._images = [field for field in self.fields.values() if field.image is not None]

    @property
    def has_images(self) -> bool:
        """Whether parsing a request takes long, because it has images to decode."""
        return bool(self._images)

    def rows(self, rows: list[Any]) -> list[dict[str, Any]]:
        """Return the rows with every number as a float.

        Raises
        ------
        Rejection
            422, with a detail for each problem.
        """
        try:
            checked: list[dict[str, Any]] = self._rows.validate_python(rows)
        except ValidationError as error:
            raise self._rejection([_located(problem) for problem in _errors(error)]) from None
        return checked

    def columns(self, rows: Sequence[Row]) -> dict[str, npt.NDArray[Any]]:
        """Return valid rows as columns.

        Raises
        ------
        Rejection
            413 for images with too many pixels in all, 422 for an image that is refused.
        """
        if self._images:
            self._check_pixels({f.name: [row[f.name] for row in rows] for f in self._images})
        try:
            return tensors.columns(self.fields, rows)
        except ValueRefusedError as error:
            raise self.refusal(error.row, error.field, error.problem) from None

    def column(self, name: str, values: list[Any]) -> npt.NDArray[Any]:
        """Return the values of one field as a column. None is a missing value of an optional field.

        Raises
        ------
        Rejection
            As :meth:`rows` and :meth:`columns`.
        """
        field = self.fields[name]
        try:
            checked: list[Any] = self._columns[name].validate_python(values)
        except ValidationError as error:
            located = [(p["loc"][0], name, _index(p["loc"][1:]), p) for p in _errors(error)]
            raise self._rejection(located) from None
        if field.image is not None:
            self._check_pixels({name: checked})
        try:
            return tensors.column(field, checked)
        except ValueRefusedError as error:
            raise self.refusal(error.row, name, error.problem) from None

    def missing(self, names: Sequence[str]) -> None:
        """Refuse a request that lacks a required field.

        Raises
        ------
        Rejection
            422, with a detail for each field of ``names`` that is required.
        """
        details = [
            _detail(None, name, None, _PROBLEMS["missing"], self.fields[name], None)
            for name in names
            if self.fields[name].required
        ]
        if details:
            raise Rejection(422, self._sentence(details), details)

    def unknown(self, name: str) -> Rejection:
        """Return the refusal of a field that does not exist."""
        details = [_detail(None, name, None, _PROBLEMS["extra_forbidden"], None, None)]
        return Rejection(422, self._sentence(details), details)

    def refusal(self, row: int | None, name: str, problem: str, value: Any = None) -> Rejection:
        """Return the refusal of one value of a field, 422."""
        details = [_detail(row, name, None, problem, self.fields[name], value)]
        return Rejection(422, self._sentence(details), details)

    def _check_pixels(self, sent: Mapping[str, Sequence[Any]]) -> None:
        """Refuse images with invalid headers, or with too many pixels in total."""
        total, allowed = 0, MAX_PIXELS
        for name, values in sent.items():
            spec = self.fields[name].image
            assert spec is not None  # noqa: S101 - only images are checked
            allowed = max(allowed, spec.max_pixels)
            for row, value in enumerate(values):
                try:
                    data = images.from_base64(value, spec) if isinstance(value, str) else value
                    total += images.pixels(data, spec)
                except ImageError as error:
                    raise self.refusal(row, name, str(error)) from None
        if total > allowed:
            raise Rejection(
                413, f"The images have {total} pixels: send at most {allowed} at a time."
            )

    def _rejection(self, located: list[tuple[Any, Any, int | None, ErrorDetails]]) -> Rejection:
        details = [
            _detail(row, name, index, _problem(problem), self.fields.get(name), problem["input"])
            for row, name, index, problem in located[:SHOWN_PROBLEMS]
        ]
        return Rejection(422, self._sentence(details, len(located)), details)

    def _sentence(self, details: Sequence[Mapping[str, Any]], count: int = 1) -> str:
        first, count = details[0], max(count, len(details))
        name = first["field"]
        subject = "an instance" if name is None else str(name)
        index = first.get("index")
        if index is not None:
            subject = f"element {index} of {subject}"
        where = f"In row {first['row']}, " if first["row"] else ""
        rest = f" Problems in all: {count}." if count > 1 else ""
        remedy = self._remedy(name, is_element=index is not None)
        return f"{where}{subject} {first['problem']}: {remedy}.{rest}"

    def _remedy(self, name: str | None, *, is_element: bool) -> str:
        field = self.fields.get(name or "")
        if field is None:
            return f"the fields are {', '.join(self.fields)}"
        return f"send {_element(field).expected if is_element else field.expected}"


def shown(value: Any) -> Any:
    """Return an invalid value, shortened: a number, the start of a string, or its type."""
    match value:
        case bool() | None | float():
            return value
        case int():
            return value if abs(value) < 2**63 else float("inf")
        case str():
            return value if len(value) <= SHOWN_CHARACTERS else f"{value[:SHOWN_CHARACTERS]}…"
        case list():
            return f"a list of {len(value)}"
        case bytes():
            return f"{len(value)} bytes"
        case _:
            return "an object"


def _errors(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_context=False)


def _located(problem: ErrorDetails) -> tuple[Any, Any, int | None, ErrorDetails]:
    row, *field = problem["loc"]
    return row, field[0] if field else None, _index(field[1:]), problem


def _index(location: Sequence[Any]) -> int | None:
    """Return the index of the list element with a problem, None for the whole value."""
    return next((part for part in location if isinstance(part, int)), None)


def _problem(problem: ErrorDetails) -> str:
    absent = problem["input"] is None and problem["type"] != "extra_forbidden"
    return "is null" if absent else _PROBLEMS.get(problem["type"], "is not allowed")


def _detail(
    row: Any, name: Any, index: int | None, problem: str, field: FieldType | None, value: Any
) -> dict[str, Any]:
    detail: dict[str, Any] = {"row": row, "field": shown(name), "problem": problem}
    if field is not None and index is not None:
        detail["index"] = index
        field = _element(field)
    detail |= {"bound": field.bound, "unit": field.unit} if field else {"bound": "", "unit": ""}
    return detail if problem == _PROBLEMS["missing"] else detail | {"input": shown(value)}


def _element(field: FieldType) -> FieldType:
    """Return the type of a list's elements, in the list's unit."""
    item = field.item
    return field if item is None else replace(item, unit=item.unit or field.unit)


def _in_row(field: FieldType, check: core_schema.CoreSchema) -> core_schema.CoreSchema:
    return core_schema.nullable_schema(check) if field.nullable else check


def _in_column(field: FieldType, check: core_schema.CoreSchema) -> core_schema.CoreSchema:
    """Return the check of a tensor's values, in which null is a missing value."""
    if field.image is not None:
        return core_schema.no_info_plain_validator_function(_file)
    return check if field.required else core_schema.nullable_schema(check)


def _check(field: FieldType) -> core_schema.CoreSchema:
    if field.item is not None:
        return core_schema.list_schema(
            _check(field.item),
            strict=True,
            min_length=field.min_length,
            max_length=field.max_length,
        )
    if field.kind in ("number", "integer"):
        return _number(field)
    if field.kind == "boolean":
        return core_schema.bool_schema(strict=True)
    if field.choices:
        return core_schema.literal_schema(list(field.choices))
    return core_schema.str_schema(
        strict=True,
        min_length=field.min_length,
        max_length=field.max_length,
        pattern=field.pattern,
    )


def _number(field: FieldType) -> core_schema.CoreSchema:
    number: core_schema.CoreSchema = core_schema.float_schema(
        strict=True,
        allow_inf_nan=False,
        ge=field.minimum,
        le=field.maximum,
        gt=field.exclusive_minimum,
        lt=field.exclusive_maximum,
    )
    if field.kind == "integer":
        # pydantic takes 1980.0 as an integer only where it takes "1980" too
        number = core_schema.no_info_after_validator_function(_whole, number)
    if field.choices:
        choices = frozenset(field.choices)

        def chosen(value: float) -> float:
            if value not in choices:
                raise PydanticCustomError("choice", "none of the choices")
            return value

        number = core_schema.no_info_after_validator_function(chosen, number)
    return number


def _file(value: Any) -> str | bytes:
    """Return the base64 string or the bytes of an image."""
    if not isinstance(value, str | bytes):
        raise PydanticCustomError("string_type", "not a string")
    return value


def _whole(value: float) -> float:
    if not value.is_integer():
        raise PydanticCustomError("whole", "not a whole number")
    return value
