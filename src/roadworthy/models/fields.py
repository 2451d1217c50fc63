"""The fields of requests and answers: numbers with bounds and a unit, and what is left out."""

import math
from typing import Any

from pydantic import Field


def number(
    lowest: float | None, highest: float | None, unit: str, description: str, **extra: Any
) -> Any:
    """Return the field of a finite number with its unit and bounds; None is no bound.

    ``extra`` goes into the field's schema, e.g. ``title="Model year"`` for the label on the page,
    or ``units=[{"unit": "lb", "factor": 0.45359237}]`` for other units that the page offers: a
    value in one times its factor is the value in ``unit``.
    """
    return Field(
        ge=lowest,
        le=highest,
        description=description,
        allow_inf_nan=False,
        json_schema_extra={"unit": unit, **extra},
    )


def no_number() -> Any:
    """Return what stands for a number that is left out: not a number."""
    return math.nan


def no_word() -> Any:
    """Return what stands for a word that is left out: an empty one."""
    return ""


def unchanged(value: object) -> object:
    """Let what was left out pass: not a number is no int, and pydantic would warn of it."""
    return value
