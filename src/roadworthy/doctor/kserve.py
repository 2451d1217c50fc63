"""KServe: its kinds, its mode and what that can do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from roadworthy.doctor.cluster import AbsentError, Api
from roadworthy.doctor.finding import Finding, missing, ok, warning
from roadworthy.rollout.engine.state import RolloutError
from roadworthy.rollout.kserve.kserve_settings import MODES, KServeSettings

_GROUP = "serving.kserve.io"
_KINDS = {"inferenceservices": "v1beta1", "servingruntimes": "v1alpha1"}
_INSTALL = "kubectl apply --server-side --filename KSERVE.yaml"
_DEFINITION = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/inferenceservices.{_GROUP}"
_CONFIG = "/api/v1/namespaces/kserve/configmaps/inferenceservice-config"
_SPLITS = {"Knative": "canaryTrafficPercent", "Standard": "spec.canary"}


def kinds(api: Api) -> Sequence[Finding]:
    """Check that the cluster has KServe's kinds."""
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
    return found


def canary(api: Api) -> Finding:
    """Check that an InferenceService may have ``spec.canary``, from KServe 0.20 on."""
    name = "spec.canary"
    try:
        versions = api.get(_DEFINITION)["spec"]["versions"]
    except AbsentError:
        return warning(name, "KServe is not installed", _INSTALL)
    for version in versions:
        kind = version["schema"]["openAPIV3Schema"]["properties"]
        if "canary" in kind.get("spec", {}).get("properties", {}):
            return ok(name, "known: the mode Standard can split traffic")
    return warning(name, "not known: the mode Standard cannot split traffic", _INSTALL)


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


def _setting(config: Mapping[str, str], section: str, key: str) -> Any:
    """Return one of KServe's own settings, or None."""
    try:
        return json.loads(config[section])[key]
    except (LookupError, TypeError, ValueError):
        return None
