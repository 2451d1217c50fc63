"""The rights of the service accounts, as a real API server grants them: these, and nothing else.

The roles of the builds are applied for real. What an account may do is the list of its rules in
each namespace (a SelfSubjectRulesReview), less that of an account without rights.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import yaml

from tests.deploy.conftest import KUBEFLOW, NAMESPACE, SINGLE_USER, Build
from tests.parts.kube import Kube, KubectlError

PLACES = (NAMESPACE, KUBEFLOW, "kserve", "default", "kube-system")
WORK = {
    ("serving.kserve.io", "inferenceservices"): {"get", "list", "create", "patch"},
    ("serving.kserve.io", "servingruntimes"): {"get", "list", "create", "patch", "delete"},
    ("autoscaling", "horizontalpodautoscalers"): {"list", "delete"},
    ("policy", "poddisruptionbudgets"): {"get", "create", "patch"},
    ("", "pods"): {"list"},
    ("", "pods/proxy"): {"get"},
    ("", "events"): {"list"},
    ("", "services"): {"get"},
}
"""What the pipeline's account may do with any object of a kind in the namespace of the models."""
RUNS = {("argoproj.io", "workflowtaskresults"): {"create", "patch"}}
"""The same in the namespace of the steps."""
NAMED = {
    ("kserve", "", "configmaps", "inferenceservice-config"): {"get"},
}
"""What it may do with one object."""
LAUNCHER = ("", "configmaps", "kfp-launcher")
STORE = ("", "secrets", "mlpipeline-minio-artifact")
"""What more it may read where the steps run: the second where Kubeflow has a store of its own."""

Rule = tuple[str, str, str, str, str]


@pytest.fixture
def granted(cluster: Kube, build: Build) -> Iterator[Callable[[str], None]]:
    """Applies accounts and roles of a build, and takes the roles away in the end."""
    kinds = ("ServiceAccount", "Role", "RoleBinding")

    def grant(name: str) -> None:
        cluster.apply(*(document for document in build(name) if document["kind"] in kinds))

    yield grant
    for namespace in (NAMESPACE, KUBEFLOW, "kserve"):
        cluster.kubectl("delete", "role,rolebinding", "--all", "--namespace", namespace)


@pytest.mark.parametrize("name", ["production", "kind"])
def test_the_pipeline_may_do_its_work_and_nothing_else(
    name: str, granted: Callable[[str], None], cluster: Kube
) -> None:
    granted(name)
    runs = KUBEFLOW if name in SINGLE_USER else NAMESPACE
    cluster.apply(_account("nobody", runs))
    may = _rules(cluster, "roadworthy-pipeline", runs) - _rules(cluster, "nobody", runs)
    assert may == {
        *(
            (place, group, resource, "", verb)
            for place, table in ((NAMESPACE, WORK), (runs, RUNS))
            for (group, resource), verbs in table.items()
            for verb in verbs
        ),
        *((*named, verb) for named, verbs in NAMED.items() for verb in verbs),
        *((runs, *named, "get") for named in (LAUNCHER, *([STORE] if name == "kind" else []))),
    }


@pytest.mark.parametrize("account", ["roadworthy-serving", "roadworthy-client", "default"])
def test_the_others_may_do_nothing(
    account: str, granted: Callable[[str], None], cluster: Kube
) -> None:
    granted("production")
    cluster.apply(_account("nobody"), _account(account))
    assert _rules(cluster, account) == _rules(cluster, "nobody")


def test_real_calls_of_the_pipeline(granted: Callable[[str], None], cluster: Kube) -> None:
    granted("production")
    client = _client(cluster, "roadworthy-pipeline", NAMESPACE)
    cluster.apply(
        _account("roadworthy-pipeline"),
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "roadworthy-git", "namespace": NAMESPACE},
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "inferenceservice-config", "namespace": "kserve"},
        },
    )
    models = f"/apis/serving.kserve.io/v1beta1/namespaces/{NAMESPACE}/inferenceservices"
    model = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "fuel", "namespace": NAMESPACE},
        "spec": {"predictor": {"model": {"modelFormat": {"name": "roadworthy"}}}},
    }
    apply = {
        "params": {"fieldManager": "roadworthy"},
        "headers": {"content-type": "application/apply-patch+yaml"},
        "content": yaml.safe_dump(model),
    }
    secrets = f"/api/v1/namespaces/{NAMESPACE}/secrets"
    with client:
        # when it makes an InferenceService, changes it and looks at it, it may
        assert client.patch(f"{models}/fuel", **apply).status_code == 201
        assert client.patch(f"{models}/fuel", **apply).status_code == 200
        assert client.get(f"{models}/fuel").json()["metadata"]["name"] == "fuel"
        configs = "/api/v1/namespaces/kserve/configmaps"
        assert client.get(f"{configs}/inferenceservice-config").status_code == 200

        # and what is not its work it may not
        forbidden = [
            client.delete(f"{models}/fuel"),
            client.put(f"{models}/fuel", json=model),
            client.patch(f"{models}/fuel/status", **apply),
            client.get(f"{secrets}/roadworthy-git"),
            client.get(secrets),
            client.get(configs),
            client.get("/api/v1/pods"),
            client.get("/api/v1/namespaces"),
            client.get("/api/v1/namespaces/default/pods"),
            client.post(f"/api/v1/namespaces/{NAMESPACE}/pods", json={}),
        ]
        assert {answer.status_code for answer in forbidden} == {403}
    cluster.kubectl("delete", "inferenceservice", "fuel", "--namespace", NAMESPACE)


def test_a_secret_keeps_its_value_when_a_build_is_applied_again(
    cluster: Kube, build: Build
) -> None:
    secrets = [of for of in build("production") if of["kind"] == "Secret"]
    named = f"secret/{secrets[0]['metadata']['name']}"
    place = ("--namespace", NAMESPACE, "--output", "jsonpath={.data}")
    filled = secrets[0] | {"stringData": {"KEY": "value"}}
    filled["metadata"] = {"name": named.partition("/")[2], "namespace": NAMESPACE}
    try:
        # given the secrets of a build, and a value that a user put into one
        cluster.apply(*secrets)
        cluster.kubectl(
            *("apply", "--server-side", "--field-manager=person", "--filename", "-"),
            stdin=yaml.safe_dump(filled),
        )
        known = cluster.kubectl("get", named, *place)
        assert known == '{"KEY":"dmFsdWU="}'

        # when the build is applied again, in both of kubectl's ways
        cluster.apply(*secrets)
        cluster.kubectl("apply", "--filename", "-", stdin=yaml.safe_dump_all(secrets))

        # then the value is there
        assert cluster.kubectl("get", named, *place) == known
    finally:
        cluster.kubectl("delete", "secret", "--all", "--namespace", NAMESPACE)


def test_who_speaks_for_another_is_refused(granted: Callable[[str], None], cluster: Kube) -> None:
    granted("production")
    file = cluster.kubeconfig_for("roadworthy-pipeline", NAMESPACE)
    with pytest.raises(KubectlError, match=r"(?i)forbidden.*impersonate"):
        cluster.kubectl("--kubeconfig", file, "get", "secrets", as_="system:admin")


def _account(name: str, namespace: str = NAMESPACE) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def _client(cluster: Kube, account: str, namespace: str) -> httpx.Client:
    file = cluster.kubeconfig_for(account, namespace)
    token = yaml.safe_load(file.read_text())["users"][0]["user"]["token"]
    return httpx.Client(
        base_url=cluster.url,
        verify=str(cluster.ca),
        headers={"authorization": f"Bearer {token}"},
        timeout=60,
        trust_env=False,
    )


def _rules(cluster: Kube, account: str, namespace: str = NAMESPACE) -> set[Rule]:
    """Return place, group, resource, name and verb of each rule that an account has."""
    found = set()
    with _client(cluster, account, namespace) as client:
        for place in PLACES:
            status = (
                client.post(
                    "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
                    json={"spec": {"namespace": place}},
                )
                .raise_for_status()
                .json()["status"]
            )
            assert not status["incomplete"]
            for rule in status["resourceRules"]:
                parts = (rule["apiGroups"], rule["resources"], rule.get("resourceNames") or [""])
                found |= {(place, *of) for of in itertools.product(*parts, rule["verbs"])}
            for rule in status["nonResourceRules"]:
                named = itertools.product(rule["nonResourceURLs"], rule["verbs"])
                found |= {(place, "", url, "", verb) for url, verb in named}
    return found
