"""KServe: its kinds, its mode and what that can do, and the models that it serves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from roadworthy.core.settings import Settings
from roadworthy.doctor.api import Api, RefusedError
from roadworthy.doctor.finding import Finding, missing, ok, warning
from roadworthy.doctor.objects import forbidden
from roadworthy.rollout.engine.state import RolloutError
from roadworthy.rollout.kserve.kserve_settings import MODES, KServeSettings

KINDS = {"inferenceservices": "v1beta1", "servingruntimes": "v1alpha1"}
_GROUP = "serving.kserve.io"
_KIND = "InferenceService"
_EXPLAIN = "kubectl explain inferenceservice.spec"
_OURS = "app.kubernetes.io/managed-by=roadworthy"
_INSTALL = "kubectl apply --server-side --filename KSERVE.yaml"
_CONFIG = "/api/v1/namespaces/kserve/configmaps/inferenceservice-config"
_SECONDS = 5.0
_DOES = {
    "Knative": "shares the traffic by canaryTrafficPercent",
    "Standard": "shares the traffic by spec.canary",
}


def kinds(api: Api) -> Sequence[Finding]:
    """Look whether the cluster has KServe's kinds, and knows ``spec.canary``."""
    found = []
    for plural, version in KINDS.items():
        try:
            listed = api.get(f"/apis/{_GROUP}/{version}")["resources"]
            there = plural in {one["name"] for one in listed}
        except RefusedError as error:
            if not error.is_absent:
                raise
            there = False
        name = f"kind {plural}"
        made = ok(name, f"{_GROUP}/{version}")
        found.append(made if there else missing(name, "not there: KServe is not here", _INSTALL))
    return [*found, *([canary(api)] if found[0].state == "ok" else [])]


def canary(api: Api) -> Finding:
    """Look whether an InferenceService may have ``spec.canary``, from KServe 0.20 on."""
    name = "spec.canary"
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/inferenceservices.{_GROUP}"
    try:
        versions = api.get(path)["spec"]["versions"]
        schema = next(one for one in versions if one["name"] == KINDS["inferenceservices"])
        spec = schema["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    except RefusedError as error:
        if not error.is_forbidden:
            raise
        spec = _described(api)
    if spec is None:
        return warning(name, "the cluster does not tell whether it knows it", f"{_EXPLAIN}.canary")
    if "canary" in spec:
        return ok(name, "known: versions can share traffic in the mode Standard")
    return warning(name, "not known: in the mode Standard versions cannot share traffic", _INSTALL)


def mode(api: Api, kserve: KServeSettings) -> Finding:
    """Look which mode an InferenceService gets that names none, and what that mode can do."""
    name = "KServe's mode"
    try:
        told = api.get(_CONFIG).get("data") or {}
    except RefusedError as error:
        if error.is_absent:
            return missing(name, "there is no ConfigMap kserve/inferenceservice-config", _INSTALL)
        if error.is_forbidden:
            return forbidden(name, kserve.namespace)
        raise
    return _judged(name, told, kserve)


def models(api: Api, settings: Settings, kserve: KServeSettings) -> Sequence[Finding]:
    """Look how each model stands that KServe serves."""
    path = f"/apis/{_GROUP}/{KINDS['inferenceservices']}/namespaces/{kserve.namespace}"
    try:
        listed = api.get(f"{path}/inferenceservices?labelSelector={_OURS}")["items"]
    except RefusedError as error:
        if error.is_forbidden:
            return [forbidden("models on KServe", kserve.namespace)]
        return []  # that the kind is not there has a line of its own
    names = [one["metadata"]["name"] for one in listed]
    if not names:
        told = "none is served yet"
        return [warning("models on KServe", told, "roadworthy submit fuel --trigger data")]
    return [_standing(settings, name) for name in names]


def _judged(name: str, config: Mapping[str, str], kserve: KServeSettings) -> Finding:
    """Judge the mode that KServe's settings name."""
    remedy = "kubectl --namespace kserve edit configmap inferenceservice-config"
    try:
        chosen = json.loads(config["deploy"])["defaultDeploymentMode"]
    except (KeyError, TypeError, ValueError):
        return missing(name, "kserve/inferenceservice-config names no default mode", remedy)
    known = MODES.get(chosen)
    if known is None:
        told = f"{chosen}, in which nothing can be rolled out"
        return missing(name, told, remedy)
    try:
        kserve.check(known)
    except RolloutError as error:
        return missing(name, str(error), "env | grep ROADWORTHY_KSERVE_")
    if known == "Standard" and not _has_gateway_api(config):
        words = "Standard without enableGatewayApi: versions get no share of the traffic"
        return missing(name, words, remedy)
    return ok(name, f"{known}, which {_DOES[known]}")


def _has_gateway_api(config: Mapping[str, str]) -> bool:
    """Return whether KServe makes routes of the Gateway API; what is not told is off."""
    try:
        told: object = json.loads(config["ingress"])["enableGatewayApi"]
    except (KeyError, TypeError, ValueError):
        return False
    return told is True


def _described(api: Api) -> Mapping[str, Any] | None:
    """Return the fields of a spec by the description of the API, which every account may read."""
    version = KINDS["inferenceservices"]
    try:
        kinds = api.get(f"/openapi/v3/apis/{_GROUP}/{version}")["components"]["schemas"]
    except RefusedError:  # an old one tells everything at once
        kinds = api.get("/openapi/v2")["definitions"]
    named = (found for key, found in kinds.items() if key.endswith(f"{version}.{_KIND}"))
    kind: Mapping[str, Any] = next(named, {})
    fields: Mapping[str, Any] | None = kind.get("properties", {}).get("spec", {}).get("properties")
    return fields


def _standing(settings: Settings, model: str) -> Finding:
    from roadworthy.rollout.actions.targets import target

    # An API server that goes away meanwhile is not waited for as a rollout waits.
    hasty = settings.model_copy(update={"target": "kserve", "ready_seconds": _SECONDS})
    standing = target(hasty).status(model)
    name = f"model {model}"
    if standing.problem or not standing.ready:
        told = standing.problem or f"{standing.place} is not ready"
        return missing(name, told, f"roadworthy status {model}")
    beside = f", {standing.challenger} has {standing.share} %" if standing.challenger else ""
    return ok(name, f"version {standing.champion} at {standing.url}{beside}")
