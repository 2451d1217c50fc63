"""What a rollout must be allowed in a cluster, and what the pipeline must not be."""

from __future__ import annotations

from collections.abc import Iterator

from roadworthy.doctor.cluster import Api, ForbiddenError, Right
from roadworthy.doctor.finding import Finding, missing, ok, warning
from roadworthy.doctor.objects import APPLY
from roadworthy.rollout.kserve.kserve_settings import KServeSettings

_KSERVE = "serving.kserve.io"
_ROLLOUT = (
    (_KSERVE, "inferenceservices", ("get", "list", "create", "patch")),
    (_KSERVE, "servingruntimes", ("get", "list", "create", "patch", "delete")),
    ("autoscaling", "horizontalpodautoscalers", ("list", "delete")),
    ("policy", "poddisruptionbudgets", ("get", "create", "patch")),
    ("", "pods", ("list",)),
    ("", "pods/proxy", ("get",)),
    ("", "events", ("list",)),
    ("", "services", ("get",)),
)


def own(api: Api, kserve: KServeSettings) -> Finding:
    """Check that one may do what a rollout does."""
    lacking = [right for right in needed(kserve) if not api.may(right)]
    if not lacking:
        return ok("own rights", "all that a rollout needs")
    told = f"this account may not {', '.join(map(str, lacking))}"
    return missing("own rights", told, f"kubectl --namespace {kserve.namespace} auth can-i --list")


def of_pipeline(api: Api, kserve: KServeSettings, runs: str, account: str) -> Finding:
    """Check that the account of the steps may do what a rollout does, and can read no secret.

    The steps, and their account, are in the namespace ``runs``.
    """
    name, known = f"rights of {account}", f"system:serviceaccount:{runs}:{account}"
    secrets = [
        Right(verb, "", "secrets", namespace)
        for namespace in dict.fromkeys((kserve.namespace, runs))
        for verb in ("get", "list", "watch")
    ]
    try:
        lacking = [right for right in needed(kserve) if not api.may(right, known)]
        read = [right for right in secrets if api.may(right, known)]
    except ForbiddenError:
        told = "no permission to ask for another account's (403)"
        return warning(name, told, f"kubectl auth can-i --list --as {known}")
    if read:
        told = f"it may {', '.join(map(str, read))}, and a step must not read secrets"
        return missing(name, told, "kubectl get rolebindings,clusterrolebindings -A --output wide")
    if lacking:
        return missing(name, f"it may not {', '.join(map(str, lacking))}", APPLY)
    return ok(name, "all that a rollout needs, and no secret")


def needed(kserve: KServeSettings) -> Iterator[Right]:
    """Yield what a rollout must be allowed."""
    for group, resource, verbs in _ROLLOUT:
        for verb in verbs:
            yield Right(verb, group, resource, kserve.namespace)
    yield Right("get", "", "configmaps", "kserve", "inferenceservice-config")
