"""The rights of the service accounts, as a real API server grants them: these, and nothing else.

The roles of the builds are applied for real. What an account may do is asked in two ways: each verb
on each resource that the server has, subresources too, in each namespace and in all (a
SubjectAccessReview, without a name); and the list of its rules (a SelfSubjectRulesReview), which
tells of single names. The second one is compared with that of an account with no rights.
"""

import contextlib
import http.client
import itertools
import json
import ssl
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx
import pytest
import yaml

from tests.deploy.conftest import KUBEFLOW, NAMESPACE, SINGLE_USER, Build
from tests.parts.kube import Kube, KubectlError

VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
SPECIAL = (
    *(("", who, "impersonate") for who in ("users", "groups", "serviceaccounts")),
    *(
        ("rbac.authorization.k8s.io", role, verb)
        for role in ("roles", "clusterroles")
        for verb in ("bind", "escalate")
    ),
    *(("certificates.k8s.io", "signers", verb) for verb in ("approve", "sign")),
    ("policy", "podsecuritypolicies", "use"),
)
"""Verbs that only some resources know."""
NOT_THERE = (
    *(("argoproj.io", kind) for kind in ("workflows", "workflowtaskresults", "workflowtasksets")),
    *(("serving.knative.dev", kind) for kind in ("services", "revisions", "routes")),
    ("policy", "podsecuritypolicies"),
    ("gateway.networking.k8s.io", "httproutes"),
    ("kubeflow.org", "profiles"),
)
"""Resources that a cluster has and this server has not; of rights it knows all the same."""
EVERYWHERE = ""
PLACES = (NAMESPACE, KUBEFLOW, "kserve", "default", "kube-system", EVERYWHERE)
WORK = {
    ("serving.kserve.io", "inferenceservices"): {"get", "create", "patch"},
    ("serving.kserve.io", "servingruntimes"): {"get", "create", "patch"},
    ("policy", "poddisruptionbudgets"): {"get", "create", "patch"},
    ("", "pods"): {"list"},
    ("", "events"): {"list"},
    ("", "services"): {"get"},
}
"""What the pipeline's account may do with any object of a resource, where the models are."""
RUNS = {("argoproj.io", "workflowtaskresults"): {"create", "patch"}}
"""What it may where the steps run."""
NAMED = {
    ("kserve", "", "configmaps", "inferenceservice-config"): {"get"},
}
"""What it may do with one object."""
LAUNCHER = ("", "configmaps", "kfp-launcher")
STORE = ("", "secrets", "mlpipeline-minio-artifact")
"""What more it may read where the steps run: the second where Kubeflow has a store of its own."""

Right = tuple[str, str, str, str]
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


@pytest.fixture(scope="module")
def admin(cluster: Kube, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client that may ask what others may."""
    account = {"name": "asker", "namespace": "kube-system"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    cluster.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "asker"},
            "roleRef": role,
            "subjects": [{"kind": "ServiceAccount", **account}],
        },
    )
    with _client(cluster, "asker", "kube-system") as client:
        client.headers["x-tests-ca"] = str(cluster.ca)
        yield client
    cluster.kubectl("delete", "clusterrolebinding", "asker")


def test_the_pipeline_may_do_its_work_and_nothing_else(
    granted: Callable[[str], None], cluster: Kube, admin: httpx.Client
) -> None:
    # given the rights of production
    granted("production")

    # when the whole table is asked
    may = _allowed(admin, "roadworthy-pipeline")

    # then it is the work, where the models are, and nothing in any other place
    assert may == {
        (NAMESPACE, group, resource, verb)
        for (group, resource), verbs in (WORK | RUNS).items()
        for verb in verbs
    }


@pytest.mark.parametrize("name", ["production", "kind"])
def test_the_pipeline_may_read_single_objects_by_name(
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


def test_a_right_too_much_is_seen(
    granted: Callable[[str], None], cluster: Kube, admin: httpx.Client
) -> None:
    # given a role that someone added
    granted("production")
    cluster.kubectl(
        *("create", "role", "more", "--verb=get", "--resource=secrets", "--namespace", NAMESPACE)
    )
    cluster.kubectl(
        *("create", "rolebinding", "more", "--role=more", "--namespace", NAMESPACE),
        f"--serviceaccount={NAMESPACE}:roadworthy-pipeline",
    )
    # then the table has it
    may = _allowed(admin, "roadworthy-pipeline", [("", "secrets"), ("", "configmaps")])
    assert may == {(NAMESPACE, "", "secrets", "get")}


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
            client.get(models),
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
        # given the secrets of a build, and a value that a person put into one
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


def _allowed(
    admin: httpx.Client, account: str, resources: Sequence[tuple[str, str]] = ()
) -> set[Right]:
    """Return what the account may of every verb on every resource in every place, unnamed."""
    table = [
        *((*resource, verb) for resource in resources or _resources(admin) for verb in VERBS),
        *SPECIAL,
    ]
    asked = [(place, *right) for place in PLACES for right in table]
    with ThreadPoolExecutor(4) as pool:
        shares = [asked[start::4] for start in range(4)]
        allowed = set().union(*pool.map(partial(_reviewed, admin, account), shares))
    # what everyone may ask the server about himself
    return {
        right
        for right in allowed
        if right[2] not in ("selfsubjectaccessreviews", "selfsubjectrulesreviews")
    }


def _reviewed(admin: httpx.Client, account: str, asked: Sequence[Right]) -> set[Right]:
    """Return those of the rights that the account has, asked over one connection."""
    url = admin.base_url
    trust = ssl.create_default_context(cafile=admin.headers["x-tests-ca"])
    connection = http.client.HTTPSConnection(url.host, url.port, context=trust, timeout=60)
    headers = {
        "authorization": admin.headers["authorization"],
        "content-type": "application/json",
    }
    groups = ["authenticated", "serviceaccounts", f"serviceaccounts:{NAMESPACE}"]
    allowed = set()
    with contextlib.closing(connection):
        for right in asked:
            place, group, resource, verb = right
            resource, _, part = resource.partition("/")
            attributes = {"namespace": place, "group": group, "verb": verb}
            attributes |= {"resource": resource, "subresource": part}
            spec = {
                "user": f"system:serviceaccount:{NAMESPACE}:{account}",
                "groups": [f"system:{name}" for name in groups],
                "resourceAttributes": attributes,
            }
            path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
            connection.request("POST", path, json.dumps({"spec": spec}), headers)
            answer = json.load(connection.getresponse())
            if answer["status"]["allowed"]:
                allowed.add(right)
    return allowed


def _resources(admin: httpx.Client) -> list[tuple[str, str]]:
    """Return group and name of every resource of the server, subresources too, and of others."""
    found = {("", of["name"]) for of in admin.get("/api/v1").json()["resources"]}
    for group in admin.get("/apis").json()["groups"]:
        for version in group["versions"]:
            listed = admin.get(f"/apis/{version['groupVersion']}").json()["resources"]
            found |= {(group["name"], of["name"]) for of in listed}
    assert ("", "pods/exec") in found
    assert ("serving.kserve.io", "inferenceservices/status") in found
    return sorted(found | set(NOT_THERE))


def _rules(cluster: Kube, account: str, namespace: str = NAMESPACE) -> set[Rule]:
    """Return place, group, resource, name and verb of each rule that an account has."""
    found = set()
    with _client(cluster, account, namespace) as client:
        for place in PLACES[:-1]:
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
