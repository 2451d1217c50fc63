"""On a cluster a step has what it needs, and nothing else."""

import sys
from pathlib import Path

import pytest
import yaml
from kfp import components
from kfp.local import placeholder_utils

from roadworthy.core.settings import Settings
from roadworthy.engines.kubeflow.tasks import TITLES
from roadworthy.rollout.kserve.kserve_settings import KServeSettings

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "pipelines" / "fuel.yaml"

sys.path.append(str(ROOT))

from pipelines import cluster, local  # noqa: E402

STEPS = cluster.NEEDS


@pytest.fixture(scope="module")
def documents():
    return list(yaml.safe_load_all(PACKAGE.read_text()))


@pytest.fixture(scope="module")
def tasks(documents):
    """The steps as the pipeline has them, by name."""
    groups = [documents[0]["root"], *documents[0]["components"].values()]
    found = [task for group in groups for task in group.get("dag", {}).get("tasks", {}).items()]
    return {name: task for name, task in found if name in STEPS}


@pytest.fixture(scope="module")
def pods(documents):
    """What Kubernetes is told of each step."""
    executors = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return {name.removeprefix("exec-"): told for name, told in executors.items()}


@pytest.fixture(scope="module")
def containers(documents):
    executors = documents[0]["deploymentSpec"]["executors"]
    return {name.removeprefix("exec-"): told["container"] for name, told in executors.items()}


def secrets(pod):
    return {
        told["secretName"]: {key["secretKey"]: key["envVar"] for key in told["keyToEnv"]}
        for told in pod["secretAsEnv"]
    }


def settings(pod):
    (told,) = pod["configMapAsEnv"]
    assert told["configMapName"] == "roadworthy"
    assert told["optional"]
    assert all(key["configMapKey"] == key["envVar"] for key in told["keyToEnv"])
    return {key["envVar"] for key in told["keyToEnv"]}


@pytest.mark.parametrize(
    ("secret", "steps"),
    [
        ("roadworthy-s3", set(STEPS)),
        ("roadworthy-git", {"checkout", "gate", "release"}),
        (
            "roadworthy-mlflow",
            {
                *("checkout", "reject", "release", "stage", "canary", "promote"),
                "report",
            },
        ),
        (
            "roadworthy-serving",
            {"release", "stage", "canary", "promote", "report"},
        ),
    ],
)
def test_a_secret_comes_to_the_steps_that_need_it_alone(pods, secret, steps):
    keys = {key: key for key in cluster.SECRETS[secret]}

    assert {step for step, pod in pods.items() if secret in secrets(pod)} == steps
    assert all(secrets(pods[step])[secret] == keys for step in steps)


def test_the_steps_of_a_rollout_alone_are_let_in_by_models(pods):
    name, value = cluster.ASKING
    let_in = {
        step
        for step, pod in pods.items()
        if pod.get("podMetadata", {}).get("labels", {}).get(name) == value
    }

    assert let_in == {"release", "stage", "canary", "promote", "report"}


def test_no_pod_waits_for_a_secret_that_a_cluster_does_without(pods):
    assert all(told["optional"] for pod in pods.values() for told in pod["secretAsEnv"])


def test_every_secret_of_the_settings_is_a_secret_of_the_cluster():
    kept = {
        f"ROADWORTHY_{name.upper()}"
        for name, value in Settings().model_dump().items()
        if "Secret" in type(value).__name__
    }
    known = {key for keys in cluster.SECRETS.values() for key in keys}

    assert kept == {key for key in known if key.startswith("ROADWORTHY_")}
    assert not known & set(cluster.ROLLOUT)


def test_a_step_gets_the_settings_that_it_reads(pods):
    everything = {f"ROADWORTHY_{name.upper()}" for name in Settings.model_fields}
    of_kserve = {f"ROADWORTHY_KSERVE_{name.upper()}" for name in KServeSettings.model_fields}
    kept = {key for keys in cluster.SECRETS.values() for key in keys}

    rolling = settings(pods["canary"])
    unset = {f"ROADWORTHY_{name}" for name in ("COMMIT", "HOLDER", "IMAGE")}
    assert rolling >= everything - kept - unset
    assert rolling >= of_kserve
    assert {"ROADWORTHY_GIT_REMOTE", "ROADWORTHY_DVC_REMOTE"} <= settings(pods["checkout"])
    assert settings(pods["checkout"]) >= of_kserve, "it reads the record of the last rollout"
    assert not settings(pods["gate"]) & of_kserve
    assert settings(pods["report"]) == rolling
    for step in ("prepare", "train", "evaluate"):
        assert settings(pods[step]) == set(cluster.RECORDING)


def test_a_container_holds_no_variable_itself(containers):
    assert [step for step, container in containers.items() if container.get("env")] == []


def test_a_step_says_how_much_it_takes(containers):
    assert set(containers) == set(STEPS)
    for step, container in containers.items():
        told = container["resources"]
        for kind in ("resourceCpu", "resourceMemory"):
            assert told[f"{kind}Request"], step
            assert told[f"{kind}Limit"], step


def test_what_talks_to_the_outside_and_may_do_so_twice_is_tried_again(tasks):
    again = {step for step, task in tasks.items() if "retryPolicy" in task}

    outside = {"checkout", "gate", "reject", "release", "promote", "report"}
    assert again == outside
    for step in again:
        policy = tasks[step]["retryPolicy"]
        assert policy["maxRetryCount"] == 2
        assert policy["backoffDuration"] == "10s"
        assert policy["backoffFactor"] == 2


def test_no_result_is_used_again(tasks):
    """Each step is told its run, so none has inputs that are hashes alone."""
    assert set(tasks) == set(STEPS)
    for task in tasks.values():
        assert {"run", "job"} <= set(task["inputs"]["parameters"])
        assert task["cachingOptions"] == {}


def test_every_task_has_its_title(tasks):
    assert {step: task["taskInfo"]["name"] for step, task in tasks.items()} == TITLES


def test_every_condition_has_a_name_for_people(documents):
    groups = [documents[0]["root"], *documents[0]["components"].values()]
    found = [task for group in groups for task in group.get("dag", {}).get("tasks", {}).items()]

    shown = {
        task["taskInfo"]["name"]
        for name, task in found
        if name.startswith(("condition-", "exit-handler-")) and "branches" not in name
    }
    assert shown == {"Production", "Something is new", "Passed", "Failed", "Good"}


def test_every_task_names_the_engines_id_itself(tasks):
    """An engine fills it in there, and not where a task gets it from the pipeline's input."""
    for task in tasks.values():
        assert task["inputs"]["parameters"]["job"] == {
            "runtimeValue": {"constant": "{{$.pipeline_job_uuid}}"}
        }


def test_the_engine_of_this_machine_fills_its_id_in():
    told = {"inputs": {"parameterValues": {"job": "{{$.pipeline_job_uuid}}"}}, "outputs": {}}
    told["outputs"]["outputFile"] = "there"

    (filled,) = placeholder_utils.replace_placeholders(
        full_command=["{{$}}"],
        executor_input_dict=told,
        pipeline_resource_name="pipeline",
        task_resource_name="task",
        pipeline_root="root",
        unique_pipeline_id="4711",
    )

    assert '"job": "4711"' in filled


def test_on_this_machine_a_step_that_fails_is_not_tried_again():
    graph = components.load_component_from_file(str(PACKAGE)).component_spec.implementation.graph
    groups = (graph.root, *graph.components.values())
    tasks = [task for group in groups for task in group.dag.tasks.values()]
    assert any(task.HasField("retry_policy") for task in tasks)

    local._fail_at_once(graph)

    assert not any(task.HasField("retry_policy") for task in tasks)
