"""What a rollout needs to be allowed in a cluster, and what the pipeline must not be."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from roadworthy.doctor.api import Api, RefusedError, Right
from roadworthy.doctor.finding import Finding, missing, ok, warning
from roadworthy.doctor.objects import APPLY
from roadworthy.rollout.kserve.kserve_settings import KServeSettings

_KSERVE = "serving.kserve.io"
_ROLLOUT = (
    (_KSERVE, "inferenceservices", ("get", "create", "patch")),
    (_KSERVE, "servingruntimes", ("get", "create", "patch")),
    ("policy", "poddisruptionbudgets", ("get", "create", "patch")),
    ("", "pods", ("list",)),
    ("", "events", ("list",)),
    ("", "services", ("get",)),
)


def own(api: Api, kserve: KServeSettings) -> Finding:
    """Look whether one may do what a rollout does."""
    lacking = [right for right in needed(kserve) if not api.may(right)]
    if not lacking:
        return ok("own rights", "all that a rollout needs")
    told = f"{api.who or 'this account'} may not {_listed(lacking)}"
    return missing("own rights", told, f"kubectl --namespace {kserve.namespace} auth can-i --list")


def of_pipeline(api: Api, kserve: KServeSettings, runs: str, account: str) -> Finding:
    """Look whether the pipeline's account may do what a rollout does, and can read no secret.

    Parameters
    ----------
    runs
        The namespace in which the steps run, and the account is.
    account
        The account of the steps.
    """
    name, known = f"rights of {account}", full_name(account, runs)
    may = _asking(api, known)
    try:
        lacking = [right for right in needed(kserve) if not may(right)]
        read = [right for right in forbidden(kserve, runs) if may(right)]
    except RefusedError as error:
        if not error.is_forbidden:
            raise
        told = "one may not ask for another account's (403)"
        return warning(name, told, f"kubectl auth can-i --list --as {known}")
    if read:
        told = f"it may {_listed(read)}, and a step must not read what is secret"
        return missing(name, told, "kubectl get rolebindings,clusterrolebindings -A --output wide")
    if lacking:
        return missing(name, f"it may not {_listed(lacking)}", APPLY)
    return ok(name, "all that a rollout needs, and no secret")


def needed(kserve: KServeSettings) -> Iterator[Right]:
    """Yield what a rollout must be allowed."""
    for group, resource, verbs in _ROLLOUT:
        for verb in verbs:
            yield Right(verb, group, resource, kserve.namespace)
    yield Right("get", "", "configmaps", "kserve", "inferenceservice-config")


def forbidden(kserve: KServeSettings, runs: str) -> Iterator[Right]:
    """Yield what the pipeline must not be allowed."""
    for namespace in dict.fromkeys((kserve.namespace, runs)):
        for verb in ("get", "list", "watch"):
            yield Right(verb, "", "secrets", namespace)


def full_name(account: str, namespace: str) -> str:
    """Return the name by which the API server knows a service account."""
    return f"system:serviceaccount:{namespace}:{account}"


def _asking(api: Api, named: str) -> Callable[[Right], bool]:
    """Return what tells whether the pipeline may do something; of oneself everybody may ask."""
    return api.may if api.who == named else lambda right: api.may(right, named)


def _listed(rights: list[Right]) -> str:
    return ", ".join(map(str, rights))
