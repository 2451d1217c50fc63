"""Examine the raw data."""

from __future__ import annotations

from pathlib import Path

from roadworthy.data import validation
from roadworthy.models import contract


def validate(model: str, raw: Path, *, target: Path) -> int:
    """Write the raw data in the schema's types; return the number of rows.

    Raises
    ------
    DataError
        It violates the schema.
    """
    chosen = contract.load(model)
    validated = validation.validate(validation.read(chosen, raw), chosen.schema)
    chosen.dataset.write(validated, target)
    return chosen.dataset.count(validated)
