"""Examine the raw data."""

from __future__ import annotations

from pathlib import Path

from roadworthy.data import validation
from roadworthy.models import contract


def validate(model: str, raw: Path) -> int:
    """Return the number of rows, all of which keep the model's schema."""
    chosen = contract.load(model)
    return len(validation.validate(validation.read(chosen, raw), chosen.schema))
