"""What a cluster must have: accounts, secrets, settings and the runtime.

Models are served in one namespace, and the steps of a pipeline run in one. It is the same where
Kubeflow has several users, each with a namespace; with a single one it is Kubeflow's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from roadworthy.doctor.api import Api, RefusedError
from roadworthy.doctor.finding import Finding, missing, ok, warning
from roadworthy.doctor.variables import examples, wrong
from roadworthy.engines.kubeflow.image import NULL_COMMIT, ImageError, pinned
from roadworthy.engines.kubeflow.secrets import GIT, S3, SECRETS, SERVING
from roadworthy.rollout.kserve.kserve_settings import KServeSettings

APPLY = 'deploy/render OVERLAY "$(git rev-parse HEAD)" | kubectl apply --server-side --filename -'
"""What makes all but the values of secrets. The overlay is a person's choice."""
SINGLE_USER = "kubeflow"
"""The namespace in which a Kubeflow of a single user runs the steps."""
_ADDRESS = f'"$EDITOR" deploy/overlays/OVERLAY/*.yaml && {APPLY}'

_ACCOUNTS = ("roadworthy-serving", "roadworthy-client")
_FETCHING = "roadworthy-s3-read"
_OF_MODELS = {_FETCHING: SECRETS[S3], SERVING: SECRETS[SERVING]}
"""Those of the model servers."""
NEEDED = (GIT, S3, _FETCHING)
"""Those without which no release can be pushed and no bundle fetched. The others have defaults, but
for the token, where the ServingRuntime demands it."""
_NAME = "roadworthy"
_HIDDEN = "one may not look (403)"
_ENDPOINT = "serving.kserve.io/s3-endpoint"
_RUNTIMES = "/apis/serving.kserve.io/v1alpha1/namespaces"


def namespace(api: Api, kserve: KServeSettings) -> Finding:
    """Look whether the namespace is there."""
    name = kserve.namespace
    return _there(
        api,
        name,
        missing("namespace", f"{name} is not there", APPLY),
        f"/api/v1/namespaces/{name}",
        lambda found: ok("namespace", f"{name}, {found['status'].get('phase', '')}".rstrip(", ")),
    )


def runtime(api: Api, kserve: KServeSettings) -> Finding:
    """Look whether the ServingRuntime is there, and names an image that stays the same."""
    name = f"ServingRuntime {kserve.runtime}"

    def judged(found: Any) -> Finding:
        spec = found["spec"]
        formats = [one.get("name") for one in spec.get("supportedModelFormats") or []]
        images = [one.get("image", "") for one in spec.get("containers") or []]
        if spec.get("disabled"):
            return missing(name, "it is disabled", APPLY)
        if _NAME not in formats:
            return missing(name, f"it serves no model of the format {_NAME}", APPLY)
        for image in images:
            problem = unpinned(image)
            if problem:
                return missing(name, problem, APPLY)
        return ok(name, ", ".join(images))

    absent = missing(name, "not there", APPLY)
    return _there(api, kserve.namespace, absent, _runtime(kserve), judged)


def accounts(api: Api, kserve: KServeSettings, runs: str, account: str) -> Sequence[Finding]:
    """Look whether each service account is there; the one of the servers with its secret.

    Parameters
    ----------
    runs
        The namespace in which the steps run.
    account
        The account of the steps.
    """

    def judge(served_by: str, name: str) -> Callable[[Any], Finding]:
        def judged(found: Any) -> Finding:
            named = {one.get("name") for one in found.get("secrets") or []}
            if served_by == kserve.service_account and _FETCHING not in named:
                told = f"it names no secret {_FETCHING}: only a pod's own identity can fetch"
                return warning(name, told, APPLY)
            return ok(name, "there")

        return judged

    served = dict.fromkeys((*_ACCOUNTS, kserve.service_account))
    found = []
    for one, place in ((account, runs), *((one, kserve.namespace) for one in served)):
        name, absent = _placed(f"account {one}", place, kserve)
        path = f"/api/v1/namespaces/{place}/serviceaccounts/{one}"
        found.append(_there(api, place, missing(name, absent, APPLY), path, judge(one, name)))
    return _together("accounts", found, kserve)


def secrets(api: Api, kserve: KServeSettings, runs: str) -> Sequence[Finding]:
    """Look whether each secret is there and has its keys. Its values are never asked for.

    Parameters
    ----------
    runs
        The namespace in which the steps run.
    """
    demanded = _demanded(api, kserve)

    def unfilled(name: str, secret: str, told: str, keys: Sequence[str], place: str) -> Finding:
        remedy = _filling(secret, keys, place)
        if secret in demanded:
            return missing(name, f"{told}, and the ServingRuntime demands it", remedy)
        if secret in NEEDED:
            return missing(name, told, remedy)
        return warning(name, f"{told}; some installations need it", remedy)

    def judge(secret: str, keys: Sequence[str], name: str, place: str) -> Callable[[Any], Finding]:
        def judged(found: Any) -> Finding:
            metadata = found["metadata"]
            notes = metadata.get("annotations") or {}
            named = notes.get("roadworthy/keys", "").split() or keys
            lacking = sorted(set(named) - _keys(metadata))
            if lacking:
                told = f"it has no {' and '.join(lacking)}"
                return unfilled(name, secret, told, named, place)
            if examples(notes.get(_ENDPOINT, "")):
                told = f"KServe is told to fetch from {notes[_ENDPOINT]}, which is an example"
                return missing(name, told, _ADDRESS)
            return ok(name, f"has {' and '.join(named)}")

        return judged

    wanted = {(secret, runs): keys for secret, keys in SECRETS.items()}
    wanted |= {(secret, kserve.namespace): keys for secret, keys in _OF_MODELS.items()}
    found = []
    for (secret, place), keys in wanted.items():
        name, told = _placed(f"secret {secret}", place, kserve)
        path = f"/api/v1/namespaces/{place}/secrets/{secret}"
        absent = unfilled(name, secret, told, keys, place)
        look = judge(secret, keys, name, place)
        found.append(_there(api, place, absent, path, look, metadata=True))
    return _together("secrets", found, kserve)


def settings_of_steps(api: Api, kserve: KServeSettings, runs: str) -> Sequence[Finding]:
    """Look whether what the steps are told are settings that there are, and all they need.

    Parameters
    ----------
    runs
        The namespace in which the steps run.
    """
    name, absent = _placed(f"ConfigMap {_NAME}", runs, kserve)
    left: list[Finding] = []

    def judged(found: Any) -> Finding:
        told = dict(found.get("data") or {})
        unreplaced = [key for key in sorted(told) if examples(told[key])]
        if unreplaced:
            words = f"still an example in {', '.join(unreplaced)}"
            left.append(missing("addresses", words, _ADDRESS))
        problems = wrong(told)
        if problems:
            remedy = f"kubectl --namespace {runs} edit configmap {_NAME}"
            return missing(name, "; ".join(problems), remedy)
        return ok(name, f"{len(told)} settings, all known")

    path = f"/api/v1/namespaces/{runs}/configmaps/{_NAME}"
    return [_there(api, runs, missing(name, absent, APPLY), path, judged), *left]


def unpinned(image: str) -> str:
    """Return what is wrong with an image's name, or nothing."""
    if NULL_COMMIT in image:
        return f"{image} is no image: it stands for one that is to be named"
    try:
        pinned(image)
    except ImageError as error:
        return str(error)
    return ""


def forbidden(name: str, namespace: str) -> Finding:
    """Return that one may not look."""
    remedy = f"kubectl --namespace {namespace} auth can-i --list"
    return warning(name, _HIDDEN, remedy)


def _together(name: str, found: Sequence[Finding], kserve: KServeSettings) -> Sequence[Finding]:
    """Return the findings, or one in their place where nothing of it may be looked at."""
    hidden = all(one.told == _HIDDEN for one in found)
    return [forbidden(name, kserve.namespace)] if hidden else found


def _placed(name: str, place: str, kserve: KServeSettings) -> tuple[str, str]:
    """Return the name of a line, and that the thing is not there."""
    if place == kserve.namespace:
        return name, "not there"
    return f"{name} in {place}", "not there, where the steps run"


def _there(
    api: Api,
    namespace: str,
    absent: Finding,
    path: str,
    judge: Callable[[Any], Finding],
    *,
    metadata: bool = False,
) -> Finding:
    """Judge what is at a path; say so where it is absent, or may not be looked at."""
    try:
        found = api.get(path, metadata=metadata)
    except RefusedError as error:
        if error.is_absent:
            return absent
        if error.is_forbidden:
            return forbidden(absent.name, namespace)
        raise
    return judge(found)


def _keys(metadata: Any) -> set[str]:
    """Return the keys of a secret, by the names of the fields that somebody has written."""
    return {
        key.removeprefix("f:")
        for entry in metadata.get("managedFields") or []
        for part in ("f:data", "f:stringData")
        for key in (entry.get("fieldsV1") or {}).get(part) or {}
        if key.startswith("f:")
    }


def _demanded(api: Api, kserve: KServeSettings) -> set[str]:
    """Return the secrets without which no pod of the ServingRuntime starts."""
    try:
        spec = api.get(_runtime(kserve))["spec"]
    except RefusedError as error:
        if error.is_absent or error.is_forbidden:  # that has a line of its own
            return set()
        raise
    variables = (one for each in spec.get("containers") or [] for one in each.get("env") or [])
    named = ((one.get("valueFrom") or {}).get("secretKeyRef") for one in variables)
    return {str(one.get("name")) for one in named if one and not one.get("optional")}


def _runtime(kserve: KServeSettings) -> str:
    return f"{_RUNTIMES}/{kserve.namespace}/servingruntimes/{kserve.runtime}"


def _filling(secret: str, keys: Sequence[str], namespace: str) -> str:
    """Return the command that fills a secret from files: a value is never typed in a command."""
    files = " ".join(f"--from-file={key}=FILE" for key in keys)
    return (
        f"kubectl --namespace {namespace} create secret generic {secret} {files} "
        f"--dry-run=client --output yaml | "
        f"kubectl apply --server-side --field-manager=person --filename -"
    )
