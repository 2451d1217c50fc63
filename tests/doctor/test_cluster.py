"""What the doctor says of a cluster on a real API server: empty, complete, broken, shut, gone."""

import json
from dataclasses import dataclass

import pytest
import yaml

from roadworthy.doctor import kserve, parts, variables
from roadworthy.doctor.checks import examine
from tests.parts.kube import Kube

IMAGE = f"roadworthy/serving:{'4f0c' * 10}"
KINDS = ("ServiceAccount", "Role", "RoleBinding", "ConfigMap", "Secret", "ServingRuntime")
VALUE = "glpat-never-to-be-seen"
PIPELINE = "roadworthy-pipeline"
MODES = "inferenceservice-config"
APPLY = ("apply", "--server-side", "--force-conflicts", "-f", "-")


@pytest.fixture(scope="module", autouse=True)
def cleared(kube):
    """Leave nothing that the tests of others would meet."""
    yield
    kube.kubectl(*("delete", "--namespace=kserve", "--ignore-not-found"), f"configmap/{MODES}")
    for namespace in ("kserve", "kubeflow"):
        kube.kubectl("delete", "role,rolebinding", "--all", f"--namespace={namespace}")


@pytest.fixture
def looks(monkeypatch):
    """Look at a cluster with a kubeconfig; return what is found, by name."""

    def look(kubeconfig, namespace="roadworthy", runs=None):
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        monkeypatch.setenv("ROADWORTHY_KSERVE_NAMESPACE", namespace)
        monkeypatch.setenv("ROADWORTHY_KFP_NAMESPACE", namespace if runs is None else runs)
        told = examine([parts.cluster()], seconds=60)
        return {one.finding.name: one.finding for one in told}

    return look


@pytest.fixture(scope="module")
def manifests(kube, root) -> str:
    """What a user applies, of the kinds that the doctor looks at; the image is named."""
    text = kube.kubectl("kustomize", root / "deploy" / "overlays" / "staging")
    built = yaml.safe_load_all(text)
    wanted = [one for one in built if one["kind"] in KINDS]
    for one in wanted:
        if one["kind"] == "ServingRuntime":
            one["spec"]["containers"][0]["image"] = IMAGE
    return yaml.safe_dump_all(wanted)


@dataclass
class Place:
    """A namespace in which everything is that there has to be."""

    kube: Kube
    namespace: str

    def kubectl(self, *arguments, **options):
        return self.kube.kubectl("--namespace", self.namespace, *arguments, **options)


@pytest.fixture
def complete(kube, manifests) -> Place:
    # Under the namespace's own names, so that tests do not see each other's.
    namespace = kube.namespace()
    mine = [in_namespace(one, namespace) for one in yaml.safe_load_all(manifests)]
    config = {
        "deploy": json.dumps({"defaultDeploymentMode": "Standard"}),
        "ingress": json.dumps({"enableGatewayApi": True}),
    }
    shared = [
        {"kind": "Namespace", "apiVersion": "v1"} | named("kserve"),
        {"kind": "ConfigMap", "apiVersion": "v1", "data": config} | named(MODES, "kserve"),
    ]
    filled = [
        {"kind": "Secret", "apiVersion": "v1", "stringData": dict.fromkeys(keys, VALUE)}
        | named(secret, namespace)
        for secret, keys in {
            "roadworthy-git": ["ROADWORTHY_GIT_TOKEN"],
            "roadworthy-s3": ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"],
            "roadworthy-s3-read": ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"],
            "roadworthy-mlflow": ["MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"],
            "roadworthy-serving": ["ROADWORTHY_TOKEN"],
        }.items()
    ]
    kube.kubectl(*APPLY, stdin=yaml.safe_dump_all([*shared, *mine]))
    kube.kubectl(*APPLY, "--field-manager=person", stdin=yaml.safe_dump_all(filled))
    return Place(kube, namespace)


def named(name, namespace=None):
    return {"metadata": {"name": name} | ({"namespace": namespace} if namespace else {})}


def in_namespace(one, namespace):
    """Return a manifest for a namespace of another name."""
    if one["metadata"]["namespace"] == "kserve":
        one["metadata"]["name"] = namespace
        if one["kind"] == "RoleBinding":
            one["roleRef"]["name"] = namespace
    else:
        one["metadata"]["namespace"] = namespace
    for subject in one.get("subjects", ()):
        subject["namespace"] = namespace
    return one


def states(found, state):
    return {name for name, one in found.items() if one.state == state}


def test_of_an_empty_one(looks, kube, monkeypatch):
    # Given an API server without KServe and without the namespace, when it is looked at
    monkeypatch.setattr(kserve, "_GROUP", "absent.kserve.io")
    monkeypatch.setattr(kserve, "_DEFINITION", f"{kserve._DEFINITION}.absent")
    monkeypatch.setattr(kserve, "_CONFIG", "/api/v1/namespaces/absent/configmaps/absent")
    found = looks(kube.kubeconfig, "absent")
    # Then that is told, and what is missing, each with a command
    assert states(found, "ok") == {"API server", "own rights"}
    assert kube.url in found["API server"].told
    assert states(found, "missing") >= {
        "namespace",
        "kind inferenceservices",
        "KServe's mode",
        "ServingRuntime roadworthy",
        "account roadworthy-pipeline",
        "secret roadworthy-git",
        "ConfigMap roadworthy",
        "rights of roadworthy-pipeline",
    }
    assert all(one.remedy for one in found.values() if one.state != "ok")


def test_of_one_that_is_gone(looks, kube, tmp_path):
    # Given a cluster whose API server does not answer, when it is looked at
    config = yaml.safe_load(kube.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    found = looks(tmp_path / "kubeconfig")
    # Then one line tells it, and what could not be looked at
    assert list(found) == ["API server"]
    assert found["API server"].state == "missing"
    assert "does not respond" in found["API server"].told
    assert "other checks of the cluster are skipped" in found["API server"].told
    assert found["API server"].remedy == "kubectl cluster-info"


@pytest.mark.parametrize("content", [None, "clusters: ["], ids=["none", "broken"])
def test_of_one_that_nobody_named(looks, tmp_path, content):
    file = tmp_path / "kubeconfig"
    if content is not None:
        file.write_text(content)
    found = looks(file)
    assert list(found) == ["API server"]
    assert found["API server"].remedy == "kubectl config get-contexts"


def test_of_one_that_does_not_know_one(looks, kube, tmp_path):
    config = yaml.safe_load(kube.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": "nobody's"}
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    found = looks(tmp_path / "kubeconfig")
    assert list(found) == ["API server"]
    assert "does not accept the credentials" in found["API server"].told
    assert "nobody's" not in str(found)


def test_of_a_complete_one(looks, complete):
    # Given a cluster with all that deploy/ has, and filled secrets, when it is looked at
    found = looks(complete.kube.kubeconfig, complete.namespace)
    # Then all is well
    assert {one.state for one in found.values()} == {"ok"}, found
    assert found["KServe's mode"].told == "Standard, which splits traffic by spec.canary"
    assert found["ServingRuntime roadworthy"].told == IMAGE
    # And no value of a secret is told
    assert VALUE not in str(found)


def test_of_a_complete_one_by_the_pipeline(looks, complete):
    # Given the account of the pipeline, when it looks itself
    kubeconfig = complete.kube.kubeconfig_for(PIPELINE, complete.namespace)
    found = looks(kubeconfig, complete.namespace)
    # Then it has its rights, and is told what it may not look at
    assert states(found, "missing") == set(), found
    assert {"API server", "own rights", "KServe's mode"} <= states(found, "ok")
    hidden = {name for name, one in found.items() if one.told == "no permission to look (403)"}
    assert hidden >= {
        "namespace",
        "secret roadworthy-git",
        CONFIG,
        f"account {PIPELINE}",
        "spec.canary",
    }
    assert {found[name].state for name in hidden} == {"warning"}


def test_of_a_complete_one_by_somebody_without_rights(looks, complete):
    kubeconfig = complete.kube.kubeconfig_for("roadworthy-client", complete.namespace)
    found = looks(kubeconfig, complete.namespace)
    assert states(found, "missing") == {"own rights"}
    assert "patch inferenceservices.serving.kserve.io" in found["own rights"].told
    assert "no permission to ask for another account's" in found[f"rights of {PIPELINE}"].told


def test_of_one_whose_steps_run_where_nothing_is_for_them(looks, complete):
    # Given a Kubeflow that runs the steps elsewhere, when the cluster is looked at
    runs = complete.kube.namespace()
    found = looks(complete.kube.kubeconfig, complete.namespace, runs)
    # Then all that a step is given is missing there, and nothing that a model is given
    token = f"secret roadworthy-serving in {runs}"
    lacking = {f"account {PIPELINE}", "secret roadworthy-git", "secret roadworthy-s3", CONFIG}
    assert states(found, "missing") == {f"{one} in {runs}" for one in lacking} | {RIGHTS, token}
    told = "not there, where the steps run"
    assert {found[f"{one} in {runs}"].told for one in lacking} == {told}
    assert found[token].told == f"{told}, and the ServingRuntime requires it"
    assert found[f"secret roadworthy-git in {runs}"].remedy.startswith(
        f"kubectl --namespace {runs} create secret"
    )
    assert found[RIGHTS].told.startswith("it may not get inferenceservices")


def test_of_a_complete_one_with_a_kubeflow_of_a_single_user(looks, complete, manifests, root):
    # Given what the steps are given, put where a Kubeflow of a single user runs them
    kubectl = complete.kube.kubectl
    built = kubectl("kustomize", root / "deploy" / "overlays" / "kind")
    steps = [
        one
        for one in yaml.safe_load_all(built)
        if one["kind"] in KINDS and one["metadata"].get("namespace") == "kubeflow"
    ]
    bindings = {
        "kind": "RoleBinding",
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "subjects": [{"kind": "ServiceAccount", "name": PIPELINE, "namespace": "kubeflow"}],
    }
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role"}
    steps += [
        bindings | named("single", complete.namespace) | {"roleRef": role | {"name": PIPELINE}},
        bindings
        | named(f"{complete.namespace}-single", "kserve")
        | {"roleRef": role | {"name": complete.namespace}},
    ]
    for one in steps:
        keys = one["metadata"].get("annotations", {}).get("roadworthy/keys", "").split()
        if keys:
            one["stringData"] = dict.fromkeys(keys, VALUE)
    namespace = {"kind": "Namespace", "apiVersion": "v1"} | named("kubeflow")
    kubectl(*APPLY, stdin=yaml.safe_dump_all([namespace, *steps]))

    # When it is looked at, and nobody says that Kubeflow has several users
    found = looks(complete.kube.kubeconfig, complete.namespace, "")

    # Then nothing is missing
    assert states(found, "missing") == set(), found
    assert {"secret roadworthy-git in kubeflow", "secret roadworthy-s3-read"} <= set(found)


def patch(what, change, kind="merge"):
    """Return the arguments of a kubectl that changes an object."""
    return ("patch", what, "--type", kind, "--patch", json.dumps(change))


def image(name):
    change = {"op": "replace", "path": "/spec/containers/0/image", "value": name}
    return patch("servingruntime/roadworthy", [change], "json")


def setting(**data):
    return patch("configmap/roadworthy", {"data": data})


def mode(**data):
    told = {name: json.dumps(value) for name, value in data.items()}
    return ("--namespace=kserve", *patch(f"configmap/{MODES}", {"data": told or None}))


NO_TOKEN = ("delete", "secret", "roadworthy-serving")
READER = (
    *("create", "rolebinding", "reader", "--clusterrole=cluster-admin"),
    f"--serviceaccount=NAMESPACE:{PIPELINE}",
)
RUNTIME, CONFIG, RIGHTS = (
    "ServingRuntime roadworthy",
    "ConfigMap roadworthy",
    f"rights of {PIPELINE}",
)
NO_GIT = ("delete", "secret", "roadworthy-git")
GIT, STORE = "secret roadworthy-git", "secret roadworthy-s3"
# Each thing is broken once; what has lines of its own is broken together.
BROKEN = {
    "absent": [
        (image("serving:latest"), RUNTIME, "is not pinned", "deploy/render"),
        (
            ("delete", "serviceaccount", "roadworthy-serving"),
            *("account roadworthy-serving", "not there", "deploy/render OVERLAY"),
        ),
        (NO_GIT, GIT, "not there", "kubectl --namespace"),
        (NO_TOKEN, "secret roadworthy-serving", "Runtime requires it", "kubectl --namespace"),
        (setting(ROADWORTHY_GIT_REMOT="x"), CONFIG, "GIT_REMOT is no setting", "kubectl --name"),
        (("delete", "rolebinding", PIPELINE), RIGHTS, "it may not get inf", "deploy/render OVER"),
        (
            mode(deploy={"defaultDeploymentMode": "ModelMesh"}),
            *("KServe's mode", "ModelMesh, in which nothing", "kubectl --namespace"),
        ),
    ],
    "invalid": [
        (image(f"roadworthy/serving:{'0' * 40}"), RUNTIME, "is a placeholder", "deploy/render"),
        (
            [
                ("delete", "secret", "roadworthy-s3"),
                ("create", "secret", "generic", "roadworthy-s3"),
            ],
            *(STORE, "it has no AWS_ACCESS", "kubectl --namespace"),
        ),
        (setting(ROADWORTHY_LEASE_SECONDS="-1"), CONFIG, "LEASE_SECONDS is invalid", "kubectl"),
        (READER, RIGHTS, "it may get secrets", "kubectl get rolebindings"),
        (mode(), "KServe's mode", "names no default mode", "kubectl --namespace"),
    ],
    "refused": [
        (
            patch("servingruntime/roadworthy", {"spec": {"disabled": True}}),
            *(RUNTIME, "disabled", "deploy/render OVERLAY"),
        ),
        (
            mode(ingress={"enableGatewayApi": False}),
            *("KServe's mode", "without enableGatewayApi", "kubectl --namespace"),
        ),
        (setting(ROADWORTHY_GIT_TOKEN=VALUE), CONFIG, "GIT_TOKEN is a secret", "kubectl --names"),
    ],
    "no runtime": [
        (("delete", "servingruntime", "roadworthy"), RUNTIME, "not there", "deploy/render OVER"),
        (setting(ROADWORTHY_RECORDS=None), CONFIG, "RECORDS is not set", "kubectl --namespace"),
    ],
}


@pytest.mark.parametrize("together", BROKEN)
def test_of_one_where_something_is_broken(looks, complete, together):
    # Given a complete cluster in which some things are broken, when it is looked at
    for commands, *_ in BROKEN[together]:
        for command in commands if isinstance(commands, list) else [commands]:
            complete.kubectl(*(word.replace("NAMESPACE", complete.namespace) for word in command))
    found = looks(complete.kube.kubeconfig, complete.namespace)
    # Then the line of each says what is wrong and what fixes it, and no other line does
    for _, name, told, remedy in BROKEN[together]:
        assert found[name].state == "missing", found[name]
        assert told in found[name].told
        assert found[name].remedy.startswith(remedy)
    assert states(found, "missing") == {name for _, name, *_ in BROKEN[together]}
    assert VALUE not in str(found)


def test_of_models_and_a_remote_that_want_no_token(looks, complete):
    # Given a Git remote over SSH, models that want the token if there is one, and no token
    for command in setting(ROADWORTHY_GIT_REMOTE="git@git.example:cars.git"), NO_GIT:
        complete.kubectl(*command)
    optional = "/spec/containers/0/env/0/valueFrom/secretKeyRef/optional"
    change = {"op": "replace", "path": optional, "value": True}
    complete.kubectl(*patch("servingruntime/roadworthy", [change], "json"))
    complete.kubectl(*NO_TOKEN)
    # When it is looked at
    found = looks(complete.kube.kubeconfig, complete.namespace)
    # Then nothing is missing
    assert states(found, "missing") == set(), found
    assert "some installations need it" in found["secret roadworthy-serving"].told
    assert "git.example:cars.git takes no token" in found[GIT].told


def test_of_settings_of_ours_that_cannot_be(looked, monkeypatch):
    monkeypatch.setenv("ROADWORTHY_KSERVE_MIN_REPLICAS", "many")
    found = looked(parts.cluster())
    assert found["settings"].told.startswith("ROADWORTHY_KSERVE_MIN_REPLICAS is 'many': ")


def test_of_another_account_of_the_steps(looks, complete, monkeypatch):
    # Given steps that run as somebody else, when the cluster is looked at
    monkeypatch.setenv("ROADWORTHY_KFP_SERVICE_ACCOUNT", "roadworthy-client")
    found = looks(complete.kube.kubeconfig, complete.namespace)
    # Then it is that one's rights that are judged
    assert found["account roadworthy-client"].state == "ok"
    assert "may not get inferenceservices" in found["rights of roadworthy-client"].told
    assert RIGHTS not in found


def test_every_setting_of_the_steps_is_known():
    told = dict.fromkeys(variables.NEEDED, "s3://cars/x") | {
        "ROADWORTHY_TARGET": "kserve",
        "ROADWORTHY_KSERVE_MIN_REPLICAS": "2",
        "ROADWORTHY_KFP_URL": "https://kubeflow.example",
        "AWS_ENDPOINT_URL": "https://s3.example",
        # the name of a file is none
        "ROADWORTHY_KFP_TOKEN_PATH": "/var/run/secrets/token",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/secrets/identity",
    }
    assert variables.wrong(told) == []
    assert variables.wrong(told | {"ROADWORTHY_TARGET": "moon"}) == [
        "ROADWORTHY_TARGET is invalid: Input should be 'local' or 'kserve'"
    ]
    assert variables.wrong(
        told | {"ROADWORTHY_MLFLOW_TRACKING_URI": "sqlite:////tmp/mlflow.db"}
    ) == ["ROADWORTHY_MLFLOW_TRACKING_URI is on a disk, which no other pod reaches"]
