"""Watch the InferenceServices of a namespace until they have an expected state."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import tenacity

from roadworthy.core.settings import Settings
from roadworthy.rollout.engine.state import RefusedError, Rollout, RolloutError
from roadworthy.rollout.engine.target import nothing
from roadworthy.rollout.engine.workers import NotYetError
from roadworthy.rollout.kserve import diagnosis, endpoints, inference_service
from roadworthy.rollout.kserve.cluster import Cluster, ClusterError, Json
from roadworthy.rollout.kserve.diagnosis import Finding
from roadworthy.rollout.kserve.endpoints import Address
from roadworthy.rollout.kserve.inference_service import MODE, Placed, Release
from roadworthy.rollout.kserve.kserve_settings import MODES, KServeSettings, Mode

_WHOLE = 100
_SURE = 3
"""The number of equal responses in a row that rule out chance."""


class Watcher:
    """Reads the InferenceServices of one namespace.

    The argument ``live`` is an InferenceService as the API server returned it. A check raises a
    :class:`NotYetError` until the InferenceService has the expected state.
    """

    def __init__(self, settings: Settings, kserve: KServeSettings, cluster: Cluster) -> None:
        self._settings = settings
        self._kserve = kserve
        self._cluster = cluster

    def live(self, model: str) -> Json:
        """Return the InferenceService of a model.

        Raises
        ------
        ClusterError
            There is none, or it is being deleted.
        """
        live = self._cluster.service(model)
        if live is None:
            raise ClusterError(
                f"There is no InferenceService {model} in the namespace {self._kserve.namespace}: "
                f"run `roadworthy run {model}`."
            )
        self.check_kept(live)
        return live

    def placed(self, model: str) -> Placed:
        """Return the deployed versions, as a rollback needs them."""
        return self.seen(self._cluster.service(model))

    def seen(self, live: Json | None) -> Placed:
        """Return the deployed versions of an InferenceService, as a rollback needs them."""
        if live is None or live["metadata"].get("deletionTimestamp"):
            return Placed()
        mode = self.mode(live)
        return inference_service.read(inference_service.ours(live, mode), mode)

    def mode(self, live: Json | None) -> Mode:
        """Return the deployment mode of an InferenceService, or of a new one.

        Raises
        ------
        RolloutError
            The mode does not support rollouts.
        """
        told = ""
        if live is not None:
            told = (live["metadata"].get("annotations") or {}).get(MODE, "")
            told = told or (live.get("status") or {}).get("deploymentMode", "")
        told = told or self._cluster.default_mode()
        if told not in MODES:
            raise RolloutError(
                f"KServe's mode {told} cannot split traffic between versions: set "
                f"defaultDeploymentMode to Knative or Standard in its ConfigMap "
                f"inferenceservice-config."
            )
        return MODES[told]

    def problem(self, live: Json, now: Placed, model: str) -> str:
        """Return what is wrong with the deployed versions, in a sentence; empty if nothing is."""
        try:
            told = endpoints.answering(
                endpoints.common(live, self._kserve), model, self._settings.token
            )
        except NotYetError as error:
            more = diagnosis.conditions(live)
            return f"{model} does not answer: {error}{f' ({more})' if more else ''}."
        known = [release.version for release in now.releases]
        if told not in known:
            return f"{model} answers with version {told}, which is not deployed."
        if now.pinned:
            return (
                f"{model} answers with pods of an earlier revision, as the newest one has not come "
                f"up: `kubectl describe inferenceservice {model}` shows why."
            )
        return ""

    def wait(
        self,
        model: str,
        check: Callable[[Json], None],
        meanwhile: Callable[[], None] = nothing,
        *,
        what: str,
        version: int = 0,
        seconds: float = 0,
    ) -> None:
        """Wait until an InferenceService has the expected state, or cannot reach it.

        Parameters
        ----------
        check
            Raises a :class:`NotYetError` until the InferenceService has the expected state.
        meanwhile
            Called before each check.
        what
            The failure, in words, if it does not reach that state.
        version
            The version whose pods are diagnosed; 0 for none.
        seconds
            The longest time; 0 for ``settings.ready_seconds``.

        Raises
        ------
        RefusedError
            The version's pods have a permanent problem.
        RolloutError
            It did not reach the state in time.
        """
        long = seconds or self._settings.ready_seconds
        patience = _Patience(self._kserve.patience_seconds)

        @tenacity.retry(
            stop=tenacity.stop_after_delay(long),
            wait=tenacity.wait_fixed(self._kserve.poll_seconds),
            retry=tenacity.retry_if_exception_type(NotYetError),
            reraise=True,
        )
        def look() -> None:
            meanwhile()
            live = self.live(model)
            try:
                check(live)
            except NotYetError as error:
                found = self._diagnose(live, version) if version else None
                if found is not None and patience.is_over(found):
                    raise RefusedError(f"{what}: {found.problem}.") from error
                raise NotYetError(found.problem if found is not None else str(error)) from error

        try:
            look()
        except NotYetError as error:
            raise RolloutError(
                f"{what} within {long:g} s ({error}). `kubectl describe inferenceservice {model}` "
                f"shows more."
            ) from error

    def wait_for_weight(self, model: str, weight: int | None) -> None:
        """Wait until KServe reports a weight for the newest version, or that it is removed."""

        def check(live: Json) -> None:
            told = inference_service.told_weight(live, self.mode(live))
            if told is not None and told != weight:
                raise NotYetError(f"KServe reports a weight of {told} %")

        what = f"KServe did not take the traffic from the newest version of {model}"
        self.wait(model, check, what=what)

    def check_kept(self, live: Json) -> None:
        """Check that the InferenceService is not being deleted."""
        since = live["metadata"].get("deletionTimestamp")
        if since:
            name = live["metadata"]["name"]
            raise ClusterError(
                f"The InferenceService {name} is being deleted since {since}: wait "
                f"until `kubectl get inferenceservice {name}` does not show it any more, and run "
                f"`roadworthy run {name}`."
            )

    def check_answers(self, live: Json, version: int) -> None:
        """Check that a version answers at its own address."""
        told = endpoints.answering(
            self.own(live, version), live["metadata"]["name"], self._settings.token, version
        )
        if told != version:
            raise NotYetError(f"version {told} answers at its address")

    def check_clients(self, live: Json, version: int) -> None:
        """Check that one version, and no other, answers clients."""
        where = endpoints.common(live, self._kserve)
        for _ in range(_SURE):
            told = endpoints.answering(where, live["metadata"]["name"], self._settings.token)
            if told != version:
                raise NotYetError(f"version {told} still answers clients")

    def check_pods(self, live: Json, release: Release) -> None:
        """Check that a challenger has all its pods, and that they are ready."""
        wanted = inference_service.pods_of_challenger(live)
        ready = self.ready(live["metadata"]["name"], release)
        if ready < wanted:
            raise NotYetError(f"{ready} of its {wanted} pods are ready")

    def check_told(self, live: Json, weight: int) -> None:
        """Check that KServe reports a weight."""
        told = inference_service.told_weight(live, self.mode(live))
        if told != weight:
            raise NotYetError(f"KServe reports a weight of {told or 0} %")

    def check_weight(self, live: Json, rollout: Rollout) -> None:
        """Check that the version of a rollout has its weight."""
        self.check_told(live, rollout.weight)
        if rollout.weight == _WHOLE:
            self.check_clients(live, rollout.version)

    def ready(self, model: str, release: Release) -> int:
        """Return the number of ready pods of a version."""
        found = self._cluster.pods(_selector(model, release.version))
        return sum(diagnosis.is_ready(pod) for pod in found)

    def own(self, live: Json, version: int) -> Address:
        """Return the address of one version."""
        mode = self.mode(live)
        return endpoints.own(live, mode, version, self._kserve, self._cluster.address)

    def _diagnose(self, live: Json, version: int) -> Finding | None:
        model = live["metadata"]["name"]
        if self.mode(live) == "Standard":
            owner = inference_service.service_name(live, version)
        else:
            owner = inference_service.newest_revision(live) or f"{model}-predictor"
        return diagnosis.diagnose(
            live,
            self._cluster.pods(_selector(model, version)),
            self._cluster.warnings(),
            owner=owner,
            since=inference_service.applied_at(live),
        )


@dataclass
class _Patience:
    """Gives a temporary problem some time, as long as it stays the same."""

    seconds: float
    _first: dict[str, float] = field(default_factory=dict)

    def is_over(self, found: Finding) -> bool:
        now = time.monotonic()
        self._first = {found.problem: self._first.get(found.problem, now)}
        return not found.passing or now - self._first[found.problem] >= self.seconds


def _selector(model: str, version: int) -> str:
    labels = {
        inference_service.SERVICE_LABEL: model,
        inference_service.VERSION_LABEL: str(version),
    }
    return ",".join(f"{name}={value}" for name, value in labels.items())
