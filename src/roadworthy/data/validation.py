"""Validate raw data against a model's schema, and name the column, row and rule it violates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from roadworthy.core.errors import RoadworthyError
from roadworthy.models.contract import Model

SHOWN = 10
"""How many violations are named; the rest are counted."""
_HEADER = 2  # the first row of data stands on line 2 of the file
_COERCION = "coerce_dtype"


class DataError(RoadworthyError):
    """Raw data violates the schema."""


def read(model: Model, file: Path) -> pd.DataFrame:
    """Return the raw data of a file, as the model reads it.

    Raises
    ------
    DataError
        The file is not of the model's format.
    """
    try:
        return model.dataset.read(file)
    except (ValueError, OSError) as error:  # pandas' own errors are ValueErrors
        raise DataError(
            f"The data cannot be read ({str(error).strip()}). "
            f"Correct the file that its .dvc file names, and add and push it again."
        ) from error


def validate(raw: pd.DataFrame, schema: pa.DataFrameSchema) -> pd.DataFrame:
    """Return the raw data in the schema's types.

    Raises
    ------
    DataError
        It has no rows, or violates the schema: the first ten violations by column, row (the line
        of the file) and rule, and their count.
    """
    try:
        validated: pd.DataFrame = schema.validate(raw, lazy=True)
    except SchemaErrors as error:
        raise DataError(_sentence(_all_cases(raw, schema, error.failure_cases))) from error
    if validated.empty:
        raise DataError("The data has no rows. Check the file that its .dvc file names.")
    return validated


def _all_cases(
    raw: pd.DataFrame, schema: pa.DataFrameSchema, cases: pd.DataFrame
) -> list[dict[Any, Any]]:
    """Return each violation once: what concerns whole columns first, then line by line.

    A value of the wrong type prevents the checks of its column, so the column is checked again
    without it.
    """
    coercion = cases["check"].astype(str).str.startswith(_COERCION)
    wrong = cases[coercion & cases["index"].notna()]
    follows = cases["column"].isin(wrong["column"]) & ~coercion
    parts = [cases[~follows]]
    for column, found in wrong.groupby("column"):
        rest = raw[[column]].drop(index=list(found["index"]))
        parts.append(_column_cases(rest, schema.columns[str(column)]))
    every = pd.concat([part.astype(object) for part in parts if len(part)])
    every = every.drop_duplicates(["column", "index", "check"])
    rows: list[dict[Any, Any]] = every.to_dict("records")
    order = list(schema.columns)
    return sorted(rows, key=lambda case: _position(case, order))


def _column_cases(values: pd.DataFrame, column: pa.Column) -> pd.DataFrame:
    try:
        pa.DataFrameSchema({column.name: column}, coerce=True).validate(values, lazy=True)
    except SchemaErrors as error:
        cases: pd.DataFrame = error.failure_cases
        return cases
    return pd.DataFrame()


def _position(case: Mapping[Any, Any], order: list[str]) -> tuple[int, int]:
    line = _line(case["index"])
    column = case["column"]
    return (-1 if line is None else line), (order.index(column) if column in order else -1)


def _sentence(cases: list[dict[Any, Any]]) -> str:
    shown = [_violation(case) for case in cases[:SHOWN]]
    more = f"; and {len(cases) - SHOWN} more" if len(cases) > SHOWN else ""
    count = "1 violation" if len(cases) == 1 else f"{len(cases)} violations"
    return (
        f"The data violates its schema, {count}: {'; '.join(shown)}{more}. "
        f"Correct the data, or change the schema with the model."
    )


def _violation(case: Mapping[Any, Any]) -> str:
    rule, value, line = str(case["check"]), case["failure_case"], _line(case["index"])
    if rule == "column_in_dataframe":
        return f"column {value} is missing"
    if rule == "column_in_schema":
        return f"column {value} is not in the schema"
    where = "" if line is None else f" line {line}:"
    # A number of numpy shows its type as well, its plain value does not.
    plain = value.item() if hasattr(value, "item") else value
    return f"column {case['column']}{where} {plain!r} breaks {rule}"


def _line(index: Any) -> int | None:
    """Return the line of the file of a row; none where a violation concerns a whole column."""
    return None if pd.isna(index) else int(index) + _HEADER
