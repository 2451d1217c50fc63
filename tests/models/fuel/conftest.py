"""Every candidate, fitted and validated once for all tests."""

import pytest

from roadworthy.models import fuel
from roadworthy.training.selection import choose


@pytest.fixture(scope="session")
def fitted(halves):
    """The fitted estimators by the candidate's name."""
    return {candidate.name: fuel.train(candidate, halves.train) for candidate in fuel.candidates}


@pytest.fixture(scope="session")
def validations(halves):
    return {
        candidate.name: fuel.cross_validate(candidate, halves.train)
        for candidate in fuel.candidates
    }


@pytest.fixture(scope="session")
def best(validations):
    """The candidate that training chooses."""
    name = choose(validations, fuel.criteria)
    return next(candidate for candidate in fuel.candidates if candidate.name == name)


@pytest.fixture(scope="session")
def chosen(fitted, best):
    """The fitted estimator that goes to the gate."""
    return fitted[best.name]
