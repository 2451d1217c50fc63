"""The sample of daily prices and what is made of it."""

from pathlib import Path

import pandas as pd
import pytest

from roadworthy.models import direction
from roadworthy.models.contract import Split


@pytest.fixture(scope="session")
def prices(root: Path) -> pd.DataFrame:
    """The sample: raw daily prices, validated."""
    return direction.schema.validate(direction.read(root / "data" / "direction.csv"))


@pytest.fixture(scope="session")
def days(prices: pd.DataFrame) -> pd.DataFrame:
    return direction.prepare(prices).frame


@pytest.fixture(scope="session")
def parts(days: pd.DataFrame) -> Split:
    """The latest four years only, so that a test is quick."""
    return direction.split(days.tail(1000).reset_index(drop=True))
