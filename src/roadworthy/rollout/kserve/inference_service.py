"""The InferenceService of a model: its deployed versions, and its manifests. Pure functions.

In the mode `Standard` the champion is the predictor, the challenger an entry of ``spec.canary``,
and each has a Deployment of its own. In the mode `Knative` there is one predictor, the newest
version; ``canaryTrafficPercent`` is its weight, and Knative sends the rest to the revision that had
all traffic before, whose version is in the predictor's annotations.

KServe copies the annotations of an InferenceService to its pods, and restarts the pods when one
changes. So none here ever changes: weights and versions are in KServe's own fields, and the
manifest of a version is kept literally as long as it is deployed.

In the mode `Standard` KServe scales the predictor only, and takes the canary's pods from the
predictor's minimum. So the challenger's pods are set here, and added to the champion's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from roadworthy.rollout.engine.state import Rollout, RolloutError
from roadworthy.rollout.kserve.kserve_settings import KServeSettings, Mode

API_VERSION = "serving.kserve.io/v1beta1"
KIND = "InferenceService"
MANAGER = "roadworthy"
"""The name of our field manager."""
MODE = "serving.kserve.io/deploymentMode"
SERVICE_LABEL = "serving.kserve.io/inferenceservice"
"""KServe's label of the pods of an InferenceService."""
VERSION_LABEL = "roadworthy/version"
"""Our label of the pods of a version."""

_STOP = "serving.kserve.io/stop"
_FOLLOWS = "roadworthy/follows"
_FOLLOWS_URI, _FOLLOWS_RUNTIME = f"{_FOLLOWS}-uri", f"{_FOLLOWS}-runtime"
_VARIABLE = "ROADWORTHY_VERSION"
_PORT = 8080
_USER = 65532
_SCALING = ("maxReplicas", "autoScaling")
"""The fields that a canary may not have: KServe scales the predictor only."""
_PERCENT = "canaryTrafficPercent"
_WHOLE = 100
_DIGITS = 18
"""The most digits of a version."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Release:
    """A version, and the address of its bundle.

    Parameters
    ----------
    runtime
        The ServingRuntime that serves it. It does not count in comparisons.
    """

    version: int
    uri: str
    runtime: str = field(default="", compare=False)


@dataclass(frozen=True)
class Placed:
    """The deployed versions.

    Parameters
    ----------
    champion, challenger
        The versions; None where there is none.
    weight
        The challenger's percent of the traffic.
    pinned
        Whether, in the mode `Knative`, the champion's revision from before a challenger answers,
        and its newest revision is not ready yet.
    stopped
        A first version that was rolled back: it is there, and gets no traffic.
    """

    champion: Release | None = None
    challenger: Release | None = None
    weight: int = 0
    pinned: bool = False
    stopped: Release | None = None

    @property
    def releases(self) -> tuple[Release, ...]:
        """The champion and the challenger, where there are."""
        return tuple(one for one in (self.champion, self.challenger) if one is not None)


def read(now: Mapping[str, Any], mode: Mode) -> Placed:
    """Return the deployed versions of an InferenceService.

    Raises
    ------
    RolloutError
        Its predictor is not one of ours, or it has fields of the other mode.
    """
    spec = now.get("spec") or {}
    predictor = spec.get("predictor")
    if not predictor:
        return Placed()
    name = now["metadata"]["name"]
    found = _release(name, predictor)
    if (now["metadata"].get("annotations") or {}).get(_STOP) == "true":
        return Placed(stopped=found)
    _check_fields(name, spec, mode)
    return _standard(name, spec, found) if mode == "Standard" else _knative(predictor, found)


def ours(now: Mapping[str, Any], mode: Mode) -> Json:
    """Return an InferenceService without fields that no rollout made.

    A removal uses it, as nothing may delay that.
    """
    found: Json = deepcopy(dict(now))
    spec = found.get("spec") or {}
    entries = [one for one in spec.pop("canary", None) or [] if _found(one.get("predictor"))]
    if mode == "Standard":
        for one in (spec, *entries):
            (one.get("predictor") or {}).pop(_PERCENT, None)
        if entries:
            spec["canary"] = entries
    return found


def number(told: object) -> int:
    """Return the version in a text; 0 if it is none."""
    text = str(told)
    plain = text.isascii() and text.isdecimal() and len(text) <= _DIGITS
    return int(text) if plain else 0


def projected(now: Placed, rollout: Rollout, release: Release | None = None) -> Placed:
    """Return the deployed versions of a rollout that is not rolled back.

    Parameters
    ----------
    release
        The version's release, where it is not deployed yet.

    Raises
    ------
    RolloutError
        The version is not deployed, so it can have no weight and cannot be promoted.
    """
    alone = now.champion is None or now.champion.version == rollout.version
    known = (*now.releases, *([now.stopped] if now.stopped else []))
    version = release or next((one for one in known if one.version == rollout.version), None)
    if version is None:
        raise RolloutError(
            f"Version {rollout.version} of {rollout.model} is not staged, so it cannot be "
            f"{'promoted' if rollout.state == 'promoted' else 'given traffic'}. "
            f"Run `roadworthy run {rollout.model}` again."
        )
    if alone or rollout.state == "promoted":
        return Placed(version)
    return Placed(now.champion, version, rollout.weight if rollout.plan else 0)


def manifest(
    model: str,
    after: Placed,
    *,
    mode: Mode,
    settings: KServeSettings,
    now: Mapping[str, Any] | None = None,
    ready: int = 0,
    cover: int = 0,
) -> Json:
    """Return the manifest of an InferenceService.

    Parameters
    ----------
    now
        The manifest applied before, of which versions that stay are kept as they are.
    ready
        The champion's pods in the mode `Standard`, which it keeps beside a challenger.
    cover
        The percent of the traffic for which the challenger gets pods there, if that is more than
        its weight.

    Raises
    ------
    RolloutError
        There is no version to deploy, or a setting is not supported in the mode.
    """
    settings.check(mode)
    annotations: dict[str, str] = {MODE: mode}
    if mode == "Standard":
        annotations["serving.kserve.io/autoscalerClass"] = "hpa"
    else:
        annotations["serving.kserve.io/enable-tag-routing"] = "true"
    if after.stopped is not None:
        annotations[_STOP] = "true"
    made = _Maker(model, mode, settings, now or {})
    spec = made.standard(after, ready, cover) if mode == "Standard" else made.knative(after)
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": model,
            "namespace": settings.namespace,
            "labels": labels(model),
            "annotations": annotations,
        },
        "spec": spec,
    }


def budget(model: str, settings: KServeSettings, api_version: str = "policy/v1") -> Json:
    """Return the PodDisruptionBudget of a model's pods of all versions."""
    return {
        "apiVersion": api_version,
        "kind": "PodDisruptionBudget",
        "metadata": {
            "name": model,
            "namespace": settings.namespace,
            "labels": labels(model),
        },
        "spec": {
            "maxUnavailable": settings.max_unavailable,
            "selector": {"matchLabels": {SERVICE_LABEL: model}},
        },
    }


def labels(model: str) -> dict[str, str]:
    """Return the labels of all objects that serve a model."""
    return {
        "app.kubernetes.io/name": model,
        "app.kubernetes.io/part-of": "roadworthy",
        "app.kubernetes.io/managed-by": "roadworthy",
    }


def name_of(version: int) -> str:
    """Return the name of a version's predictor in the mode `Standard`."""
    return f"v{version}"


def service_name(now: Mapping[str, Any], version: int) -> str:
    """Return the name of the Service of a version's own pods in the mode `Standard`.

    Raises
    ------
    RolloutError
        The version is not deployed.
    """
    for predictor, name in zip(_predictors(now), service_names(now), strict=True):
        found = _found(predictor)
        if found is not None and found.version == version:
            return name
    model = now["metadata"]["name"]
    raise RolloutError(
        f"Version {version} of {model} is not deployed: run `roadworthy run {model}` again."
    )


def service_names(now: Mapping[str, Any]) -> Iterator[str]:
    """Yield the name of each predictor's Service, Deployment and autoscaler, mode `Standard`."""
    for predictor in _predictors(now):
        parts = (now["metadata"]["name"], predictor.get("name", ""), "predictor")
        yield "-".join(part for part in parts if part)


def runtimes(now: Mapping[str, Any]) -> Iterator[str]:
    """Yield the ServingRuntimes of the deployed versions and of those before, for a rollback."""
    for predictor in _predictors(now):
        yield (predictor.get("model") or {}).get("runtime", "")
        yield _followed(predictor).runtime


def pods_of_challenger(live: Mapping[str, Any]) -> int:
    """Return the challenger's number of pods in the mode `Standard`; 0 without one."""
    entries = [one.get("predictor") or {} for one in live["spec"].get("canary") or []]
    return sum(one.get("minReplicas", 0) for one in entries)


def told_weight(live: Mapping[str, Any], mode: Mode) -> int | None:
    """Return the weight that KServe reports for the newest version, or None."""
    status = live.get("status") or {}
    if mode == "Standard":
        canaries = status.get("canaryStatuses") or []
        return int(canaries[0].get("trafficPercent", 0)) if canaries else None
    # For a moment Knative may list the newest revision twice: with no traffic as the newest, and
    # with all of it as the one before. So it is found by its name.
    newest = newest_revision(live)
    parts = traffic(live)
    told = [int(one.get("percent", 0)) for one in parts if one.get("revisionName") == newest]
    return sum(told) if parts else None


def traffic(live: Mapping[str, Any]) -> list[Json]:
    """Return the traffic split that Knative reports."""
    return list(_component(live).get("traffic") or [])


def newest_revision(live: Mapping[str, Any]) -> str:
    """Return the name of the newest revision; empty before the first."""
    return str(_component(live).get("latestCreatedRevision") or "")


def follows(live: Mapping[str, Any]) -> Release | None:
    """Return the version before that of the predictor, or None."""
    found = _followed(live["spec"]["predictor"])
    return found if found.version and found.uri else None


def applied(live: Mapping[str, Any]) -> Json:
    """Return the fields of a live object that our field manager applied; empty if none."""
    for entry in live["metadata"].get("managedFields") or []:
        named = (entry.get("manager"), entry.get("operation"), entry.get("subresource", ""))
        if named == (MANAGER, "Apply", ""):
            found: Json = deepcopy(_picked(live, entry["fieldsV1"]))
            found.setdefault("metadata", {})["name"] = live["metadata"]["name"]
            return found
    return {}


def applied_at(live: Mapping[str, Any]) -> str:
    """Return when our fields of a live object were changed last, by the cluster's clock."""
    for entry in live["metadata"].get("managedFields") or []:
        if (entry.get("manager"), entry.get("operation")) == (MANAGER, "Apply"):
            return str(entry.get("time", ""))
    return ""


class _Maker:
    """Makes the ``spec`` of one InferenceService."""

    def __init__(
        self, model: str, mode: Mode, settings: KServeSettings, now: Mapping[str, Any]
    ) -> None:
        self._model = model
        self._mode = mode
        self._settings = settings
        self._now = now

    def standard(self, after: Placed, ready: int, cover: int) -> Json:
        champion = self._kept(self._only(after))
        # A canary has none of its own; one that was promoted is scaled like any champion.
        champion.setdefault("autoScaling", self._scaling()["autoScaling"])
        champion["model"].pop("name", None)
        # After a rollback the champion keeps its pods: the autoscaler has seen it with little
        # load, and would remove pods at the moment when all the load is back.
        own = self._pods_of_champion(self._only(after))
        if after.challenger is None:
            champion |= self._bounds(own, 0)
            # Explicitly empty: an omitted field stays if another manager wrote it, too.
            return {"predictor": champion, "canary": []}
        predictor = self._kept(after.challenger, after.champion)
        for name in _SCALING:
            predictor.pop(name, None)
        # Required by the schema, and refused by KServe unless it is empty.
        predictor["model"]["name"] = ""
        # A newer KServe takes the challenger's pods from the champion's only when they are ready:
        # until then the champion may have more than it needs.
        own = max(own, min(ready, self._settings.max_replicas))
        pods = self._pods_of_challenger(after.challenger, own, max(after.weight, cover))
        predictor["minReplicas"] = pods
        champion |= self._bounds(own, pods)
        canary = {"trafficPercent": after.weight, "predictor": predictor}
        return {"predictor": champion, "canary": [canary]}

    def knative(self, after: Placed) -> Json:
        predictor = self._kept(after.challenger or self._only(after), after.champion)
        predictor.pop(_PERCENT, None)
        if after.pinned or (after.challenger is not None and after.champion is not None):
            predictor[_PERCENT] = after.weight
        return {"predictor": predictor}

    def _only(self, after: Placed) -> Release:
        found = after.champion or after.stopped or after.challenger
        if found is None:
            raise RolloutError(
                f"No version of {self._model} is to be deployed, and an InferenceService "
                f"cannot be without one: run `roadworthy run {self._model}`."
            )
        return found

    def _pods_of_champion(self, release: Release) -> int:
        """Return the champion's minimum of pods, without those of a challenger."""
        predictor = (self._now.get("spec") or {}).get("predictor") or {}
        own = 0
        if predictor and _found(predictor) == release:
            own = predictor.get("minReplicas", 0) - pods_of_challenger(self._now)
        return max(self._settings.min_replicas, int(own))

    def _pods_of_challenger(self, release: Release, own: int, percent: int) -> int:
        """Return the challenger's pods for a weight, never fewer than it has."""
        entries = [one["predictor"] for one in (self._now.get("spec") or {}).get("canary") or []]
        now = [one.get("minReplicas", 0) for one in entries if _found(one) == release]
        return max(1, math.ceil(own * percent / _WHOLE), *map(int, now))

    def _bounds(self, own: int, beside: int) -> Json:
        """Return the bounds of the champion's pods, from which KServe takes the challenger's."""
        most = max(self._settings.max_replicas, own)
        return {"minReplicas": own + beside, "maxReplicas": most + beside}

    def _kept(self, release: Release, after: Release | None = None) -> Json:
        """Return the predictor of a version as it is, or a new one."""
        for predictor in _predictors(self._now):
            if _found(predictor) == release:
                return deepcopy(predictor)
        return self._new(release, after)

    def _new(self, release: Release, after: Release | None) -> Json:
        settings = self._settings
        made: Json = {
            "labels": {**labels(self._model), VERSION_LABEL: str(release.version)},
            "serviceAccountName": settings.service_account,
            "automountServiceAccountToken": False,
            **self._scaling(),
            "model": self._container(release),
        }
        if self._mode == "Standard":
            made["name"] = name_of(release.version)
            made["terminationGracePeriodSeconds"] = (
                settings.grace_seconds or settings.drain_seconds + 30
            )
        else:
            made["annotations"] = {
                "autoscaling.knative.dev/scale-down-delay": f"{settings.stabilization_seconds}s"
            }
            if settings.container_concurrency:
                made["containerConcurrency"] = settings.container_concurrency
        if after is not None:
            made.setdefault("annotations", {}).update(_following(after))
        key = settings.spread or ("kubernetes.io/hostname" if self._mode == "Standard" else "")
        alike = {SERVICE_LABEL: self._model, VERSION_LABEL: str(release.version)}
        if self._mode == "Standard":  # Knative refuses an affinity unless that is enabled
            made["affinity"] = _apart(alike)
        if key:
            made["topologySpreadConstraints"] = [
                {
                    "maxSkew": 1,
                    "topologyKey": key,
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchLabels": alike},
                }
            ]
        return made

    def _scaling(self) -> Json:
        settings, mode = self._settings, self._mode
        bounds = {"minReplicas": settings.min_replicas, "maxReplicas": settings.max_replicas}
        metric, target = settings.metric(mode), settings.target(mode)
        if mode == "Knative":
            return {**bounds, "scaleMetric": metric, "scaleTarget": target}
        down = {"stabilizationWindowSeconds": settings.stabilization_seconds}
        up = {"stabilizationWindowSeconds": settings.scale_up_seconds}
        goal = {"type": "Utilization", "averageUtilization": target}
        metrics = [{"type": "Resource", "resource": {"name": metric, "target": goal}}]
        behavior = {"scaleDown": down, "scaleUp": up}
        return {**bounds, "autoScaling": {"metrics": metrics, "behavior": behavior}}

    def _container(self, release: Release) -> Json:
        settings = self._settings
        probe = {"periodSeconds": 5, "timeoutSeconds": 3, "failureThreshold": 3}
        made: Json = {
            "modelFormat": {"name": "roadworthy", "version": "1"},
            "runtime": release.runtime or settings.runtime,
            "storageUri": release.uri,
            "args": ["--drain-seconds", str(settings.drain_seconds)],
            "env": [{"name": _VARIABLE, "value": str(release.version)}],
            "resources": {
                "requests": {"cpu": settings.cpu_request, "memory": settings.memory_request},
                "limits": {"cpu": settings.cpu_limit, "memory": settings.memory_limit},
            },
            "readinessProbe": {"httpGet": _route("ready"), **probe},
            "livenessProbe": {"httpGet": _route("live"), **probe, "periodSeconds": 10},
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": _USER,
                "runAsGroup": _USER,
                "readOnlyRootFilesystem": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            # So that a diagnosis can show the last log line of a pod that failed.
            "terminationMessagePolicy": "FallbackToLogsOnError",
        }
        if self._mode == "Standard":  # Knative probes starting pods itself
            made["startupProbe"] = {
                "httpGet": _route("live"),
                "periodSeconds": 2,
                "failureThreshold": max(1, math.ceil(settings.startup / 2)),
            }
        return made


def _component(live: Mapping[str, Any]) -> Mapping[str, Any]:
    components = (live.get("status") or {}).get("components") or {}
    return components.get("predictor") or {}


def _apart(alike: Mapping[str, str]) -> Json:
    """Return the preference that pods with some labels run on nodes of their own."""
    term = {
        "labelSelector": {"matchLabels": dict(alike)},
        "topologyKey": "kubernetes.io/hostname",
    }
    preference = [{"weight": 100, "podAffinityTerm": term}]
    return {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preference}}


def _route(what: str) -> Json:
    return {"path": f"/v2/health/{what}", "port": _PORT}


def _predictors(now: Mapping[str, Any]) -> Iterator[Json]:
    spec = now.get("spec") or {}
    if spec.get("predictor"):
        yield spec["predictor"]
    yield from (entry.get("predictor") or {} for entry in spec.get("canary") or [])


def _found(predictor: Mapping[str, Any] | None) -> Release | None:
    """Return the version of a predictor; None if it is not one of ours."""
    container = (predictor or {}).get("model") or {}
    told = {one.get("name"): one.get("value", "") for one in container.get("env") or []}
    version = number(told.get(_VARIABLE))
    uri = container.get("storageUri")
    return Release(version, uri, container.get("runtime", "")) if version and uri else None


def _release(model: str, predictor: Mapping[str, Any]) -> Release:
    found = _found(predictor)
    if found is None:
        raise RolloutError(
            f"The InferenceService {model} serves something that no rollout put there: delete it "
            f"(`kubectl delete inferenceservice {model}`) or rename it, and run again."
        )
    return found


def _standard(model: str, spec: Mapping[str, Any], found: Release) -> Placed:
    canaries = spec.get("canary") or []
    if not canaries:
        return Placed(found)
    challenger = _found(canaries[0].get("predictor"))
    if challenger is None:
        raise RolloutError(
            f"The canary of the InferenceService {model} is not one that a rollout put there: "
            f"`roadworthy rollout abort {model}` takes it off, or where no rollout is under way "
            f"`kubectl patch inferenceservice {model} --type=json "
            f'--patch \'[{{"op":"remove","path":"/spec/canary"}}]\'`.'
        )
    return Placed(found, challenger, int(canaries[0].get("trafficPercent", 0)))


def _knative(predictor: Mapping[str, Any], found: Release) -> Placed:
    percent = predictor.get(_PERCENT)
    if percent is None:
        return Placed(found)
    before = _followed(predictor)
    if before.version in (0, found.version):
        return Placed(found, pinned=True)
    return Placed(before, found, int(percent))


def _following(before: Release) -> dict[str, str]:
    """Return the annotations of a predictor with the version before it."""
    told = {_FOLLOWS: str(before.version), _FOLLOWS_URI: before.uri}
    return told | {_FOLLOWS_RUNTIME: before.runtime}


def _followed(predictor: Mapping[str, Any]) -> Release:
    told = predictor.get("annotations") or {}
    return Release(
        number(told.get(_FOLLOWS)), told.get(_FOLLOWS_URI, ""), told.get(_FOLLOWS_RUNTIME, "")
    )


def _check_fields(model: str, spec: Mapping[str, Any], mode: Mode) -> None:
    """Refuse a field that KServe ignores in this mode without a warning."""
    other = "spec.canary" if spec.get("canary") and mode == "Knative" else ""
    if mode == "Standard":
        fields = (spec, *(entry for entry in spec.get("canary") or []))
        if any(_PERCENT in (one.get("predictor") or {}) for one in fields):
            other = f"spec.predictor.{_PERCENT}"
    if other:
        raise RolloutError(
            f"The InferenceService {model} has {other}, which KServe ignores in the mode {mode}: "
            f"its traffic is not as specified. Remove the field with `kubectl edit "
            f"inferenceservice {model}`, and run again."
        )


def _picked(value: Any, fields: Mapping[str, Any]) -> Any:
    """Return the part of a value that a set of fields names, in the API server's notation."""
    named = {key: inner for key, inner in fields.items() if key != "."}
    if not named:
        return value
    if isinstance(value, list):
        return [_item(value, key, inner) for key, inner in named.items()]
    return {
        key.removeprefix("f:"): _picked(value[key.removeprefix("f:")], inner)
        for key, inner in named.items()
        if key.removeprefix("f:") in value
    }


def _item(values: list[Any], key: str, fields: Mapping[str, Any]) -> Any:
    kind, _, told = key.partition(":")
    wanted = json.loads(told)
    if kind == "v":
        return wanted
    found = next(one for one in values if wanted.items() <= one.items())
    return {**wanted, **_picked(found, fields)}
