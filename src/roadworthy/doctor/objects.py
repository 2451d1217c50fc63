"""What a cluster must have in the namespace: accounts, secrets, settings and the runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from roadworthy.doctor.api import Api, RefusedError
from roadworthy.doctor.finding import Finding, missing, ok, warning
from roadworthy.doctor.variables import wrong
from roadworthy.kubeflow.image import NULL_COMMIT, ImageError, pinned
from roadworthy.rollout.kserve_settings import KServeSettings

APPLY = "kubectl apply --server-side --kustomize deploy/overlays/OVERLAY"
"""What makes all that is not a secret. The overlay is a person's choice."""
_SET_IMAGE = (
    "(cd deploy/overlays/OVERLAY && kustomize edit set image roadworthy/serving=IMAGE:COMMIT) && "
    + APPLY
)

ACCOUNTS = ("roadworthy-pipeline", "roadworthy-serving", "roadworthy-client")
SECRETS: Mapping[str, tuple[str, ...]] = {
    "roadworthy-git": ("ROADWORTHY_GIT_TOKEN",),
    "roadworthy-s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "roadworthy-mlflow": ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"),
    "roadworthy-serving": ("ROADWORTHY_TOKEN",),
}
"""The secrets, and the keys of each, which are variables."""
NEEDED = ("roadworthy-git", "roadworthy-s3")
"""Those without which no release can be pushed and no bundle fetched; the others have defaults."""
_NAME = "roadworthy"
_HIDDEN = "one may not look (403)"
_RUNTIMES = "/apis/serving.kserve.io/v1alpha1/namespaces"


def namespace(api: Api, kserve: KServeSettings) -> Finding:
    """Look whether the namespace is there."""
    name = kserve.namespace
    return _there(
        api,
        kserve,
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
                return missing(name, problem, _SET_IMAGE)
        return ok(name, ", ".join(images))

    path = f"{_RUNTIMES}/{kserve.namespace}/servingruntimes/{kserve.runtime}"
    return _there(api, kserve, missing(name, "not there", APPLY), path, judged)


def accounts(api: Api, kserve: KServeSettings) -> Sequence[Finding]:
    """Look whether each service account is there; the one of the servers with its secret."""

    def judge(account: str) -> Callable[[Any], Finding]:
        def judged(found: Any) -> Finding:
            name = f"account {account}"
            named = {one.get("name") for one in found.get("secrets") or []}
            if account == kserve.service_account and "roadworthy-s3" not in named:
                told = "it names no secret roadworthy-s3: only a pod's own identity can fetch"
                return warning(name, told, APPLY)
            return ok(name, "there")

        return judged

    wanted = dict.fromkeys((*ACCOUNTS, kserve.service_account))
    path = f"/api/v1/namespaces/{kserve.namespace}/serviceaccounts"
    found = [
        _there(
            api, kserve, missing(f"account {one}", "not there", APPLY), f"{path}/{one}", judge(one)
        )
        for one in wanted
    ]
    return _together("accounts", found, kserve)


def secrets(api: Api, kserve: KServeSettings) -> Sequence[Finding]:
    """Look whether each secret is there and has its keys. Its values are never asked for."""

    def judge(secret: str) -> Callable[[Any], Finding]:
        def judged(found: Any) -> Finding:
            metadata = found["metadata"]
            named = (metadata.get("annotations") or {}).get("roadworthy/keys", "").split()
            keys = named or SECRETS[secret]
            lacking = sorted(set(keys) - _keys(metadata))
            if not lacking:
                return ok(f"secret {secret}", f"has {' and '.join(keys)}")
            return _unfilled(secret, f"it has no {' and '.join(lacking)}", keys, kserve)

        return judged

    found = []
    for secret, keys in SECRETS.items():
        path = f"/api/v1/namespaces/{kserve.namespace}/secrets/{secret}"
        absent = _unfilled(secret, "not there", keys, kserve)
        found.append(_there(api, kserve, absent, path, judge(secret), metadata=True))
    return _together("secrets", found, kserve)


def settings_of_steps(api: Api, kserve: KServeSettings) -> Finding:
    """Look whether what the steps are told are settings that there are, and all they need."""
    name = f"ConfigMap {_NAME}"

    def judged(found: Any) -> Finding:
        told = dict(found.get("data") or {})
        problems = wrong(told)
        if problems:
            remedy = f"kubectl --namespace {kserve.namespace} edit configmap {_NAME}"
            return missing(name, "; ".join(problems), remedy)
        return ok(name, f"{len(told)} settings, all known")

    path = f"/api/v1/namespaces/{kserve.namespace}/configmaps/{_NAME}"
    return _there(api, kserve, missing(name, "not there", APPLY), path, judged)


def unpinned(image: str) -> str:
    """Return what is wrong with an image's name, or nothing."""
    if NULL_COMMIT in image:
        return f"{image} is no image: it stands for one that is to be named"
    try:
        pinned(image)
    except ImageError as error:
        return str(error)
    return ""


def forbidden(name: str, kserve: KServeSettings) -> Finding:
    """Return that one may not look."""
    remedy = f"kubectl --namespace {kserve.namespace} auth can-i --list"
    return warning(name, _HIDDEN, remedy)


def _together(name: str, found: Sequence[Finding], kserve: KServeSettings) -> Sequence[Finding]:
    """Return the findings, or one in their place where nothing of it may be looked at."""
    hidden = all(one.told == _HIDDEN for one in found)
    return [forbidden(name, kserve)] if hidden else found


def _there(
    api: Api,
    kserve: KServeSettings,
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
            return forbidden(absent.name, kserve)
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


def _unfilled(secret: str, told: str, keys: Sequence[str], kserve: KServeSettings) -> Finding:
    """Return that a secret lacks something, and the command that fills it from files.

    A value is never typed in a command.
    """
    files = " ".join(f"--from-file={key}=FILE" for key in keys)
    remedy = (
        f"kubectl --namespace {kserve.namespace} create secret generic {secret} {files} "
        f"--dry-run=client --output yaml | "
        f"kubectl apply --server-side --field-manager=person --filename -"
    )
    if secret in NEEDED:
        return missing(f"secret {secret}", told, remedy)
    return warning(f"secret {secret}", f"{told}; some installations need it", remedy)
