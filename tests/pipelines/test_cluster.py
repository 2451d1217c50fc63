"""On a cluster a step has what it needs, and nothing else."""

import sys
from pathlib import Path

import pytest
import yaml
from kfp import components

from roadworthy.core import mounted
from roadworthy.core.settings import Settings
from roadworthy.engines.kubeflow.secrets import SECRETS
from roadworthy.engines.kubeflow.tasks import TITLES
from roadworthy.models import contract
from roadworthy.models.contract import Resources
from roadworthy.steps.task import PURE

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "pipelines" / "fuel.yaml"

sys.path.append(str(ROOT))

from pipelines import cluster, local  # noqa: E402
from pipelines.production import production  # noqa: E402

STEPS = cluster.NEEDS
ROLLING = {"release", "stage", "canary", "promote", "report"}
RUN_DEPENDENT = {"run", "job", "owner", "trigger", "champion", "strategy", "force"}


@pytest.fixture(scope="module")
def documents():
    return list(yaml.safe_load_all(PACKAGE.read_text()))


@pytest.fixture(scope="module")
def tasks(documents):
    """The tasks of the pipeline by name, those of nested graphs among them."""
    groups = [documents[0]["root"], *documents[0]["components"].values()]
    return {
        name: task
        for group in groups
        for name, task in group.get("dag", {}).get("tasks", {}).items()
    }


@pytest.fixture(scope="module")
def pods(documents):
    """What Kubernetes is told of each step."""
    executors = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return {name.removeprefix("exec-"): told for name, told in executors.items()}


@pytest.fixture(scope="module")
def containers(documents):
    executors = documents[0]["deploymentSpec"]["executors"]
    return {name.removeprefix("exec-"): told["container"] for name, told in executors.items()}


@pytest.mark.parametrize(
    ("secret", "steps"),
    [
        ("roadworthy-s3", set(STEPS)),
        ("roadworthy-git", {"checkout", "prepare", "gate", "reject", "release"}),
        ("roadworthy-mlflow", {"checkout", "reject"} | ROLLING),
        ("roadworthy-serving", ROLLING),
    ],
)
def test_a_secret_comes_to_the_steps_that_need_it_alone(pods, secret, steps):
    mounts = {
        step: told["mountPath"]
        for step, pod in pods.items()
        for told in pod["secretAsVolume"]
        if told["secretName"] == secret
    }

    assert mounts == dict.fromkeys(steps, f"{mounted.MOUNT}/{secret}")


def test_settings_are_mounted_once_and_no_pod_waits_for_what_a_cluster_does_without(pods):
    for pod in pods.values():
        (settings,) = pod["configMapAsVolume"]
        assert settings["configMapName"] == "roadworthy"
        assert settings["mountPath"] == f"{mounted.MOUNT}/roadworthy"
        assert all(told["optional"] for told in (settings, *pod["secretAsVolume"]))
        assert not {"configMapAsEnv", "secretAsEnv"} & set(pod)


def test_every_secret_of_the_settings_is_a_secret_of_the_cluster():
    kept = {
        f"ROADWORTHY_{name.upper()}"
        for name, value in Settings().model_dump().items()
        if "Secret" in type(value).__name__
    }
    known = {key for keys in SECRETS.values() for key in keys}

    assert kept == {key for key in known if key.startswith("ROADWORTHY_")}


def test_the_steps_of_a_rollout_alone_are_let_in_by_models(pods):
    name, value = cluster.ASKING
    let_in = {
        step
        for step, pod in pods.items()
        if pod.get("podMetadata", {}).get("labels", {}).get(name) == value
    }

    assert let_in == ROLLING


def test_a_step_says_how_much_it_takes_and_holds_no_variable(containers):
    assert set(containers) == set(STEPS)
    for step, container in containers.items():
        assert not container.get("env")
        for kind in ("resourceCpu", "resourceMemory"):
            assert container["resources"][f"{kind}Request"], step
            assert container["resources"][f"{kind}Limit"], step


def test_what_talks_to_the_outside_and_may_do_so_twice_is_tried_again(tasks):
    again = {name for name, task in tasks.items() if "retryPolicy" in task}

    outside = {"checkout", "prepare", "gate", "reject", "release", "promote", "report"}
    assert again == outside
    for step in again:
        policy = tasks[step]["retryPolicy"]
        assert policy["maxRetryCount"] == 2
        assert policy["backoffDuration"] == "10s"
        assert policy["backoffFactor"] == 2


def test_a_pure_step_depends_on_pure_steps_alone_and_is_cached(tasks):
    """An artifact of a step that is not cached is another one in each run."""
    for step in STEPS:
        assert tasks[step]["cachingOptions"] == ({"enableCache": True} if step in PURE else {})
    for step in PURE:
        given = tasks[step]["inputs"]
        assert set(given["parameters"]) <= {"model", "source", "candidate"}
        made_by = [one["taskOutputArtifact"] for one in given.get("artifacts", {}).values()]
        assert {one["producerTask"] for one in made_by} <= set(PURE)


@pytest.mark.parametrize("step", [*PURE, "gate"])
def test_the_run_is_no_input_of_a_step_that_computes(tasks, pods, step):
    told = str(tasks[step]["inputs"])

    assert "{{$" not in told
    assert not RUN_DEPENDENT - {"champion"} & set(tasks[step]["inputs"]["parameters"])
    assert pods[step]["fieldPathAsEnv"] == [
        {"name": "ROADWORTHY_RUN", "fieldPath": "metadata.labels['pipeline/runid']"}
    ]


def test_a_model_says_what_its_heavy_steps_need(monkeypatch):
    needs = {"train": Resources("8", "16Gi", gpu=1, image="torch", retries=1)}
    fuel = contract.load("fuel")
    monkeypatch.setattr(fuel._package, "resources", needs)
    image = f"registry.example/pipeline:{'0' * 40}"

    spec = production("fuel", image).pipeline_spec

    executors = spec.deployment_spec["executors"]
    heavy, other = executors["exec-train"]["container"], executors["exec-evaluate"]["container"]
    told = dict(heavy["resources"])
    assert (told["resourceCpuRequest"], told["resourceCpuLimit"]) == ("8", "8")
    assert (told["resourceMemoryRequest"], told["resourceMemoryLimit"]) == ("16Gi", "16Gi")
    assert dict(told["accelerator"])["resourceType"] == "nvidia.com/gpu"
    assert heavy["image"] == f"registry.example/pipeline-torch:{'0' * 40}"
    assert other["image"] == image
    train = spec.components["comp-condition-2"].dag.tasks["train"]
    assert train.retry_policy.max_retry_count == 1


def test_every_task_has_a_name_for_people(tasks):
    shown = {name: task["taskInfo"]["name"] for name, task in tasks.items()}
    graphs = {shown[name] for name in shown if name not in STEPS}

    assert {step: shown[step] for step in STEPS} == TITLES
    assert graphs == {"Production", "Something is new", "Passed", "Failed", "Good"}


def test_on_this_machine_a_step_that_fails_is_not_tried_again():
    graph = components.load_component_from_file(str(PACKAGE)).component_spec.implementation.graph
    groups = (graph.root, *graph.components.values())
    tasks = [task for group in groups for task in group.dag.tasks.values()]
    assert any(task.HasField("retry_policy") for task in tasks)

    local._fail_at_once(graph)

    assert not any(task.HasField("retry_policy") for task in tasks)
