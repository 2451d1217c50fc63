"""The API server reads each pod's metrics; what each series grew by is summed by version."""

import itertools
import os
import re
import socket
import subprocess
import sys

import httpx
import pytest
from kubernetes import config
from kubernetes.client import CoreV1Api

from roadworthy.rollout.engine.analysis import Bounds, analyse
from roadworthy.rollout.kserve.cluster import Cluster, ClusterError
from roadworthy.rollout.kserve.inference_service import SERVICE_LABEL, VERSION_LABEL
from roadworthy.rollout.kserve.pod_stats import PodStats
from tests.ports import free_port

TOKEN = "a-token"


@pytest.fixture(scope="module")
def address():
    """This machine's address in its network: the API server asks no pod at a loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        try:
            nobody.connect(("198.51.100.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return nobody.getsockname()[0]


class Pods:
    """Pods of the API server, each with a real model server behind its address."""

    def __init__(self, api, namespace, address, directory):
        self._core = CoreV1Api(api)
        self._namespace = namespace
        self._address = address
        self._directory = directory
        self._servers = {}
        self._ports = {}
        self._restarts = {}

    def start(self, name, bundle, version, *, metrics=True):
        """Add a pod that is ready, or restart its container."""
        port = self._ports.setdefault(name, free_port())
        options = ["--bundle", str(bundle.path), "--version", str(version), "--port", "0"]
        options += ["--host", self._address, *([f"--metrics-port={port}"] if metrics else [])]
        with (self._directory / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "roadworthy.serving", *options],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "ROADWORTHY_TOKEN": TOKEN},
            )
        found = re.search(r"http://\S+:\d+", process.stdout.readline())
        assert found, (self._directory / f"{name}.log").read_text()
        self._servers[name] = process, found[0]
        self._write(
            name, version, options if metrics else [f"--metrics-port={httpx.URL(found[0]).port}"]
        )

    def _write(self, name, version, arguments):
        labels = {SERVICE_LABEL: "fuel", VERSION_LABEL: str(version)}
        container = {"name": "kserve-container", "image": "none", "args": arguments}
        restarts = self._restarts[name] = self._restarts.get(name, -1) + 1
        if restarts == 0:
            spec = {"automountServiceAccountToken": False, "containers": [container]}
            body = {"metadata": {"name": name, "labels": labels}, "spec": spec}
            self._core.create_namespaced_pod(self._namespace, body)
        state = {"name": "kserve-container", "image": "", "imageID": "", "ready": True}
        status = {
            "podIP": self._address,
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{**state, "restartCount": restarts}],
        }
        self._core.patch_namespaced_pod_status(name, self._namespace, {"status": status})

    def ask(self, name, bundle, times):
        url = f"{self._servers[name][1]}/v1/models/fuel:predict"
        head = {"authorization": f"Bearer {TOKEN}"}
        for request in itertools.islice(itertools.cycle(bundle.golden.requests), times):
            body = {"instances": [request]}
            httpx.post(url, json=body, headers=head, trust_env=False).raise_for_status()

    def stop(self, name):
        process, _ = self._servers.pop(name)
        process.terminate()
        process.wait(20)

    def delete(self, name):
        self.stop(name)
        self._core.delete_namespaced_pod(name, self._namespace, grace_period_seconds=0)

    def close(self):
        for name in [*self._servers]:
            self.stop(name)


@pytest.fixture
def place(kube, address, tmp_path):
    api = config.new_client_from_config(str(kube.kubeconfig))
    api.configuration.retries = False
    namespace = kube.namespace()
    pods = Pods(api, namespace, address, tmp_path)
    yield pods, PodStats(Cluster(api, namespace, 5.0), "fuel")
    pods.close()


def test_pods_that_come_restart_and_go_are_all_counted(place, packed, simple):
    # given two versions behind a token, of which one has two pods
    pods, stats = place
    pods.start("a", simple, 1)
    pods.start("b", packed, 2)
    pods.start("c", packed, 2)
    pods.ask("a", simple, 5)
    before = stats.count(1, 2)

    # when clients ask them all, one is restarted, one is deleted and one comes
    for name, bundle, times in (("a", simple, 25), ("b", packed, 13), ("c", packed, 11)):
        pods.ask(name, bundle, times)
    stats.count(1, 2)
    pods.stop("b")
    pods.start("b", packed, 2)
    pods.ask("b", packed, 20)  # more than before: the count of restarts tells that it is new
    pods.delete("c")
    pods.start("d", packed, 2)
    pods.ask("d", packed, 7)
    grown = stats.count(1, 2).since(before)

    # then each request is counted once, with its time, and analysed
    assert (grown.requests, grown.failures, grown.champion_requests) == (51, 0, 25)
    assert (grown.seconds[float("inf")], grown.champion_seconds[float("inf")]) == (51, 25)
    metrics = {one.name: one for one in analyse(grown, grown, Bounds()).metrics}
    assert metrics["error_rate"].conclusive
    assert metrics["p99_ms"].value > 0
    assert metrics["psi"].value is not None


def test_a_pod_that_keeps_its_metrics_behind_the_token_is_named(place, packed):
    pods, stats = place
    pods.start("a", packed, 1, metrics=False)

    with pytest.raises(ClusterError, match=r"port \d+ of the pod a \(401: "):
        stats.count(1, 2)
