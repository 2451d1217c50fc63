"""A device's series, its prepared days, and every candidate fitted to them."""

import pytest

from roadworthy.models import outliers
from roadworthy.models.outliers import device, table


@pytest.fixture(scope="session")
def raw(tmp_path_factory):
    path = tmp_path_factory.mktemp("device") / "series.csv"
    device.series(days=70, seed=0).to_csv(path, index=False)
    return outliers.schema.validate(table.read(path))


@pytest.fixture(scope="session")
def days(raw):
    """The days to train on, and those held out."""
    return outliers.split(outliers.prepare(raw).frame)


@pytest.fixture(scope="session")
def fitted(days):
    """The fitted detectors by the candidate's name."""
    return {one.name: outliers.train(one, days.train) for one in outliers.candidates}
