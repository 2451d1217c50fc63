"""The fields of requests and answers: numbers with bounds and a unit, and what is left out."""

import math
from typing import Any

from pydantic import Field


def number(lowest: float | None, highest: float | None, unit: str, description: str) -> Any:
    """Return the field of a finite number with its unit and bounds; None is no bound."""
    return Field(
        ge=lowest,
        le=highest,
        description=description,
        allow_inf_nan=False,
        json_schema_extra={"unit": unit},
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
