"""What the steps before a step leave for it."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from roadworthy.bundles import bundle
from roadworthy.core.settings import Settings
from roadworthy.routing import routes
from roadworthy.steps import training
from roadworthy.steps.recording import Attempt
from roadworthy.steps.release import challenge, release
from roadworthy.tracking.registry import Registry
from tests.conftest import SAMPLE

SOURCE = {"commit": "c1", "data_hash": "d1", "fingerprint": "fingerprint-1"}
VERDICT = {"passed": True, "reasons": [], "checks": [{"name": "r2", "passed": True, "value": 0.87}]}


@dataclass
class Registered:
    """A registry, what training left, and how the bundle is registered."""

    settings: Settings
    registry: Registry
    trained: Path
    packed: Path

    @property
    def runs(self):
        """The MLflow runs, by candidate."""
        client = MlflowClient(self.settings.mlflow_tracking_uri)
        found = client.search_runs([client.get_experiment_by_name("fuel").experiment_id])
        return {run.data.tags["candidate"]: run for run in found}

    def attempt(self, run="run-1", verdict=VERDICT):
        return Attempt("fuel", self.trained, verdict, SOURCE, "manual", run)

    def again(self, packed=None, run="run-1"):
        return challenge(self.settings, self.attempt(run), bundle.read(packed or self.packed))

    def release(self):
        return release(self.settings, self.attempt(), packed=self.packed)

    def tags(self, number=1):
        return dict(self.registry.version("fuel", number).tags)

    def aliases(self, number=1):
        return self.registry.version("fuel", number).aliases


@pytest.fixture
def candidate(released_from, packed, tmp_path) -> Registered:
    """A candidate that was trained, and is not registered."""
    tried = {
        "polynomial": training.Tried({"degree": 2}, {"cv_r2": 0.85}),
        "support_vectors": training.Tried({"C": 1.0}, {"cv_r2": 0.89}),
    }
    trained = tmp_path / "trained"
    figures = {"polynomial": {"fit": b"\x89PNG"}, "support_vectors": {}}
    found = training.Training("support_vectors", {"cv_r2": 0.89}, tried)
    training.write(trained, "estimator", found, figures)
    registry = Registry(released_from.mlflow_tracking_uri, released_from.mlflow_artifacts)
    return Registered(released_from, registry, trained, packed.path)


@pytest.fixture
def registered(candidate) -> Registered:
    """Version 1, the challenger."""
    candidate.again()
    return candidate


@pytest.fixture
def live(served_home, candidate):
    """Version 1 registered in a home that a real server watches."""
    settings = candidate.settings.model_copy(
        update={"home": served_home.home, "serving_url": served_home.serving_url}
    )
    made = replace(candidate, settings=settings)
    made.again()
    yield made
    routes.write(served_home.routing, routes.Routing("fuel"))
    shutil.rmtree(served_home.home / "rollouts")


@pytest.fixture(scope="session")
def rows(halves, tmp_path_factory) -> Path:
    """A directory with the Parquet files of the rows to train on and of the hold-out."""
    directory = tmp_path_factory.mktemp("rows")
    halves.train.to_parquet(directory / "train", index=False)
    halves.test.to_parquet(directory / "test", index=False)
    return directory


@pytest.fixture
def raw_file(tmp_path) -> Path:
    """A copy of the sample data."""
    return Path(shutil.copyfile(SAMPLE, tmp_path / "raw"))
