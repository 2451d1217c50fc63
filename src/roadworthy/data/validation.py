"""Whether raw data keeps a model's schema; if not, which column, row and rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from roadworthy.errors import RoadworthyError

SHOWN = 10
"""How many violations are named; the rest are counted."""
_HEADER = 2  # the first row of data stands on line 2 of the file


class DataError(RoadworthyError):
    """Raw data violates the schema."""


def validate(raw: pd.DataFrame, schema: pa.DataFrameSchema) -> pd.DataFrame:
    """Return the raw data in the schema's types.

    Raises
    ------
    DataError
        It violates the schema: the first ten violations by column, row (the line of the file) and
        rule, and their count.
    """
    try:
        validated: pd.DataFrame = schema.validate(raw, lazy=True)
    except SchemaErrors as error:
        raise DataError(_sentence(error.failure_cases)) from error
    return validated


def _sentence(cases: pd.DataFrame) -> str:
    cases = cases.drop_duplicates(["column", "index", "check", "failure_case"])
    shown = [_violation(case) for case in cases.head(SHOWN).to_dict("records")]
    more = f"; and {len(cases) - SHOWN} more" if len(cases) > SHOWN else ""
    count = "1 violation" if len(cases) == 1 else f"{len(cases)} violations"
    return (
        f"The data does not keep its schema, {count}: {'; '.join(shown)}{more}. "
        f"Mend the data, or change the schema with the model."
    )


def _violation(case: Mapping[Any, Any]) -> str:
    rule, value, index = str(case["check"]), case["failure_case"], case["index"]
    if rule == "column_in_dataframe":
        return f"column {value} is missing"
    if rule == "column_in_schema":
        return f"column {value} is not in the schema"
    where = "" if pd.isna(index) else f" line {int(index) + _HEADER}:"
    return f"column {case['column']}{where} {value!r} breaks {rule}"
