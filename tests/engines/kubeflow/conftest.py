"""A package of the pipeline that is committed, and the way to the stand-in of Kubeflow."""

from pathlib import Path

import pytest

from roadworthy.engines.kubeflow.connection import Connection
from roadworthy.engines.kubeflow.packaging import Package
from roadworthy.engines.kubeflow.settings import KubeflowSettings

COMMIT = "4f0c" * 10


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch):
    import os

    for name in [name for name in os.environ if name.startswith("ROADWORTHY_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def kubeflow(kfp_api):
    """The settings of somebody who is let in."""
    return KubeflowSettings(url=kfp_api.url, poll_seconds=0.01, outage_seconds=20)


@pytest.fixture
def connection(kubeflow):
    return Connection(kubeflow)


@pytest.fixture(scope="session")
def package(root: Path) -> Package:
    content = (root / "pipelines" / "fuel.yaml").read_bytes()
    return Package("fuel", COMMIT, f"registry.example/pipeline:{COMMIT}", content)
