"""What a cluster must have: namespace, accounts, secrets, settings and the runtime.

Models are served in one namespace, and the steps of a pipeline run in one. It is the same in a
multi-user Kubeflow; in a single-user one the steps run in Kubeflow's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from roadworthy.doctor.checks import Look
from roadworthy.doctor.cluster import AbsentError, Api, ForbiddenError
from roadworthy.doctor.finding import Finding, missing, ok, warning
from roadworthy.doctor.variables import takes_token, wrong
from roadworthy.engines.kubeflow.image import NULL_COMMIT, ImageError, pinned
from roadworthy.engines.kubeflow.secrets import GIT, S3, SECRETS, SERVING
from roadworthy.rollout.kserve.kserve_settings import KServeSettings

APPLY = 'deploy/render OVERLAY "$(git rev-parse HEAD)" | kubectl apply --server-side --filename -'
"""The command that makes all but the values of secrets."""
SINGLE_USER = "kubeflow"
"""The namespace in which a single-user Kubeflow runs the steps."""
_ACCOUNTS = ("roadworthy-serving", "roadworthy-client")
_FETCHING = "roadworthy-s3-read"
_NEEDED = (GIT, S3, _FETCHING)
"""The secrets without which no release can be pushed and no bundle fetched. The others have
defaults, but for the token where the ServingRuntime requires it."""
_NAME = "roadworthy"
_LABELS = {"serviceaccounts": "account", "secrets": "secret", "configmaps": "ConfigMap"}


class _Object(NamedTuple):
    """An object: the name of its line, the message where it is absent, and its path."""

    line: str
    absent: str
    path: str


class Place(NamedTuple):
    """Where the checks look: KServe's settings, and the namespace and account of the steps."""

    kserve: KServeSettings
    runs: str
    account: str

    def object(self, kind: str, name: str, namespace: str) -> _Object:
        """Return an object of a namespace."""
        path = f"/api/v1/namespaces/{namespace}/{kind}/{name}"
        line = f"{_LABELS[kind]} {name}"
        if namespace == self.kserve.namespace:
            return _Object(line, "not there", path)
        return _Object(f"{line} in {namespace}", "not there, where the steps run", path)


def checks(api: Api, place: Place) -> Mapping[str, Look]:
    """Return the checks of objects by the names of their lines."""
    served = place.kserve.namespace
    accounts = [
        (place.account, place.runs),
        *((one, served) for one in dict.fromkeys((*_ACCOUNTS, place.kserve.service_account))),
    ]
    secrets = [
        *((name, place.runs, keys) for name, keys in SECRETS.items()),
        (_FETCHING, served, SECRETS[S3]),
        (SERVING, served, SECRETS[SERVING]),
    ]
    return {
        "namespace": partial(namespace, api, served),
        f"ServingRuntime {place.kserve.runtime}": partial(runtime, api, place),
        **{
            place.object("serviceaccounts", *one).line: partial(account, api, place, *one)
            for one in accounts
        },
        **{
            place.object("secrets", *one[:2]).line: partial(secret, api, place, *one)
            for one in secrets
        },
        place.object("configmaps", _NAME, place.runs).line: partial(settings_of_steps, api, place),
    }


def namespace(api: Api, name: str) -> Finding:
    """Check that the namespace exists."""
    found = _read(api, f"/api/v1/namespaces/{name}")
    if found is None:
        return missing("namespace", f"{name} is not there", APPLY)
    return ok("namespace", f"{name}, {found['status'].get('phase', '')}".rstrip(", "))


def runtime(api: Api, place: Place) -> Finding:
    """Check that the ServingRuntime exists, and names a pinned image."""
    name = f"ServingRuntime {place.kserve.runtime}"
    found = _read(api, _runtime(place.kserve))
    if found is None:
        return missing(name, "not there", APPLY)
    spec = found["spec"]
    images = [one.get("image", "") for one in spec.get("containers") or []]
    problems = [
        "it is disabled" if spec.get("disabled") else "",
        ""
        if _NAME in [one.get("name") for one in spec.get("supportedModelFormats") or []]
        else f"it serves no model of the format {_NAME}",
        *map(unpinned, images),
    ]
    problem = next(filter(None, problems), "")
    return missing(name, problem, APPLY) if problem else ok(name, ", ".join(images))


def account(api: Api, place: Place, account: str, namespace: str) -> Finding:
    """Check that a service account exists; the one of the servers with its secret."""
    name, absent, path = place.object("serviceaccounts", account, namespace)
    found = _read(api, path)
    if found is None:
        return missing(name, absent, APPLY)
    secrets = {one.get("name") for one in found.get("secrets") or []}
    if account == place.kserve.service_account and _FETCHING not in secrets:
        told = f"it names no secret {_FETCHING}: only a pod's own identity can fetch"
        return warning(name, told, APPLY)
    return ok(name, "there")


def secret(api: Api, place: Place, secret: str, namespace: str, keys: Sequence[str]) -> Finding:
    """Check that a secret exists and has its keys. Its values are never asked for."""
    name, told, path = place.object("secrets", secret, namespace)
    found = _read(api, path, metadata=True)
    if found is not None:
        notes = found["metadata"].get("annotations") or {}
        keys = notes.get("roadworthy/keys", "").split() or keys
        lacking = sorted(set(keys) - _keys(found["metadata"]))
        if not lacking:
            return ok(name, f"has {' and '.join(keys)}")
        told = f"it has no {' and '.join(lacking)}"
    if secret == GIT:
        config = _read(api, place.object("configmaps", _NAME, place.runs).path)
        remote = ((config or {}).get("data") or {}).get("ROADWORTHY_GIT_REMOTE", "")
        if remote and not takes_token(remote):
            return ok(name, f"{told}, and {remote} takes no token")
    # From files: a value is never typed in a command.
    files = " ".join(f"--from-file={key}=FILE" for key in keys)
    remedy = (
        f"kubectl --namespace {namespace} create secret generic {secret} {files} "
        f"--dry-run=client --output yaml | "
        f"kubectl apply --server-side --field-manager=person --filename -"
    )
    if secret in _required(api, place.kserve):
        return missing(name, f"{told}, and the ServingRuntime requires it", remedy)
    if secret in _NEEDED:
        return missing(name, told, remedy)
    return warning(name, f"{told}; some installations need it", remedy)


def settings_of_steps(api: Api, place: Place) -> Finding:
    """Check that the settings of the steps are valid and complete."""
    name, absent, path = place.object("configmaps", _NAME, place.runs)
    found = _read(api, path)
    if found is None:
        return missing(name, absent, APPLY)
    told = dict(found.get("data") or {})
    problems = wrong(told)
    remedy = f"kubectl --namespace {place.runs} edit configmap {_NAME}"
    if problems:
        return missing(name, "; ".join(problems), remedy)
    return ok(name, f"{len(told)} settings, all known")


def unpinned(image: str) -> str:
    """Return what is wrong with an image's name, or nothing."""
    if NULL_COMMIT in image:
        return f"{image} is a placeholder for an image"
    try:
        pinned(image)
    except ImageError as error:
        return str(error)
    return ""


def _read(api: Api, path: str, *, metadata: bool = False) -> Any:
    """Return an object, or None where it is absent."""
    try:
        return api.get(path, metadata=metadata)
    except AbsentError:
        return None


def _keys(metadata: Any) -> set[str]:
    """Return the keys of a secret, by the names of the fields that were written."""
    return {
        key.removeprefix("f:")
        for entry in metadata.get("managedFields") or []
        for part in ("f:data", "f:stringData")
        for key in (entry.get("fieldsV1") or {}).get(part) or {}
        if key.startswith("f:")
    }


def _required(api: Api, kserve: KServeSettings) -> set[str]:
    """Return the secrets without which no pod of the ServingRuntime starts."""
    try:
        found = api.get(_runtime(kserve))
    except (AbsentError, ForbiddenError):  # which has a line of its own
        return set()
    variables = [v for one in found["spec"].get("containers") or [] for v in one.get("env") or []]
    named = ((one.get("valueFrom") or {}).get("secretKeyRef") for one in variables)
    return {str(one.get("name")) for one in named if one and not one.get("optional")}


def _runtime(kserve: KServeSettings) -> str:
    path = "/apis/serving.kserve.io/v1alpha1/namespaces"
    return f"{path}/{kserve.namespace}/servingruntimes/{kserve.runtime}"
