"""KServe: its kinds, its mode and what that can do, and the models that it serves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from roadworthy.core.settings import Settings
from roadworthy.doctor.cluster import AbsentError, Api, RefusedError
from roadworthy.doctor.finding import Finding, missing, ok, warning
from roadworthy.rollout.engine.state import RolloutError
from roadworthy.rollout.kserve.kserve_settings import MODES, KServeSettings

_GROUP = "serving.kserve.io"
_KINDS = {"inferenceservices": "v1beta1", "servingruntimes": "v1alpha1"}
_OURS = "app.kubernetes.io/managed-by=roadworthy"
_INSTALL = "kubectl apply --server-side --filename KSERVE.yaml"
_CONFIG = "/api/v1/namespaces/kserve/configmaps/inferenceservice-config"
_SECONDS = 5.0
_SPLITS = {"Knative": "canaryTrafficPercent", "Standard": "spec.canary"}


def kinds(api: Api) -> Sequence[Finding]:
    """Check that the cluster has KServe's kinds, and knows ``spec.canary``."""
    found = []
    for plural, version in _KINDS.items():
        try:
            listed = api.get(f"/apis/{_GROUP}/{version}")["resources"]
        except AbsentError:
            listed = []
        name = f"kind {plural}"
        made = ok(name, f"{_GROUP}/{version}")
        there = plural in {one["name"] for one in listed}
        found.append(made if there else missing(name, "KServe is not installed", _INSTALL))
    return [*found, *([_canary(api)] if found[0].state == "ok" else [])]


def mode(api: Api, kserve: KServeSettings) -> Finding:
    """Check the mode of an InferenceService that names none, and what that mode can do."""
    name = "KServe's mode"
    remedy = "kubectl --namespace kserve edit configmap inferenceservice-config"
    try:
        config = api.get(_CONFIG).get("data") or {}
    except AbsentError:
        return missing(name, "there is no ConfigMap kserve/inferenceservice-config", _INSTALL)
    chosen = _setting(config, "deploy", "defaultDeploymentMode")
    if chosen is None:
        return missing(name, "kserve/inferenceservice-config names no default mode", remedy)
    known = MODES.get(str(chosen))
    if known is None:
        return missing(name, f"{chosen}, in which nothing can be rolled out", remedy)
    try:
        kserve.check(known)
    except RolloutError as error:
        return missing(name, str(error), "env | grep ROADWORTHY_KSERVE_")
    if known == "Standard" and _setting(config, "ingress", "enableGatewayApi") is not True:
        told = "Standard without enableGatewayApi: traffic cannot be split"
        return missing(name, told, remedy)
    return ok(name, f"{known}, which splits traffic by {_SPLITS[known]}")


def models(api: Api, settings: Settings, kserve: KServeSettings) -> Sequence[Finding]:
    """Check each model that KServe serves."""
    path = f"/apis/{_GROUP}/{_KINDS['inferenceservices']}/namespaces/{kserve.namespace}"
    try:
        listed = api.get(f"{path}/inferenceservices?labelSelector={_OURS}")["items"]
    except AbsentError:  # which has a line of its own
        return []
    if not listed:
        told = "none is served yet"
        return [warning("models on KServe", told, "roadworthy submit MODEL --trigger data")]
    return [_model(settings, one["metadata"]["name"]) for one in listed]


def _canary(api: Api) -> Finding:
    """Check that an InferenceService may have ``spec.canary``, from KServe 0.20 on."""
    name, version = "spec.canary", _KINDS["inferenceservices"]
    try:
        known = api.get(f"/openapi/v3/apis/{_GROUP}/{version}")["components"]["schemas"]
    except RefusedError:  # before Kubernetes 1.24 all kinds are described at once
        known = api.get("/openapi/v2")["definitions"]
    named = (one for key, one in known.items() if key.endswith(f"{version}.InferenceService"))
    kind: Mapping[str, Any] = next(named, {})
    spec = kind.get("properties", {}).get("spec", {}).get("properties")
    if spec is None:
        told = "the cluster does not tell whether it knows it"
        return warning(name, told, "kubectl explain inferenceservice.spec.canary")
    if "canary" in spec:
        return ok(name, "known: the mode Standard can split traffic")
    return warning(name, "not known: the mode Standard cannot split traffic", _INSTALL)


def _setting(config: Mapping[str, str], section: str, key: str) -> Any:
    """Return one of KServe's own settings, or None."""
    try:
        return json.loads(config[section])[key]
    except (LookupError, TypeError, ValueError):
        return None


def _model(settings: Settings, model: str) -> Finding:
    from roadworthy.rollout.actions.targets import target

    # An API server that goes away meanwhile is not waited for as a rollout waits.
    hasty = settings.model_copy(update={"target": "kserve", "ready_seconds": _SECONDS})
    standing = target(hasty).status(model)
    name = f"model {model}"
    if standing.problem or not standing.ready:
        told = standing.problem or f"{standing.place} is not ready"
        return missing(name, told, f"roadworthy status {model}")
    beside = f", {standing.challenger} gets {standing.weight} %" if standing.challenger else ""
    return ok(name, f"version {standing.champion} at {standing.url}{beside}")
