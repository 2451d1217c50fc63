"""The KServe target, for both deployment modes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Self

import tenacity

from roadworthy.bundles import stores
from roadworthy.bundles.bundle import Bundle, Golden
from roadworthy.core.settings import Settings
from roadworthy.rollout.engine import record
from roadworthy.rollout.engine.analysis import TrafficStats
from roadworthy.rollout.engine.fetching import stored
from roadworthy.rollout.engine.record import RollbackIntent
from roadworthy.rollout.engine.state import RolledBackError, Rollout, RolloutError, Strategy
from roadworthy.rollout.engine.target import Status, nothing
from roadworthy.rollout.engine.verification import Verification, verify
from roadworthy.rollout.engine.workers import NotYetError
from roadworthy.rollout.kserve import (
    endpoints,
    inference_service,
    kserve_settings,
    leftovers,
    prometheus,
)
from roadworthy.rollout.kserve.cluster import Cluster, ClusterError
from roadworthy.rollout.kserve.cluster_records import ClusterRecords
from roadworthy.rollout.kserve.inference_service import Placed, Release
from roadworthy.rollout.kserve.kserve_settings import KServeSettings, Mode
from roadworthy.rollout.kserve.placement import Placement
from roadworthy.rollout.kserve.pod_stats import PodStats
from roadworthy.rollout.kserve.prometheus import PrometheusStats
from roadworthy.rollout.kserve.watcher import Watcher

_WHOLE = 100
_POLL_SECONDS = 1.0
_SURE_SECONDS = 5.0
"""How long metrics must be out of reach until a rollout goes without them."""
_REMEDY = (
    "allow the account to `get pods/proxy`, name --metrics-port in the ServingRuntime, and let the "
    "NetworkPolicy admit the API server to that port; or name a Prometheus in "
    "ROADWORTHY_PROMETHEUS_URL"
)
_SEEN = 10
"""From this weight [percent] on, a version must be among those that answer clients."""

log = logging.getLogger(__name__)


class KServeTarget:
    """The InferenceServices of one namespace.

    Parameters
    ----------
    settings
        The store of bundles, the address of Prometheus, and how long to wait.
    kserve
        How versions are served.
    cluster
        The cluster.
    digests
        Returns the digest of a model's version from the registry.
    """

    def __init__(
        self,
        settings: Settings,
        kserve: KServeSettings,
        cluster: Cluster,
        digests: Callable[[str, int], str],
    ) -> None:
        self._settings = settings
        self._kserve = kserve
        self._cluster = cluster
        self._watcher = Watcher(settings, kserve, cluster)
        self._digests = digests
        if settings.prometheus_url:
            self.metrics_source = "Prometheus"
            self.metrics_remedy = (
                f": name one in ROADWORTHY_PROMETHEUS_URL that answers and scrapes the model's "
                f"pods more often than every {settings.stage_seconds:g} s, or unset it to read the "
                f"pods themselves"
            )
        else:
            self.metrics_source = "the API server, asked for the model's pods,"
            self.metrics_remedy = f": {_REMEDY}"
        self.records = ClusterRecords(kserve, cluster, settings.ready_seconds)
        self._placement = Placement(settings, kserve, cluster, digests, self._watcher, self.records)
        self._stats: dict[str, PrometheusStats | PodStats] = {}
        self._unmeasured: set[str] = set()

    @classmethod
    def of(cls, settings: Settings, digests: Callable[[str, int], str]) -> Self:
        """Return the target of the environment.

        Raises
        ------
        RolloutError
            There is no way to a cluster.
        """
        kserve = kserve_settings.from_environment()
        cluster = Cluster.of(kserve.context, kserve.namespace, settings.ready_seconds)
        return cls(settings, kserve, cluster, digests)

    def check(self, strategy: Strategy) -> None:
        """Refuse what KServe does not support, and check what a rollout needs."""
        if strategy == "rolling":
            raise RolloutError(
                "KServe gives each version pods of its own and moves the traffic between them, so "
                "no pod is replaced by one of another version: use `--strategy canary` or "
                "`--strategy blue-green`."
            )
        mode = self._watcher.mode(None)
        self._kserve.check(mode)
        self._check_split(mode)
        self._check_store()
        self._placement.template()
        if self._settings.prometheus_url:
            prometheus.check(self._settings.prometheus_url)

    def stage(
        self, rollout: Rollout, bundle: Bundle, meanwhile: Callable[[], None] = nothing
    ) -> None:
        """Publish the bundle, deploy the version beside the champion, and wait until it answers."""
        model = rollout.model
        self._check_store()
        if rollout.champion:
            self._check_split(self._watcher.mode(self._cluster.service(model)))
        self.records.read(model).check_undisturbed()
        runtime = self._placement.runtime()
        uri = stores.publish(self._settings.bundle_store, bundle)
        release = Release(rollout.version, uri, runtime)
        self._check_free(model, release)
        self.records.keep_budget(model)
        self._placement.have_champion(rollout, meanwhile)
        self._placement.apply(
            model, lambda now: inference_service.projected(now, rollout, release), cover=0
        )
        self._watcher.wait(
            model,
            lambda live: self._watcher.check_answers(live, rollout.version),
            meanwhile,
            version=rollout.version,
            what=f"Version {rollout.version} of {model} did not come up",
        )

    def shift(self, rollout: Rollout, meanwhile: Callable[[], None] = nothing) -> None:
        """Apply the weight once there are pods for it, and wait until KServe reports it."""
        self._placement.cover(rollout.model, rollout.version, rollout.weight, meanwhile)
        self._placement.apply(rollout.model, lambda now: inference_service.projected(now, rollout))
        if rollout.plan:
            self._watcher.wait(
                rollout.model,
                lambda live: self._watcher.check_weight(live, rollout),
                meanwhile,
                version=rollout.version,
                what=f"Version {rollout.version} of {rollout.model} did not get {rollout.weight} %",
            )

    def verify(self, rollout: Rollout, golden: Golden) -> Verification:
        """Send the batch to the version itself and, if it has a weight, as clients do."""
        settings, model, version = self._settings, rollout.model, rollout.version
        try:
            live = self._watcher.live(model)
            own, common = self._watcher.own(live, version), endpoints.common(live, self._kserve)
            now = inference_service.read(live, self._watcher.mode(live))
        except (ClusterError, NotYetError) as error:
            told = f"a golden request could not be sent: {error}"
            return Verification(0, float("inf"), told, unreachable=True)
        found = verify(own.url, model, version, golden, token=settings.token, host=own.host)
        alone = now.challenger is None
        if not found.good or not (alone or now.weight):
            return found
        beside = () if alone or now.weight == _WHOLE else (rollout.champion,)
        shared = verify(
            *(common.url, model, version, golden),
            token=settings.token,
            host=common.host,
            beside=beside,
        )
        shared = replace(shared, difference=max(found.difference, shared.difference))
        if not shared.good or not beside or now.weight < _SEEN:
            return shared
        try:
            endpoints.check_reached(common, model, settings.token, version, now.weight)
        except NotYetError as error:  # a gateway may follow later than KServe reports
            return replace(shared, problem=str(error), unreachable=True)
        return shared

    def metrics_problem(self, rollout: Rollout) -> str:
        """Return why the metrics of the pods cannot be read; Prometheus is analysed as it is."""

        @tenacity.retry(
            stop=tenacity.stop_after_delay(min(_SURE_SECONDS, self._kserve.patience_seconds)),
            wait=tenacity.wait_fixed(self._kserve.poll_seconds),
            retry=tenacity.retry_if_exception_type(ClusterError),
            reraise=True,
        )
        def read() -> None:
            self._stats_of(rollout.model).count(rollout.champion, rollout.version)

        self._unmeasured.discard(rollout.model)
        if self._settings.prometheus_url:
            return ""
        try:
            read()
        except ClusterError as error:
            self._unmeasured.add(rollout.model)
            return f"{str(error).rstrip('.')}: {_REMEDY}."
        return ""

    def observe(self, rollout: Rollout) -> TrafficStats | None:
        """Ask Prometheus, where one is named, or else the pods.

        Raises
        ------
        RolloutError
            The InferenceService was changed or deleted by hand.
        """
        self._check_unchanged(rollout)
        if rollout.model in self._unmeasured:
            return TrafficStats(unavailable=True)
        try:
            return self._stats_of(rollout.model).count(rollout.champion, rollout.version)
        except ClusterError as error:
            log.warning("%s", error)
            return None

    def _stats_of(self, model: str) -> PrometheusStats | PodStats:
        if model not in self._stats:
            url = self._settings.prometheus_url
            self._stats[model] = (
                PrometheusStats(url, self._kserve.namespace, model)
                if url
                else PodStats(self._cluster, model)
            )
        return self._stats[model]

    def promote(self, rollout: Rollout) -> None:
        """Apply it as the only version, and wait until it answers clients."""
        self._placement.hand_over(rollout.model, rollout.version)
        self._placement.apply(rollout.model, lambda now: inference_service.projected(now, rollout))
        self._watcher.wait(
            rollout.model,
            lambda live: self._watcher.check_clients(live, rollout.version),
            version=rollout.version,
            what=f"Version {rollout.version} of {rollout.model} did not get everything",
        )
        leftovers.clean_up(self._cluster, rollout.model)

    def roll_back(self, rollout: Rollout, *, finish: bool = True) -> None:
        """Apply the champion alone, unless a rollback is pending."""
        self.records.read(rollout.model).check_undisturbed()
        first = rollout.champion == 0
        self._placement.take_off(rollout.model, {rollout.version}, first=first, finish=finish)
        if finish:
            leftovers.clean_up(self._cluster, rollout.model)

    def deployed(self, model: str) -> tuple[int, int]:
        """Read the InferenceService."""
        now = self.status(model)
        if not now.champion and now.problem:
            raise RolloutError(now.problem)
        return now.champion, now.challenger

    def former(self, model: str) -> int:
        """Return 0: only MLflow knows it."""
        del model
        return 0

    def put_back(self, intent: RollbackIntent) -> None:
        """Deploy the champion beside the others, and shift the traffic once it answers."""
        model = intent.model
        now = self._watcher.seen(self._watcher.live(model))
        if now.champion is not None and now.champion.version == intent.champion:
            # Its pods have its bundle: the end of a rollout does not wait for the store.
            record.leave(self.records, intent)
            self._placement.take_off(model, set(intent.taken_off), first=False, finish=True)
            return
        digest = self._digests(model, intent.champion)
        with stored(self._settings, model, intent.champion, digest):
            uri = stores.address(self._settings.bundle_store, model, digest)
        record.leave(self.records, intent)
        try:
            self._placement.restore(model, Release(intent.champion, uri))
        except (ClusterError, RolledBackError):  # the outcome is unknown, or of another rollback
            raise
        except BaseException:  # Ctrl-C, too
            self._placement.withdraw(intent)
            raise
        leftovers.clean_up(self._cluster, model)

    def wait_for(self, intent: RollbackIntent) -> str:
        """Send the golden batch to the model's address until the champion answers well.

        Ready pods alone are not enough.
        """
        settings, model, number = self._settings, intent.model, intent.champion
        with stored(settings, model, number, self._digests(model, number)) as kept:
            golden = kept.golden
        rollout = Rollout(
            *(model, number, number, "canary"),
            *(settings.actor, settings.holder, intent.at, intent.at),
            state="promoted",
        )

        @tenacity.retry(
            stop=tenacity.stop_after_delay(settings.ready_seconds),
            wait=tenacity.wait_fixed(min(_POLL_SECONDS, settings.ready_seconds / 10)),
            retry=tenacity.retry_if_exception_type(NotYetError),
            reraise=True,
        )
        def ask() -> None:
            found = self.verify(rollout, golden)
            if not found.good:
                raise NotYetError(found.problem)

        try:
            ask()
        except NotYetError as error:
            why = self.status(model).problem or f"{error}."
            raise RolloutError(
                f"Version {number} of {model} was deployed again, but does not answer after "
                f"{settings.ready_seconds:g} s: {why} The versions deployed before still answer; "
                f"`roadworthy status {model}` shows its state."
            ) from error
        return self.status(model).url

    def redo(self, intent: RollbackIntent) -> bool:
        """Make the InferenceService follow the intent, or withdraw the intent."""
        now = self._watcher.placed(intent.model)
        known = (intent.champion, *intent.taken_off)
        try:
            if now.champion is not None and intent.champion and now.champion.version not in known:
                raise RolloutError(  # noqa: TRY301
                    f"Version {now.champion.version} of {intent.model} was deployed by hand since."
                )
            self._placement.follow(intent)
        except (ClusterError, RolledBackError):
            raise
        except BaseException as error:
            self._placement.withdraw(intent)
            kept = self.records.read(intent.model).intent == intent
            if kept or not isinstance(error, RolloutError):
                raise
            log.error("%s The rollback to version %d is given up.", error, intent.champion)  # noqa: TRY400
            return False
        return True

    def status(self, model: str) -> Status:
        """Read the InferenceService, and send it a request."""
        place = f"{model} in the namespace {self._kserve.namespace}"
        try:
            live = self._cluster.service(model)
            mode = self._watcher.mode(live)
            place = f"{place} ({mode})"
            if live is None:
                told = f"There is no InferenceService {model}: `roadworthy run {model}` makes one."
                return Status(model, place, problem=told)
            now = inference_service.read(inference_service.ours(live, mode), mode)
            found = Status(
                model,
                place,
                url=(live.get("status") or {}).get("url", ""),
                champion=now.champion.version if now.champion else 0,
                challenger=now.challenger.version if now.challenger else 0,
                weight=now.weight,
            )
        except RolloutError as error:
            return Status(model, place, problem=str(error))
        try:
            self._watcher.check_kept(live)
            inference_service.read(live, mode)
            problem = self._watcher.problem(live, now, model)
        except RolloutError as error:
            problem = str(error)
        return replace(found, ready=not problem, problem=problem)

    def _check_store(self) -> None:
        address = self._settings.bundle_store
        if "://" not in address:
            raise RolloutError(
                f"The pods of a cluster cannot read bundles from {address}, a directory here: name "
                f"a store such as s3://bucket/bundles in ROADWORTHY_BUNDLE_STORE."
            )

    def _check_split(self, mode: Mode) -> None:
        if mode == "Standard" and not self._cluster.has_gateway_api():
            raise RolloutError(
                "KServe splits no traffic here, and would ignore a canary's weight: set "
                "enableGatewayApi to true under `ingress` in its ConfigMap "
                "kserve/inferenceservice-config (a KServe newer than 0.20 with the Gateway API), "
                "or use the mode Knative."
            )

    def _check_free(self, model: str, release: Release) -> None:
        """Check that no other field manager owns a field of the promoted version.

        Without this check it would be known only after clients get its answers.
        """
        live = self._cluster.service(model)
        if live is None:
            return
        self._watcher.check_kept(live)
        made = inference_service.manifest(
            model,
            Placed(release),
            mode=self._watcher.mode(live),
            settings=self._kserve,
            now=inference_service.applied(live),
        )
        self._cluster.check_service(made)

    def _check_unchanged(self, rollout: Rollout) -> None:
        """Check that the InferenceService still is as the rollout made it."""
        model, live = rollout.model, self._cluster.service(rollout.model)
        # in this order: a rollback changes the InferenceService after the record
        self.records.read(model).check_undisturbed()
        if live is None:
            raise RolloutError(
                f"The InferenceService {model} was deleted by hand during the rollout of version "
                f"{rollout.version}."
            )
        self._watcher.check_kept(live)
        now = inference_service.read(live, self._watcher.mode(live))
        number = now.challenger.version if now.challenger else 0
        if rollout.plan and (number, now.weight) != (rollout.version, rollout.weight):
            told = f"version {number} {now.weight} %" if number else "the champion alone everything"
            raise RolloutError(
                f"The InferenceService {model} was changed by hand: it gives {told}, and the "
                f"rollout version {rollout.version} {rollout.weight} %. Stop those changes, and "
                f"run the rollout again."
            )
