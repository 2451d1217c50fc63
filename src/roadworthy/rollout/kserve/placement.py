"""Deploy versions to an InferenceService, and remove them.

An InferenceService is applied, never deleted and created again, and only with the resourceVersion
that was read: concurrent changes are serialised. A field conflict fails a deployment, as somebody
set the field on purpose; a removal takes the field over, as a bad version must not wait.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from roadworthy.bundles import stores
from roadworthy.core.settings import Settings
from roadworthy.rollout.engine import record
from roadworthy.rollout.engine.record import RollbackIntent
from roadworthy.rollout.engine.state import Rollout, RolloutError
from roadworthy.rollout.engine.target import NotDeployedError, nothing
from roadworthy.rollout.kserve import inference_service, serving_runtime
from roadworthy.rollout.kserve.cluster import APPLY, Cluster, Json, unless_stale
from roadworthy.rollout.kserve.cluster_records import ClusterRecords
from roadworthy.rollout.kserve.inference_service import Placed, Release
from roadworthy.rollout.kserve.kserve_settings import KServeSettings
from roadworthy.rollout.kserve.watcher import Watcher

_WHOLE = 100

log = logging.getLogger(__name__)


class Placement:
    """The deployed versions of the models of one namespace.

    Parameters
    ----------
    digests
        Returns the digest of a model's version from the registry.
    """

    def __init__(
        self,
        settings: Settings,
        kserve: KServeSettings,
        cluster: Cluster,
        digests: Callable[[str, int], str],
        watcher: Watcher,
        records: ClusterRecords,
    ) -> None:
        self._settings = settings
        self._kserve = kserve
        self._cluster = cluster
        self._digests = digests
        self._watcher = watcher
        self._records = records

    def template(self) -> Json:
        """Return the ServingRuntime that is copied for a new version.

        Raises
        ------
        RolloutError
            It does not exist.
        """
        name, namespace = self._kserve.runtime, self._kserve.namespace
        found = self._cluster.runtime(name)
        if found is None:
            raise RolloutError(
                f"The namespace {namespace} has no ServingRuntime {name}: {APPLY} makes it."
            )
        return found

    def runtime(self) -> str:
        """Apply the copy for a new version, and return its name."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        made = serving_runtime.copied(self.template(), now)
        self._cluster.apply_runtime(made)
        return str(made["metadata"]["name"])

    def apply(
        self,
        model: str,
        project: Callable[[Placed], Placed],
        *,
        force: bool = False,
        cover: int | None = None,
    ) -> None:
        """Apply a change of the deployed versions; again, if they change meanwhile.

        Parameters
        ----------
        project
            Returns the new versions from the deployed ones.
        force
            Whether to take over fields of others, and to ignore a pending rollback.
        cover
            The percent of the traffic for which a challenger gets pods, relative to the champion's
            current pods, in the mode `Standard`; None for its weight, relative to the minimum.
        """

        @unless_stale(self._settings.ready_seconds)
        def once() -> None:
            live = self._cluster.service(model)
            if not force:  # in this order: a rollback changes the service after the record
                self._records.read(model).check_undisturbed()
            mode = self._watcher.mode(live)
            before = inference_service.applied(live) if live else None
            if live is not None:
                self._watcher.check_kept(live)
            if live is not None and force:
                live = inference_service.ours(live, mode)
                before = inference_service.ours(before or {}, mode)
            now = inference_service.read(live, mode) if live else Placed()
            after = project(now)
            if live is None and after == Placed():
                return
            beside = mode == "Standard" and after.challenger is not None
            counted = after.champion if beside and cover is not None else None
            made = inference_service.manifest(
                model,
                after,
                mode=mode,
                settings=self._kserve,
                now=before,
                ready=self._watcher.ready(model, counted) if counted else 0,
                cover=cover or 0,
            )
            if live is not None:
                made["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
            self._cluster.apply_service(made, force=force)

        once()

    def cover(
        self,
        model: str,
        version: int,
        weight: int,
        meanwhile: Callable[[], None] = nothing,
        *,
        force: bool = False,
    ) -> None:
        """Wait until a challenger has the pods for a weight, in the mode `Standard`.

        Knative makes pods as they are needed, and queues requests until then.
        """
        live = self._cluster.service(model)
        if live is None or not weight or self._watcher.mode(live) != "Standard":
            return
        challenger = inference_service.read(live, "Standard").challenger
        if challenger is None or challenger.version != version:
            return
        self.apply(model, lambda now: now, force=force, cover=weight)
        self._watcher.wait(
            model,
            lambda live: self._watcher.check_pods(live, challenger),
            meanwhile,
            version=version,
            what=f"Version {version} of {model} did not get the pods for {weight} % of the traffic",
        )

    def hand_over(self, model: str, version: int, *, force: bool = False) -> None:
        """Give a challenger all traffic before the champion is removed, in the mode `Standard`.

        There KServe deletes the champion's pods as soon as the spec does not name it.
        """
        live = self._cluster.service(model)
        if live is None or self._watcher.mode(live) != "Standard":
            return
        now = inference_service.read(live, "Standard")
        if now.challenger is None or now.challenger.version != version:
            return
        self.cover(model, version, _WHOLE, force=force)
        if now.weight == _WHOLE:
            return
        self.apply(model, lambda now: replace(now, weight=_WHOLE), force=force)
        self._watcher.wait(
            model,
            lambda live: self._watcher.check_told(live, _WHOLE),
            version=version,
            what=f"Version {version} of {model} did not get everything",
        )

    def take_off(self, model: str, off: set[int], *, first: bool, finish: bool) -> None:
        """Give the champion all traffic; without a champion, stop the version.

        Parameters
        ----------
        first
            Whether there was no champion before the version.
        finish
            Whether to wait, in the mode `Knative`, for the champion's own newest revision.
        """

        def without(now: Placed) -> Placed:
            if first and now.champion is not None and now.champion.version in off:
                return Placed(stopped=now.champion)
            gone = now.challenger is not None and now.challenger.version in off
            return replace(now, challenger=None, weight=0) if gone else now

        live = self._cluster.service(model)
        if live is None and first:
            return
        if live is None or live["metadata"].get("deletionTimestamp"):
            told = "does not exist" if live is None else "is being deleted"
            raise NotDeployedError(
                f"The InferenceService {model} {told}, so its champion is not deployed either: "
                f"`roadworthy run {model}` deploys it again."
            )
        if self._watcher.mode(live) == "Standard" or first:
            self.apply(model, without, force=True)
            self._watcher.wait_for_weight(model, None)
            return
        now = self._watcher.seen(live)
        if now.challenger is not None and now.challenger.version in off:
            # Knative returns to the revision before only while the bad one is the newest.
            # Another predictor makes a newer revision, which must become ready first.
            self.apply(model, lambda now: replace(now, weight=0), force=True)
            self._watcher.wait_for_weight(model, 0)
            self.apply(model, lambda now: replace(without(now), pinned=True), force=True)
        if finish:
            self.unpin(model)

    def unpin(self, model: str) -> None:
        """Give the champion's newest revision all traffic, once it answers.

        If it does not, the revision before keeps the traffic, which is no failure.
        """
        now = self._watcher.placed(model)
        if not now.pinned or now.champion is None:
            return
        version = now.champion.version
        try:
            self._watcher.wait(
                model,
                lambda live: self._watcher.check_answers(live, version),
                version=version,
                what=f"The newest revision of version {version} of {model} did not come up",
            )
        except RolloutError as error:
            log.warning("%s The revision before it keeps the traffic.", error)
            return
        self.apply(model, lambda now: replace(now, pinned=False), force=True)

    def restore(self, model: str, release: Release) -> None:
        """Make another version the only deployed one."""
        live = self._watcher.live(model)
        now = self._watcher.seen(live)
        if self._watcher.mode(live) == "Knative" and self._has_returned(model, release, now, live):
            return
        release = replace(release, runtime=self._runtime_of(release, live))
        what = f"Version {release.version} of {model} did not come up"

        def beside(now: Placed) -> Placed:
            return Placed(release) if now.champion is None else Placed(now.champion, release)

        self.apply(model, beside, force=True, cover=_WHOLE)
        self._watcher.wait(
            model,
            lambda live: self._watcher.check_answers(live, release.version),
            version=release.version,
            what=what,
        )
        self.hand_over(model, release.version, force=True)
        self.apply(model, lambda _: Placed(release), force=True)
        self._watcher.wait(
            model,
            lambda live: self._watcher.check_clients(live, release.version),
            version=release.version,
            what=what,
        )

    def _has_returned(self, model: str, release: Release, now: Placed, live: Json) -> bool:
        """Return whether Knative still had the version's revision, and returned to it."""
        before = inference_service.follows(live)
        plain = now.champion is not None and now.challenger is None and not now.pinned
        if not plain or before is None or before.version != release.version:
            return False
        bad = now.champion
        self.apply(model, lambda _: Placed(before, bad), force=True)
        try:
            self._watcher.wait(
                model,
                lambda live: self._watcher.check_clients(live, release.version),
                version=release.version,
                what=f"The revision of version {release.version} of {model} is not there any more",
                seconds=min(self._kserve.patience_seconds, self._settings.ready_seconds),
            )
        except RolloutError as error:
            log.warning("%s It is created again.", error)
            self.apply(model, lambda _: Placed(bad), force=True)
            return False
        self.apply(model, lambda _: Placed(before, pinned=True), force=True)
        self.unpin(model)
        return True

    def have_champion(self, rollout: Rollout, meanwhile: Callable[[], None]) -> None:
        """Deploy the registry's champion where it is missing, such as on a new cluster."""
        model, number = rollout.model, rollout.champion
        if number in (0, rollout.version) or self._watcher.placed(model).champion is not None:
            return
        log.warning("%s has no champion here: version %d is deployed.", model, number)
        release = replace(self._release(model, number), runtime=self.runtime())
        self.apply(model, lambda now: now if now.champion else Placed(release))
        self._watcher.wait(
            model,
            lambda live: self._watcher.check_clients(live, number),
            meanwhile,
            version=number,
            what=f"Version {number} of {model}, its champion, did not come up",
        )

    def withdraw(self, intent: RollbackIntent) -> None:
        """Remove an intent whose version does not become ready.

        If it is the champion already, it stays, and so does the intent until MLflow is updated.
        """
        try:
            now = self._watcher.placed(intent.model).champion
            if now is not None and now.version == intent.champion:
                return
            self.take_off(intent.model, {intent.champion}, first=False, finish=True)
            record.forget(self._records, intent)
        except RolloutError as error:
            log.error("The rollback is not withdrawn: %s", error)  # noqa: TRY400 - a sentence

    def follow(self, intent: RollbackIntent) -> None:
        """Make the traffic follow an intent."""
        now = self._watcher.placed(intent.model)
        off = {release.version for release in now.releases} & set(intent.taken_off)
        if now.champion is not None and now.champion.version in off and intent.champion:
            self.restore(intent.model, self._release(intent.model, intent.champion))
        elif off:
            first = not intent.champion
            self.take_off(intent.model, off, first=first, finish=False)

    def _release(self, model: str, version: int) -> Release:
        """Return the release of a version of the registry."""
        digest = self._digests(model, version)
        return Release(version, stores.address(self._settings.bundle_store, model, digest))

    def _runtime_of(self, release: Release, live: Json) -> str:
        """Return the ServingRuntime of the version before the deployed one, or that of new ones."""
        before = inference_service.follows(live)
        if before == release and before.runtime and self._cluster.runtime(before.runtime):
            return before.runtime
        return self.runtime()
