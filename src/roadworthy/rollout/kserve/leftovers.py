"""Delete what versions leave behind in a namespace.

KServe leaves the HorizontalPodAutoscaler of a version whose Deployment it deletes, because its
owner is the InferenceService. Each version gets a copy of the ServingRuntime, see
:mod:`~roadworthy.rollout.kserve.serving_runtime`, which nothing else deletes.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from roadworthy.rollout.kserve import inference_service, serving_runtime
from roadworthy.rollout.kserve.cluster import Cluster, ClusterError, Json

_UNUSED = timedelta(hours=1)
"""A copy that was applied later may be that of a rollout which is about to name it."""

log = logging.getLogger(__name__)


def clean_up(cluster: Cluster, model: str) -> None:
    """Delete the autoscalers of a model's former versions, and unused copies of ServingRuntimes.

    A failure is logged: the next rollout tries again.
    """
    try:
        live = cluster.service(model)
        if live is not None:
            for one in former_autoscalers(live, cluster.autoscalers()):
                cluster.delete_autoscaler(one)
        # in this order: a copy is applied before an InferenceService names it
        copies = cluster.runtimes()
        for one in unused_copies(copies, cluster.services(), datetime.now(UTC)):
            cluster.delete_runtime(one)
    except ClusterError as error:
        log.warning("What former versions of %s left is not deleted: %s", model, error)


def former_autoscalers(live: Json, found: Iterable[Json]) -> Iterator[Json]:
    """Yield the autoscalers of versions that an InferenceService does not name any more."""
    ours = re.compile(rf"{re.escape(live['metadata']['name'])}-v\d+-predictor")
    kept = set(inference_service.service_names(live))
    for one in found:
        name, owners = one["metadata"]["name"], one["metadata"].get("ownerReferences") or []
        owned = live["metadata"]["uid"] in [owner.get("uid") for owner in owners]
        if owned and ours.fullmatch(name) and name not in kept:
            yield one


def unused_copies(
    copies: Iterable[Json], services: Iterable[Json], now: datetime
) -> Iterator[Json]:
    """Yield the copies of a ServingRuntime that no version uses, and none will soon."""
    used = {name for live in services for name in inference_service.runtimes(live)}
    for one in copies:
        metadata = one["metadata"]
        told = metadata.get("annotations") or {}
        applied = told.get(serving_runtime.APPLIED_AT) or metadata["creationTimestamp"]
        old = now - datetime.fromisoformat(applied) > _UNUSED
        if serving_runtime.COPY_OF in told and metadata["name"] not in used and old:
            yield one
