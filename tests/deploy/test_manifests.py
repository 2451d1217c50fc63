"""Each build of deploy/ is checked against schemas, a real API server and the project's own rules.

Schemas are those of a current Kubernetes, of KServe's CRDs, and of ``monitoring.yaml`` here for the
Prometheus operator, of which it has only what the project uses; unknown fields are refused by all.
The API server may be older than ``policy/v1``: then a PodDisruptionBudget is put to it as
``policy/v1beta1``, which has the same fields.
"""

import copy
import itertools
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from pydantic import SecretStr

from pipelines import cluster as of_steps
from roadworthy.core.settings import Settings
from roadworthy.engines.kubeflow.secrets import SECRETS, SERVING
from roadworthy.engines.kubeflow.settings import KubeflowSettings
from roadworthy.rollout.kserve.kserve_settings import KServeSettings
from tests.deploy.conftest import (
    BUILDS,
    KUBEFLOW,
    MONITORING,
    NAMESPACE,
    SINGLE_USER,
    Build,
    Documents,
)
from tests.parts.kube import Kube

COMMIT = "4f0c" * 10
DIGEST = "sha256:" + "ab" * 32
CURRENT = kubernetes_validate.latest_version()
PINNED = re.compile(r"[^:@\s]+(:\d+/[^:@\s]+)?(:(?!latest)[\w.-]*\d[\w.-]*|@sha256:[0-9a-f]{64})")
SECRET = re.compile("access_key|secret|password", re.IGNORECASE)
HOST = re.compile(r"(?:https?://|\bserver )([a-z0-9.-]+\.[a-z]+)")


@pytest.fixture(params=BUILDS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def documents(build: Build, name: str) -> Documents:
    return copy.deepcopy(build(name))


@pytest.fixture(scope="session")
def kinds(requires: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """The schemas of KServe's kinds and of those of monitoring, which refuse what they lack."""
    crds = requires.variable("KSERVE_CRDS", "name a directory with the YAML of KServe's CRDs")
    files = [*sorted(Path(crds).glob("*.yaml")), MONITORING]
    definitions = itertools.chain(
        *(yaml.load_all(file.read_text(), yaml.CSafeLoader) for file in files)
    )
    return {
        (f"{of['spec']['group']}/{version['name']}", of["spec"]["names"]["kind"]): _strict(
            version["schema"]["openAPIV3Schema"]
        )
        for of in definitions
        for version in of["spec"]["versions"]
    }


def test_every_manifest_fits_its_schema(documents: Documents, kinds: Any) -> None:
    for document in documents:
        kind = (document["apiVersion"], document["kind"])
        if kind in kinds:
            jsonschema.validate(document, kinds[kind])
        else:
            _check_against_kubernetes(document)


def test_a_server_would_take_all_builds(build: Build, cluster: Kube) -> None:
    documents = [copy.deepcopy(document) for name in BUILDS for document in build(name)]
    if "policy/v1" not in cluster.kubectl("api-versions").splitlines():
        for document in documents:
            if document["apiVersion"] == "policy/v1":
                document["apiVersion"] = "policy/v1beta1"

    told = _dry_run(cluster, documents)

    assert told.count("(server dry run)") == len(documents)


def test_images_are_pinned(documents: Documents) -> None:
    images = [container["image"] for container in _containers(documents)]
    assert len(images) == 2
    assert all(PINNED.fullmatch(image) for image in images), images


def test_containers_are_confined(documents: Documents) -> None:
    for container in _containers(documents):
        granted = container["pod"].get("securityContext", {}) | container["securityContext"]
        assert granted["runAsNonRoot"] is True
        assert granted["runAsUser"] > 0
        assert granted["readOnlyRootFilesystem"] is True
        assert granted["allowPrivilegeEscalation"] is False
        assert granted["capabilities"] == {"drop": ["ALL"]}
        assert granted["seccompProfile"] == {"type": "RuntimeDefault"}
        for amounts in ("requests", "limits"):
            assert set(container["resources"][amounts]) == {"cpu", "memory"}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["httpGet"]["path"]


def test_rights_name_what_they_are_for(documents: Documents, name: str) -> None:
    assert not {"ClusterRole", "ClusterRoleBinding"} & {of["kind"] for of in documents}
    for role in _all(documents, "Role"):
        for rule in role["rules"]:
            named = [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert not [one for one in named if "*" in one]
            if "secrets" in rule["resources"]:
                # a Kubeflow with a store of its own: the one secret of that store
                assert name == "kind"
                assert rule["resourceNames"] == ["mlpipeline-minio-artifact"]
                assert rule["verbs"] == ["get"]


def test_secrets_have_no_values(documents: Documents) -> None:
    secrets = _all(documents, "Secret")
    for secret in secrets:
        assert not {"data", "stringData"} & secret.keys()
        assert secret["metadata"]["annotations"]["roadworthy/keys"]


def test_no_map_of_settings_has_a_key_for_a_secret(documents: Documents) -> None:
    maps = _all(documents, "ConfigMap")
    assert maps
    for one in maps:
        keys = {*one.get("data", {}), *one.get("binaryData", {})}
        assert keys
        assert not [key for key in keys if SECRET.search(key)]
        # and none of a setting that is kept secret
        assert not keys & {
            f"ROADWORTHY_{name.upper()}"
            for name, field in Settings.model_fields.items()
            if field.annotation is SecretStr
        }


def test_what_a_step_is_given_is_where_it_runs(documents: Documents, name: str) -> None:
    runs = KUBEFLOW if name in SINGLE_USER else NAMESPACE
    placed: dict[str, set[str]] = {}
    for document in documents:
        named = f"{document['kind']} {document['metadata']['name']}"
        placed.setdefault(named, set()).add(document["metadata"].get("namespace", ""))
    # given to the steps
    steps = KubeflowSettings().service_account
    assert placed[f"ServiceAccount {steps}"] == {runs}
    assert placed[f"ConfigMap {of_steps.CONFIG_MAP}"] == {runs}
    for secret in {*SECRETS} - {SERVING}:
        assert placed[f"Secret {secret}"] == {runs}
    # given to them and to the model servers
    assert placed[f"Secret {SERVING}"] == {runs, NAMESPACE}
    # given to the model servers alone
    assert placed["Secret roadworthy-s3-read"] == {NAMESPACE}
    # and every right is that account's
    for binding in _all(documents, "RoleBinding"):
        (subject,) = binding["subjects"]
        assert (subject["name"], subject["namespace"]) == (steps, runs)
        assert binding["metadata"]["namespace"] in placed[f"Role {binding['roleRef']['name']}"]


def test_settings_are_known_and_agree(
    documents: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given the settings as a pod's environment
    told = _only(documents, "ConfigMap", "roadworthy")["data"]
    for variable, value in told.items():
        monkeypatch.setenv(variable, value)

    # when they are read
    settings, kserve = Settings(), KServeSettings()

    # then each of them is one, and names what is in the other manifests
    prefixes = {"ROADWORTHY_KSERVE_": KServeSettings, "ROADWORTHY_": Settings}
    for variable in told:
        if not variable.startswith("AWS_"):
            prefix = next(one for one in prefixes if variable.startswith(one))
            field = variable.removeprefix(prefix).lower()
            assert field in prefixes[prefix].model_fields, variable
    assert settings.target == "kserve"
    assert kserve.namespace == NAMESPACE
    assert _only(documents, "ServingRuntime")["metadata"]["name"] == kserve.runtime
    (fetching,) = _only(documents, "ServiceAccount", kserve.service_account)["secrets"]
    s3 = _only(documents, "Secret", fetching["name"])["metadata"]["annotations"]
    scheme = "https" if s3["serving.kserve.io/s3-usehttps"] == "1" else "http"
    assert told["AWS_ENDPOINT_URL"] == f"{scheme}://{s3['serving.kserve.io/s3-endpoint']}"


def test_no_address_is_a_real_one(documents: Documents) -> None:
    found = set(HOST.findall(yaml.safe_dump_all(documents)))
    assert found
    for host in found:
        assert re.search(r"(^|\.)(example|example\.com|w3\.org|svc\.cluster\.local)$", host), host


def test_the_page_is_the_one_of_the_clone(documents: Documents, root: Path) -> None:
    files = {file.name: file.read_text() for file in (root / "inference-client").iterdir()}
    files.pop("kustomization.yaml")
    page = next(
        of for of in _all(documents, "ConfigMap") if "roadworthy-page" in of["metadata"]["name"]
    )
    assert page["data"] == files


@pytest.mark.parametrize(
    ("registry", "version", "image"),
    [
        ("", COMMIT, f"registry.example/roadworthy/serving:{COMMIT}"),
        ("images.example/a/", COMMIT, f"images.example/a/roadworthy/serving:{COMMIT}"),
        ("", DIGEST, f"registry.example/roadworthy/serving@{DIGEST}"),
    ],
    ids=["commit", "registry", "digest"],
)
def test_the_image_of_a_commit_gets_in(
    registry: str, version: str, image: str, root: Path, requires: Any, build: Build
) -> None:
    done = _render(root, requires, "production", version, REGISTRY=registry)
    assert done.returncode == 0, done.stderr
    documents = list(yaml.safe_load_all(done.stdout))
    assert image in [container["image"] for container in _containers(documents)]
    assert len(documents) == len(build("production"))
    # and what is still an example is told beside it
    assert "Addresses of overlay production that are examples yet" in done.stderr
    told = set(done.stderr.rpartition(": ")[2].split())
    assert {"gateway.example", "git.example", "models.example", "s3.example"} <= told
    assert ("registry.example" in told) is ("registry.example" in done.stdout)
    assert not list((root / "deploy" / "overlays").glob(".render*"))


@pytest.mark.parametrize(
    ("overlay", "version", "told"),
    [
        ("production", "latest", "'latest' is no whole commit and no digest"),
        ("production", "", "is no whole commit"),
        ("nothing", COMMIT, "There is no overlay 'nothing': name one of kind production staging."),
        ("", COMMIT, "There is no overlay ''"),
    ],
)
def test_an_image_that_is_not_pinned_does_not_get_in(
    overlay: str, version: str, told: str, root: Path, requires: Any
) -> None:
    done = _render(root, requires, overlay, version)
    assert done.returncode == 2
    assert told in done.stderr
    assert not done.stdout


@pytest.mark.parametrize(
    ("namespace", "labels", "on", "may"),
    [
        pytest.param(
            "monitoring", {"app.kubernetes.io/name": "prometheus"}, "", True, id="Prometheus"
        ),
        pytest.param(
            "envoy-gateway-system",
            {"app.kubernetes.io/component": "proxy"},
            "Standard",
            True,
            id="the gateway",
        ),
        pytest.param(
            "istio-system", {"istio": "ingressgateway"}, "Knative", True, id="the gateway of Istio"
        ),
        pytest.param(
            NAMESPACE, {"app.kubernetes.io/name": "roadworthy-client"}, "", False, id="the page"
        ),
        pytest.param(
            NAMESPACE, {"serving.kserve.io/inferenceservice": "fuel"}, "", False, id="a model"
        ),
        pytest.param(
            *(NAMESPACE, {"pipelines.kubeflow.org/v2_component": "true"}, "", False),
            id="a step",
        ),
        pytest.param(
            NAMESPACE,
            {"pipelines.kubeflow.org/v2_component": "true", "roadworthy/asks-models": "true"},
            *("Standard", True),
            id="a step of a rollout",
        ),
        pytest.param("default", {"app": "anything"}, "", False, id="another namespace"),
    ],
)
def test_who_reaches_a_model(
    documents: Documents, name: str, namespace: str, labels: dict[str, str], on: str, may: bool
) -> None:
    mode = "Knative" if "Knative" in name else "Standard"
    if name in SINGLE_USER and on == "Standard" and namespace == NAMESPACE:
        namespace = KUBEFLOW  # where the steps are
    reached = _reaches(
        documents, (namespace, labels), {"serving.kserve.io/inferenceservice": "fuel"}
    )
    assert reached is (may and on in ("", mode))


def _render(
    root: Path, requires: Any, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    assets = requires.variable(
        "KUBEBUILDER_ASSETS", "setup-envtest use -p path prints the directory"
    )
    return subprocess.run(
        [root / "deploy" / "render", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": f"{assets}:{os.defpath}", **variables},
    )


def _dry_run(cluster: Kube, documents: Documents) -> str:
    return cluster.kubectl(
        *("apply", "--server-side", "--dry-run=server", "-f", "-"),
        stdin=yaml.safe_dump_all(documents),
    )


def _check_against_kubernetes(document: dict[str, Any], _seen: set[str] = set()) -> None:  # noqa: B006 - remembers
    """Check a manifest, once for all builds that have the same: the check reads all schemas."""
    text = yaml.safe_dump(document)
    if text not in _seen:
        kubernetes_validate.validate(document, CURRENT, strict=True)
        _seen.add(text)


def _strict(schema: Any) -> Any:
    """Return an OpenAPI schema of a CRD as a JSON schema that refuses what it does not name."""
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _strict(value) for key, value in schema.items() if key != "format"}
    if "properties" in schema and isinstance(schema["properties"], dict):
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            made.setdefault("additionalProperties", False)
        # What every object has, a CRD leaves to the API server.
        if "metadata" in schema["properties"] and "apiVersion" in schema["properties"]:
            made["properties"]["metadata"] = {"type": "object"}
    if schema.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
    return made


def _all(documents: Documents, kind: str) -> Documents:
    return [document for document in documents if document["kind"] == kind]


def _only(documents: Documents, kind: str, name: str = "") -> dict[str, Any]:
    found = [of for of in _all(documents, kind) if not name or of["metadata"]["name"] == name]
    assert len(found) == 1, (kind, name)
    return found[0]


def _containers(documents: Documents) -> Iterator[dict[str, Any]]:
    """Return each container with its pod."""
    for document in documents:
        spec = document.get("spec", {})
        pod = spec.get("template", {}).get("spec", spec)
        for container in pod.get("containers", []):
            yield container | {"pod": pod}


def _reaches(documents: Documents, who: tuple[str, dict[str, str]], to: dict[str, str]) -> bool:
    """Return whether NetworkPolicies let a pod of a namespace reach another, on any port."""
    policies = [
        of["spec"]
        for of in _all(documents, "NetworkPolicy")
        if "Ingress" in of["spec"]["policyTypes"] and _selects(of["spec"]["podSelector"], to)
    ]
    assert policies, "nothing keeps anyone away"
    namespace, labels = who
    return any(
        _selects(
            peer.get(
                "namespaceSelector", {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}
            ),
            {"kubernetes.io/metadata.name": namespace},
        )
        and _selects(peer.get("podSelector", {}), labels)
        for policy in policies
        for rule in policy.get("ingress", [])
        for peer in rule.get("from", [{}])
        if "ipBlock" not in peer
    )


def _selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    met = {
        "In": lambda of: labels.get(of["key"]) in of["values"],
        "Exists": lambda of: of["key"] in labels,
    }
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        met[of["operator"]](of) for of in selector.get("matchExpressions", [])
    )
