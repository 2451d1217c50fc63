"""How KServe serves is told by the InferenceService, then by its status, then by the settings."""

import pytest
from kubernetes import config

from roadworthy.core.settings import Settings
from roadworthy.rollout.engine.state import RolloutError
from roadworthy.rollout.kserve.cluster import Cluster
from roadworthy.rollout.kserve.inference_service import API_VERSION, KIND, MODE
from roadworthy.rollout.kserve.kserve_settings import KServeSettings
from roadworthy.rollout.kserve.watcher import Watcher
from tests.rollout.controller import MODEL, Controller, configure

NAMES = [
    ("Knative", "Knative"),
    ("Serverless", "Knative"),
    ("Standard", "Standard"),
    ("RawDeployment", "Standard"),
]
OTHER = {"Knative": "Standard", "Standard": "Knative"}


@pytest.fixture(scope="module")
def api(kube):
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kserve"}})
    return config.new_client_from_config(str(kube.kubeconfig))


@pytest.fixture
def mode(api, kube, tmp_path):
    """Return the mode of an InferenceService that tells it in none, one or two places."""
    namespace = kube.namespace()
    cluster = Cluster(api, namespace, 5)
    watcher = Watcher(Settings(home=tmp_path), KServeSettings(namespace=namespace), cluster)
    controller = Controller(api, namespace, None, "")

    def found(*, annotation="", status="", default):
        configure(api, default)
        metadata = {"name": MODEL, "annotations": {MODE: annotation} if annotation else {}}
        made = {"metadata": metadata, "spec": {"predictor": {}}}
        cluster.apply_service({"apiVersion": API_VERSION, "kind": KIND, **made}, force=True)
        if status:
            told = {"status": {"deploymentMode": status}}
            controller.ask("PATCH", f"{controller.path}/status", told)
        return watcher.mode(watcher.live(MODEL))

    return found


@pytest.mark.parametrize(("told", "means"), NAMES)
def test_the_annotation_counts_more_than_status_and_default(mode, told, means):
    other = OTHER[means]

    assert mode(annotation=told, status=other, default=other) == means


@pytest.mark.parametrize("place", ["annotation", "status"])
def test_a_mode_that_splits_no_traffic_is_refused_whatever_the_default(mode, place):
    with pytest.raises(RolloutError, match="mode ModelMesh cannot split traffic"):
        mode(**{place: "ModelMesh"}, default="Standard")
