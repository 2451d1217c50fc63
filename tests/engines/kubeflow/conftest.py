"""A package of the pipeline that is committed, and the client of the stand-in of Kubeflow."""

import os
from pathlib import Path

import pytest

from roadworthy.engines.kubeflow.client import Client
from roadworthy.engines.kubeflow.packaging import Package
from roadworthy.engines.kubeflow.settings import KubeflowSettings

COMMIT = "4f0c" * 10


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch):
    for name in [name for name in os.environ if name.startswith("ROADWORTHY_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def connect(kfp_api):
    """Make a client, with other settings than the defaults."""

    def make(**chosen):
        waits = {"poll_seconds": 0.01, "outage_seconds": 20} | chosen
        return Client(KubeflowSettings(url=kfp_api.url, **waits))

    return make


@pytest.fixture
def client(connect):
    return connect()


@pytest.fixture(scope="session")
def package(root: Path) -> Package:
    content = (root / "pipelines" / "fuel.yaml").read_bytes()
    return Package("fuel", COMMIT, f"registry.example/pipeline:{COMMIT}", content)
