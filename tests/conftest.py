"""What all tests share: the project's root, its data, and what to do without a program."""

import os
import shutil
from pathlib import Path

import hypothesis
import pandas as pd
import pytest

from roadworthy.models import fuel
from roadworthy.models.contract import Split

ROOT = Path(__file__).parents[1]

# A busy machine is slow; that is no failure.
hypothesis.settings.register_profile("roadworthy", deadline=None)
hypothesis.settings.load_profile("roadworthy")


class Requires:
    """Skips a test that needs what is not installed; with REQUIRE_ALL=1 fails it."""

    def program(self, name: str, remedy: str) -> str:
        """Return the path of a program."""
        found = shutil.which(name)
        if found is None:
            self._missing(f"{name} is not installed: {remedy}")
        return str(found)

    def variable(self, name: str, remedy: str) -> str:
        """Return the value of an environment variable."""
        if name not in os.environ:
            self._missing(f"{name} is not set: {remedy}")
        return os.environ[name]

    def _missing(self, sentence: str) -> None:
        if os.environ.get("REQUIRE_ALL") == "1":
            pytest.fail(sentence)
        pytest.skip(sentence)


@pytest.fixture(scope="session")
def requires() -> Requires:
    return Requires()


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def raw(root: Path) -> pd.DataFrame:
    return fuel.read(root / "data.csv")


@pytest.fixture(scope="session")
def cars(raw: pd.DataFrame) -> pd.DataFrame:
    return fuel.prepare(fuel.schema.validate(raw)).frame


@pytest.fixture(scope="session")
def halves(cars: pd.DataFrame) -> Split:
    return fuel.split(cars)
