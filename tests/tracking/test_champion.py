"""The champion is found without MLflow's client where its tables are as they are known."""

import pytest

from roadworthy.tracking.champion import champion
from roadworthy.tracking.registry import Registry
from tests.candidate import CANDIDATE
from tests.loading import loaded_by


@pytest.fixture
def registry(settings):
    return Registry.of(settings)


def release(registry, digest, **tags):
    run = registry.log_candidate("fuel", **CANDIDATE)
    version = registry.register("fuel", run_id=run, digest=digest, tags=tags)
    registry.set_alias(version, "champion")


def test_it_is_the_version_that_the_alias_names(settings, registry):
    assert champion(settings, "fuel")[:2] == (0, "")
    release(registry, "a")
    assert champion(settings, "fuel")[:2] == (1, "")
    release(registry, "b", recipe="r")  # as the release before called it
    assert champion(settings, "fuel")[:2] == (2, "r")
    release(registry, "c", source_fingerprint="f", commit="c1")
    assert champion(settings, "fuel") == (3, "f", "c1")
    assert champion(settings, "boats") == (0, "", "")


def test_mlflow_is_not_imported(settings, registry):
    loaded = loaded_by(
        "from roadworthy.core.settings import Settings; "
        "from roadworthy.tracking.champion import champion; "
        f"champion(Settings(mlflow_tracking_uri={settings.mlflow_tracking_uri!r}), 'fuel')"
    )
    assert "mlflow" not in loaded
