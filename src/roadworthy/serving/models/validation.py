"""Checks requests against the JSON schema that a bundle carries, once compiled for each bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic_core import (
    ErrorDetails,
    PydanticCustomError,
    SchemaValidator,
    ValidationError,
    core_schema,
)

from roadworthy.bundles.bundle import BundleError
from roadworthy.serving.models.rejection import Rejection

Row = Mapping[str, Any]
Kind = Literal["number", "integer", "string"]

SHOWN_PROBLEMS = 100
"""How many problems an answer lists; its sentence counts the rest."""
SHOWN_CHARACTERS = 100
"""How much of a word that was sent an answer repeats."""

_PROBLEMS = {
    "missing": "is missing",
    "extra_forbidden": "is not a field of a request",
    "float_type": "is not a number",
    "finite_number": "is not a finite number",
    "whole": "is not a whole number",
    "greater_than": "is out of range",
    "greater_than_equal": "is out of range",
    "less_than": "is out of range",
    "less_than_equal": "is out of range",
    "string_type": "is not a word",
    "literal_error": "is none of the choices",
    "dict_type": "is not an object",
}


@dataclass(frozen=True)
class Field:
    """One field of a request, as its JSON schema has it.

    Attributes
    ----------
    bound
        What is allowed, in words, e.g. ``700 to 2400``.
    unit
        The unit of a number, or an empty word.
    """

    name: str
    kind: Kind
    required: bool
    bound: str
    unit: str
    check: core_schema.CoreSchema

    @property
    def demand(self) -> str:
        """What to send, e.g. ``700 to 2400 kg``."""
        shown = self.kind != "string" and self.unit not in ("", self.name)
        return f"{self.bound} {self.unit}" if shown else self.bound


class RequestSchema:
    """The checks of one request.

    Parameters
    ----------
    schema
        The JSON schema of an object whose properties are numbers, whole numbers or words.

    Raises
    ------
    BundleError
        The schema holds what this server cannot check.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        required = set(schema.get("required", ()))
        self.fields = {
            name: _field(name, _resolved(schema, part), required=name in required)
            for name, part in sorted(
                schema["properties"].items(), key=lambda item: item[0] not in required
            )
        }
        row = core_schema.typed_dict_schema(
            {
                name: core_schema.typed_dict_field(field.check, required=field.required)
                for name, field in self.fields.items()
            },
            extra_behavior="forbid",
            strict=True,
        )
        self._rows = SchemaValidator(core_schema.list_schema(row, strict=True))
        self._columns = {
            name: SchemaValidator(core_schema.list_schema(field.check, strict=True))
            for name, field in self.fields.items()
        }

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
            problems = _errors(error)
            raise self._rejection([_located(problem) for problem in problems]) from None
        return checked

    def column(self, name: str, values: list[Any]) -> list[Any]:
        """Return the values of one field with every number as a float.

        Raises
        ------
        Rejection
            422, with a detail for each problem.
        """
        try:
            checked: list[Any] = self._columns[name].validate_python(values)
        except ValidationError as error:
            problems = _errors(error)
            raise self._rejection([(p["loc"][0], name, p) for p in problems]) from None
        return checked

    def missing(self, names: Sequence[str]) -> None:
        """Refuse a request that leaves out what it must say.

        Raises
        ------
        Rejection
            422, with a detail for each field of ``names`` that is needed.
        """
        details = [
            _detail(None, name, _PROBLEMS["missing"], self.fields[name], None)
            for name in names
            if self.fields[name].required
        ]
        if details:
            raise Rejection(422, self._sentence(details), details)

    def unknown(self, name: str) -> Rejection:
        """Return the refusal of a field that there is not."""
        details = [_detail(None, name, _PROBLEMS["extra_forbidden"], None, None)]
        return Rejection(422, self._sentence(details), details)

    def refusal(self, row: int | None, name: str, problem: str, value: Any) -> Rejection:
        """Return the refusal of one value of a field, 422."""
        details = [_detail(row, name, problem, self.fields[name], value)]
        return Rejection(422, self._sentence(details), details)

    def _rejection(self, located: list[tuple[Any, Any, ErrorDetails]]) -> Rejection:
        details = [
            _detail(row, name, _problem(problem), self.fields.get(name), problem["input"])
            for row, name, problem in located[:SHOWN_PROBLEMS]
        ]
        return Rejection(422, self._sentence(details, len(located)), details)

    def _sentence(self, details: Sequence[Mapping[str, Any]], count: int = 1) -> str:
        first, count = details[0], max(count, len(details))
        name = first["field"]
        subject = "an instance" if name is None else str(name)
        where = f"In row {first['row']}, " if first["row"] else ""
        rest = f" Problems in all: {count}." if count > 1 else ""
        return f"{where}{subject} {first['problem']}: {self._remedy(name)}.{rest}"

    def _remedy(self, name: str | None) -> str:
        if name in self.fields:
            return f"send {self.fields[name].demand}"
        return f"the fields are {_listed(list(self.fields))}"


def shown(value: Any) -> Any:
    """Return what was sent, cut short: a number, the start of a word, or the kind of thing."""
    match value:
        case bool() | None | float():
            return value
        case int():
            return value if abs(value) < 2**63 else float("inf")
        case str():
            return value if len(value) <= SHOWN_CHARACTERS else f"{value[:SHOWN_CHARACTERS]}…"
        case list():
            return f"a list of {len(value)}"
        case _:
            return "an object"


def _errors(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_context=False)


def _located(problem: ErrorDetails) -> tuple[Any, Any, ErrorDetails]:
    row, *field = problem["loc"]
    return row, field[0] if field else None, problem


def _problem(problem: ErrorDetails) -> str:
    absent = problem["input"] is None and problem["type"] != "extra_forbidden"
    return "is null" if absent else _PROBLEMS.get(problem["type"], "is not allowed")


def _detail(row: Any, name: Any, problem: str, field: Field | None, value: Any) -> dict[str, Any]:
    cut = shown(name)
    detail: dict[str, Any] = {"row": row, "field": cut, "problem": problem}
    detail |= {"bound": field.bound, "unit": field.unit} if field else {"bound": "", "unit": ""}
    return detail if problem == _PROBLEMS["missing"] else detail | {"input": shown(value)}


def _resolved(schema: Mapping[str, Any], part: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = part.get("$ref", "")
    definitions: Mapping[str, Any] = schema.get("$defs", {})
    found: Mapping[str, Any] = definitions.get(reference.removeprefix("#/$defs/"), {})
    return {**found, **part}


def _field(name: str, part: Mapping[str, Any], *, required: bool) -> Field:
    kind = part.get("type")
    unit = str(part.get("unit", ""))
    if kind in ("number", "integer"):
        return Field(name, kind, required, _range(part, kind), unit, _number(part, kind))
    if kind == "string":
        choices = part.get("enum")
        check = core_schema.literal_schema(list(choices)) if choices else _word(part)
        bound = f"one of {_listed(choices)}" if choices else "a word"
        return Field(name, "string", required, bound, unit, check)
    raise BundleError(
        f"The bundle's request has the field {name} of type {kind!r}, which no server can check. "
        f"Make it a number, an integer or a string in the model's Request."
    )


def _number(part: Mapping[str, Any], kind: Kind) -> core_schema.CoreSchema:
    number = core_schema.float_schema(
        strict=True,
        allow_inf_nan=False,
        ge=part.get("minimum"),
        le=part.get("maximum"),
        gt=part.get("exclusiveMinimum"),
        lt=part.get("exclusiveMaximum"),
    )
    if kind == "number":
        return number
    # 1980.0 is a whole number to JSON, and to pydantic only when it would take "1980" as well
    return core_schema.no_info_after_validator_function(_whole, number)


def _whole(value: float) -> float:
    if not value.is_integer():
        raise PydanticCustomError("whole", "not a whole number")
    return value


def _word(part: Mapping[str, Any]) -> core_schema.CoreSchema:
    return core_schema.str_schema(
        strict=True,
        min_length=part.get("minLength"),
        max_length=part.get("maxLength"),
        pattern=part.get("pattern"),
    )


def _range(part: Mapping[str, Any], kind: Kind) -> str:
    lowest, highest = part.get("minimum"), part.get("maximum")
    above, below = part.get("exclusiveMinimum"), part.get("exclusiveMaximum")
    if lowest is not None and highest is not None:
        return f"{lowest:.15g} to {highest:.15g}"
    ends = [
        f"{word} {end:.15g}"
        for word, end in (
            ("at least", lowest),
            ("more than", above),
            ("at most", highest),
            ("less than", below),
        )
        if end is not None
    ]
    return " and ".join(ends) or ("a whole number" if kind == "integer" else "a number")


def _listed(words: Sequence[str]) -> str:
    return ", ".join(map(str, words))
