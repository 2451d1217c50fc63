"""A person rolls out, steers and rolls back on a cluster by the same commands as on one machine."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from kubernetes.client import ApiClient, Configuration
from kubernetes.config import load_kube_config
from typer.testing import CliRunner

from roadworthy.bundles.bundle import Bundle
from roadworthy.cli import main
from roadworthy.core.errors import ExitCode
from roadworthy.core.settings import Settings
from roadworthy.rollout.actions.targets import target
from roadworthy.rollout.engine import starting
from roadworthy.rollout.engine.lease import ConflictError
from roadworthy.rollout.engine.state import RolledBackError, RolloutError
from roadworthy.rollout.local import placement
from roadworthy.steps.canary import canary
from roadworthy.steps.promote import promote
from roadworthy.steps.stage import stage as load
from roadworthy.tracking.registry import Registry
from tests.rollout.controller import Controller, Gateway, Servers

PATIENCE_SECONDS = 240
CONFIG = """
apiVersion: v1
kind: Namespace
metadata: {name: kserve}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: inferenceservice-config, namespace: kserve}
data:
  deploy: '{"defaultDeploymentMode": "MODE"}'
  ingress: '{"enableGatewayApi": true}'
"""
RUNTIME = """
apiVersion: serving.kserve.io/v1alpha1
kind: ServingRuntime
metadata: {name: roadworthy}
spec:
  supportedModelFormats: [{name: roadworthy, version: "1"}]
  containers: [{name: kserve-container, image: roadworthy/serving:none}]
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    servers = Servers(tmp_path_factory.mktemp("servers"))
    made = Gateway(servers)
    yield made
    made.stop()
    servers.stop()


@dataclass
class Place:
    """A person's shell, from which a cluster is reached."""

    settings: Settings
    controller: Controller
    runner: CliRunner

    @property
    def registry(self) -> Registry:
        return Registry.of(self.settings)

    def release(self, number: int, made: Bundle) -> None:
        """Put a version into the registry, and its bundle where a release of it would be found."""
        registry = self.registry
        run = registry.log_candidate(
            "fuel", name=made.digest, made_of="r", parameters={}, metrics={}, tags={}, figures={}
        )
        assert registry.register("fuel", run_id=run, digest=made.digest, tags={}).number == number
        placement.place(self.settings, made, number)

    def run(self, *arguments: str):
        return self.runner.invoke(main.app, arguments)

    def done(self, *arguments: str) -> str:
        """Run a command that goes well."""
        found = self.run(*arguments)
        assert found.exit_code == 0, (found.output, found.exception)
        return found.output

    def status(self) -> dict:
        return json.loads(self.run("status", "fuel", "--json").output)[0]

    def champion(self) -> int:
        found = self.registry.aliased("fuel", "champion")
        return found.number if found else 0

    @contextmanager
    def started(self, *arguments: str, **variables: str):
        """Run a command beside this process while the block runs."""
        process = subprocess.Popen(
            [sys.executable, "-m", "roadworthy", *arguments],
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=30)

    def wait_for(self, state: str, process: subprocess.Popen) -> None:
        """Wait until the rollout is in a state."""
        records, end = target(Settings()).records, time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end and process.poll() is None:
            found = records.read("fuel").rollout
            if found is not None and not found.ended and found.state == state:
                return
            time.sleep(0.1)
        raise AssertionError(process.stdout.read() if process.poll() is not None else state)


@pytest.fixture(params=["Standard", "Knative"])
def place(request, kube, gateway, settings, packed, simple, monkeypatch, tmp_path):
    """A cluster on which version 1 is the champion; the registry has version 2, too."""
    namespace = kube.namespace()
    # Another test may have written it under another name.
    apply = ("apply", "--server-side", "--force-conflicts", "-f", "-")
    kube.kubectl(*apply, stdin=CONFIG.replace("MODE", request.param))
    kube.kubectl("apply", "--server-side", "-n", namespace, "-f", "-", stdin=RUNTIME)
    variables = {
        "KUBECONFIG": str(kube.kubeconfig),
        "ROADWORTHY_HOME": str(settings.home),
        "ROADWORTHY_TARGET": "kserve",
        "ROADWORTHY_BUNDLE_STORE": f"file://{tmp_path / 'store'}",
        "ROADWORTHY_ACTOR": "ada",
        "ROADWORTHY_READY_SECONDS": "30",
        "ROADWORTHY_STAGE_SECONDS": "0.2",
        "ROADWORTHY_KSERVE_NAMESPACE": namespace,
        "ROADWORTHY_KSERVE_ENDPOINT": gateway.url,
        "ROADWORTHY_KSERVE_VERSION_ENDPOINT": gateway.url,
        "ROADWORTHY_KSERVE_POLL_SECONDS": "0.05",
        "ROADWORTHY_KSERVE_PATIENCE_SECONDS": "2",
        "GIT_CEILING_DIRECTORIES": str(tmp_path.parent),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KUBECONFIG", str(kube.kubeconfig))
    monkeypatch.chdir(tmp_path)
    made = Configuration()
    load_kube_config(str(kube.kubeconfig), client_configuration=made)
    with ApiClient(made) as api:
        controller = Controller(api, namespace, gateway, request.param)
        with controller.running():
            shell = Place(settings, controller, CliRunner())
            shell.release(1, packed)
            shell.release(2, simple)
            shell.done("rollout", "start", "fuel:1")
            yield shell


def test_a_user_steers_a_rollout_and_takes_it_back(place):
    # given a first release
    assert place.champion() == 1
    found = place.status()
    assert (found["champion"], found["challenger"], found["ready"]) == (1, 0, True)
    assert (found["problem"], found["rollout"]) == ("", None)

    # when another one is under way
    slow = {"ROADWORTHY_STAGE_SECONDS": "300"}
    with place.started("rollout", "start", "fuel:2", **slow) as first:
        place.wait_for("shifting", first)
        found = place.status()
        assert (found["champion"], found["challenger"], found["ready"]) == (1, 2, True)
        assert (found["rollout"]["version"], found["rollout"]["alive"]) == (2, True)
        # then it is paused and resumed, and a second is refused
        place.done("rollout", "pause", "fuel")
        assert place.status()["rollout"]["paused"]
        second = place.run("rollout", "start", "fuel:2")
        assert "Version 2 of fuel is being rolled out already" in str(second.exception)
        place.done("rollout", "resume", "fuel")
        assert not place.status()["rollout"]["paused"]
        # and aborted
        place.done("rollout", "abort", "fuel")
        assert first.wait(PATIENCE_SECONDS) == 4
        assert "aborted by ada" in first.stdout.read()
    found = place.status()
    assert (found["champion"], found["challenger"], found["ready"]) == (1, 0, True)
    assert place.registry.version("fuel", 2).tags["rolled_back"] == "aborted by ada"

    # when it is promoted by hand
    with place.started("rollout", "start", "fuel:2", **slow) as first:
        place.wait_for("shifting", first)
        place.done("rollout", "promote", "fuel")
        assert first.wait(PATIENCE_SECONDS) == 0, first.stdout.read()
    # then it is the champion
    assert (place.champion(), place.status()["champion"]) == (2, 2)
    assert "by hand by ada" in place.registry.version("fuel", 2).tags["promoted_why"]

    # when it is rolled back
    told = json.loads(place.done("rollback", "fuel", "--why", "too thirsty", "--json"))
    # then the one before answers, and everything says so
    assert (told["version"], told["taken_off"], told["why"]) == (1, [2], "too thirsty")
    assert told["server"] == place.status()["url"]
    assert (place.champion(), place.status()["champion"]) == (1, 1)
    assert "too thirsty" in place.registry.version("fuel", 2).tags["rolled_back"]
    assert "in place of version 2 by ada" in place.registry.version("fuel", 1).tags["restored"]
    # and there is nothing more to go back to, until one is named
    assert "Name one with --to" in str(place.run("rollback", "fuel").exception)
    assert "answers already" in str(place.run("rollback", "fuel", "--to", "1").exception)
    assert "no version 7" in str(place.run("rollback", "fuel", "--to", "7").exception)
    place.done("rollback", "fuel", "--to", "2")
    assert (place.champion(), place.status()["champion"]) == (2, 2)


def test_a_way_back_that_is_none_changes_nothing_for_long(place, kube):
    # given that the version to go back to does not come up
    place.controller.bad[2] = "image"

    failed = place.run("rollback", "fuel", "--to", "2")

    # then that is told, and what answered before goes on, for everybody to see
    assert failed.exit_code == 1
    assert "image cannot be pulled" in str(failed.exception)
    assert "still answer" in str(failed.exception)
    found = place.status()
    assert (found["champion"], found["challenger"], found["problem"]) == (1, 0, "")
    assert place.champion() == 1
    assert not place.registry.version("fuel", 1).tags.get("rolled_back")
    # and when it is mended, it is no obstacle
    place.controller.bad.clear()
    kube.kubectl("delete", "pods", "--all", "-n", place.controller.namespace)
    place.done("rollout", "start", "fuel:2")
    assert (place.champion(), place.status()["champion"]) == (2, 2)


@pytest.mark.parametrize("place", ["Standard"], indirect=True)
def test_the_steps_of_a_pipeline_take_a_version_to_the_cluster(place, simple):
    settings, registry = Settings(), place.registry
    version = registry.version("fuel", 2)
    begin = {"strategy": "blue-green", "owner": "run-1", "why": "it is new", "unique": True}
    starting.start(settings, registry, target(settings, registry), version, **begin)

    url = load(settings, packed=simple.path, version=2, owner="run-1")

    assert url == place.status()["url"]
    assert place.status()["challenger"] == 2
    # and tried again, in another pod, it is the same
    elsewhere = settings.model_copy(update={"holder": "other:1:2"})
    assert load(elsewhere, packed=simple.path, version=2, owner="run-1") == url
    with pytest.raises(ConflictError, match="was taken over"):
        load(settings, packed=simple.path, version=2, owner="run-2")
    found = canary(elsewhere, packed=simple.path, version=2, owner="run-1")
    assert found.good, found.problem
    promote(settings, "fuel", version=2, owner="run-1")
    assert (place.champion(), place.status()["champion"]) == (2, 2)


@pytest.mark.parametrize("place", ["Knative"], indirect=True)
def test_a_version_that_does_not_come_up_is_off_and_a_step_says_so_each_time(place, simple):
    place.controller.bad[2] = "crash"
    settings, registry = Settings(), place.registry
    version = registry.version("fuel", 2)
    begin = {"strategy": "canary", "owner": "run-1", "why": "it is new", "unique": True}
    starting.start(settings, registry, target(settings, registry), version, **begin)

    with pytest.raises(RolloutError, match=r"lacks model\.onnx") as first:
        load(settings, packed=simple.path, version=2, owner="run-1")
    with pytest.raises(RolledBackError, match=r"lacks model\.onnx") as second:
        load(settings, packed=simple.path, version=2, owner="run-1")

    assert {first.value.exit_code, second.value.exit_code} == {ExitCode.ROLLED_BACK}
    assert r"lacks model.onnx" in registry.version("fuel", 2).tags["rolled_back"]
    assert target(settings, registry).records.read("fuel").rollout.settled
    found = place.status()
    assert (found["champion"], found["challenger"], found["ready"]) == (1, 0, True)


@pytest.mark.parametrize("place", ["Standard"], indirect=True)
def test_what_cannot_be_reached_is_told_by_status(place, kube):
    kube.stop_api()
    try:
        lost = place.run("status", "fuel")
    finally:
        kube.start_api()
    assert lost.exit_code == 1
    assert "The API server of the cluster did not answer" in " ".join(lost.output.split())
    assert place.status()["problem"] == ""
