"""Examine the raw data."""

from __future__ import annotations

from pathlib import Path

from roadworthy.data import validation
from roadworthy.models import contract


def validate(model: str, raw: Path, *, target: Path) -> int:
    """Write the raw data in the schema's types as a Parquet file; return the number of rows.

    Raises
    ------
    DataError
        It does not keep the schema.
    """
    chosen = contract.load(model)
    validated = validation.validate(validation.read(chosen, raw), chosen.schema)
    target.parent.mkdir(parents=True, exist_ok=True)
    validated.to_parquet(target, index=False)
    return len(validated)
