"""The cluster's target: KServe, in both of its modes.

An InferenceService is applied, never deleted and made anew, and only as what was read of it before:
two that change it at the same time do so one after the other. What else wants to say what one of
our fields is, is told on the way forth, as somebody meant something by it; on the way back our word
counts, as a bad version waits for nobody.

The note of a rollback is an annotation of the model's PodDisruptionBudget and not of the
InferenceService, whose annotations KServe copies to its pods: each note would restart them all.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import tenacity

from roadworthy.bundle import Bundle, Golden
from roadworthy.data import store
from roadworthy.rollout import diagnosis, endpoints, figures, inference_service
from roadworthy.rollout.cluster import APPLY, Cluster, ClusterError, StaleError
from roadworthy.rollout.diagnosis import Finding
from roadworthy.rollout.endpoints import Address
from roadworthy.rollout.figures import Figures
from roadworthy.rollout.inference_service import MODE, Placed, Release
from roadworthy.rollout.judgement import Counts
from roadworthy.rollout.kserve_settings import KServeSettings, Mode
from roadworthy.rollout.local import RefusedError
from roadworthy.rollout.note import Note
from roadworthy.rollout.state import RolledBackError, Rollout, RolloutError, Strategy
from roadworthy.rollout.target import GoneError, Standing, nothing
from roadworthy.rollout.verification import Verification, verify
from roadworthy.rollout.workers import NotYetError
from roadworthy.settings import Settings

__all__ = ["KServeTarget"]

NOTE = "roadworthy/note"
"""The annotation with what is still to be told to the registry."""
_MODES: dict[str, Mode] = {
    "Knative": "Knative",
    "Serverless": "Knative",
    "Standard": "Standard",
    "RawDeployment": "Standard",
}
"""The modes, by the names that they had and have."""
_WHOLE = 100
_SEEN = 10
"""From this share on, in percent, a version must be seen among the answers that customers get."""
_SURE = 3
"""So many answers one after the other are not chance."""
_LONGEST_PAUSE = 1.0

Json = dict[str, Any]

log = logging.getLogger(__name__)


class KServeTarget:
    """The InferenceServices of one namespace.

    The serving image is no part of a rollout: it is the ServingRuntime's, which all versions share,
    and a newer KServe makes all pods anew when that changes, a few at a time. Its annotation
    ``serving.kserve.io/disable-auto-update`` is no way out, as KServe then heeds no change of a
    ready InferenceService, a share's neither.

    Parameters
    ----------
    settings
        Where the bundles are published and the figures are read, and how long to wait.
    kserve
        How versions are served.
    cluster
        The cluster.
    digests
        Returns the digest of a model's version, as the registry tells it.
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
        self._digests = digests
        self._figures: dict[str, Figures] = {}

    @classmethod
    def of(cls, settings: Settings, digests: Callable[[str, int], str]) -> Self:
        """Return the target that the environment tells.

        Raises
        ------
        RolloutError
            There is no way to a cluster.
        """
        kserve = KServeSettings()
        cluster = Cluster.of(kserve.context, kserve.namespace, settings.ready_seconds)
        return cls(settings, kserve, cluster, digests)

    def check(self, strategy: Strategy) -> None:
        """Refuse what KServe cannot do, and see that what a rollout needs is there."""
        if strategy == "rolling":
            raise RolloutError(
                "KServe gives each version pods of its own and moves the traffic between them, so "
                "no pod is replaced by one of another version: use `--strategy canary` or "
                "`--strategy blue-green`."
            )
        mode = self._mode(None)
        self._kserve.check(mode)
        self._check_split(mode)
        self._check_place()
        if self._settings.prometheus_url:
            figures.check(self._settings.prometheus_url)

    def stage(
        self, rollout: Rollout, bundle: Bundle, meanwhile: Callable[[], None] = nothing
    ) -> None:
        """Publish the bundle, put the version beside the champion, and wait until it answers."""
        model = rollout.model
        self._check_place()
        if rollout.champion:
            self._check_split(self._mode(self._cluster.service(model)))
        self._check_undisturbed(model)
        release = Release(rollout.version, store.publish(self._settings.bundle_store, bundle))
        self._check_free(model, release)
        self._keep_budget(model)
        self._have_champion(rollout, meanwhile)
        self._change(
            rollout, lambda now: inference_service.projected(now, rollout, release), cover=0
        )
        self._wait(
            model,
            lambda live: self._check_answers(live, rollout.version),
            meanwhile,
            version=rollout.version,
            what=f"Version {rollout.version} of {model} did not come up",
        )

    def shift(self, rollout: Rollout, meanwhile: Callable[[], None] = nothing) -> None:
        """Apply the share once there are pods for it, and wait until KServe tells it."""
        self._cover(rollout.model, rollout.version, rollout.share, meanwhile)
        self._change(rollout, lambda now: inference_service.projected(now, rollout))
        if rollout.plan:
            self._wait(
                rollout.model,
                lambda live: self._check_share(live, rollout),
                meanwhile,
                version=rollout.version,
                what=f"Version {rollout.version} of {rollout.model} did not get {rollout.share} %",
            )

    def verify(self, rollout: Rollout, golden: Golden) -> Verification:
        """Ask the version itself, and where it has a share as customers do, too."""
        settings, model, version = self._settings, rollout.model, rollout.version
        try:
            live = self._live(model)
            own, common = self._own(live, version), endpoints.common(live, self._kserve)
            now = inference_service.read(live, self._mode(live))
        except (ClusterError, NotYetError) as error:
            told = f"a golden request could not be sent: {error}"
            return Verification(0, float("inf"), told, unreachable=True)
        found = verify(own.url, model, version, golden, token=settings.token, host=own.host)
        alone = now.challenger is None
        if not found.good or not (alone or now.share):
            return found
        beside = () if alone or now.share == _WHOLE else (rollout.champion,)
        shared = verify(
            *(common.url, model, version, golden),
            token=settings.token,
            host=common.host,
            beside=beside,
        )
        shared = replace(shared, difference=max(found.difference, shared.difference))
        if not shared.good or not beside or now.share < _SEEN:
            return shared
        try:
            endpoints.check_reached(common, model, settings.token, version, now.share)
        except NotYetError as error:  # a gateway may take a while to do as KServe tells
            return replace(shared, problem=str(error), unreachable=True)
        return shared

    def observe(self, rollout: Rollout) -> Counts | None:
        """Read Prometheus, if one is named: what nobody counts is not judged.

        Raises
        ------
        RolloutError
            Somebody changed the InferenceService, or deleted it.
        """
        self._check_unchanged(rollout)
        url = self._settings.prometheus_url
        if not url:
            return Counts(blind=True)
        counted = self._figures.setdefault(
            rollout.model, Figures(url, self._kserve.namespace, rollout.model)
        )
        return counted.count(rollout.champion, rollout.version)

    def promote(self, rollout: Rollout) -> None:
        """Apply it as the only version, and wait until customers get its answers."""
        self._hand_over(rollout.model, rollout.version)
        self._change(rollout, lambda now: inference_service.projected(now, rollout))
        self._wait(
            rollout.model,
            lambda live: self._check_customers(live, rollout.version),
            version=rollout.version,
            what=f"Version {rollout.version} of {rollout.model} did not get everything",
        )

    def roll_back(self, rollout: Rollout, left: Note | None = None) -> None:
        """Take the version off; the note is written first, and does not hold that up."""
        failed = None
        if left is None:
            self._check_undisturbed(rollout.model)
        else:
            try:
                self._leave(left)
            except ClusterError as error:
                failed = error
        first = rollout.champion == 0
        self._take_off(rollout.model, {rollout.version}, first=first, finish=left is None)
        if failed is not None:
            raise failed

    def put_back(self, left: Note, digest: str) -> None:
        """Make the note's champion the only version, whatever is on the road.

        It is given the traffic when it answers, so until then what is there goes on.

        Parameters
        ----------
        digest
            The digest of the champion's bundle.

        Raises
        ------
        RolloutError
            It does not come up; what answered before still does.
        """
        model = left.model
        self._live(model)
        self._leave(left)
        self._keep_budget(model)
        now = self._placed(model)
        if now.champion is not None and now.champion.version == left.champion:
            self._take_off(model, set(left.taken_off), first=False, finish=True)
            return
        uri = store.address(self._settings.bundle_store, model, digest)
        try:
            self._restore(model, Release(left.champion, uri))
        except (ClusterError, RolledBackError):  # of which nothing is known, or another one knows
            raise
        except BaseException:  # Ctrl-C, too: nobody else knows that it was given up
            self._withdraw(left)
            raise

    def redo(self, left: Note) -> bool:
        """Make the road as the note says, or withdraw it."""
        now = self._placed(left.model)
        known = (left.champion, *left.taken_off)
        try:
            if now.champion is not None and left.champion and now.champion.version not in known:
                raise RolloutError(  # noqa: TRY301
                    f"Version {now.champion.version} of {left.model} was put on the road by "
                    f"somebody since."
                )
            self._follow(left)
        except (ClusterError, RolledBackError):
            raise
        except BaseException as error:
            self._withdraw(left)
            if not isinstance(error, RolloutError) or self.left(left.model) == left:
                raise
            log.error("%s The rollback to version %d is given up.", error, left.champion)  # noqa: TRY400
            return False
        return True

    def left(self, model: str) -> Note | None:
        """Read the note."""
        return _note(model, self._cluster.budget(model))

    def clear(self, note: Note) -> None:
        """Take the note away, once the road is as it says: whoever wrote it may have died then."""
        if self.left(note.model) != note:
            return
        self._follow(note)
        self._annotate(note.model, lambda found: None if found == note else found)

    def _follow(self, note: Note) -> None:
        """Make the road as a note says."""
        now = self._placed(note.model)
        off = {release.version for release in now.releases} & set(note.taken_off)
        if now.champion is not None and now.champion.version in off and note.champion:
            self._restore(note.model, self._release(note.model, note.champion))
        elif off:
            first = not note.champion
            self._take_off(note.model, off, first=first, finish=False)

    def standing(self, model: str) -> Standing:
        """Read the InferenceService, and ask it."""
        place = f"{model} in the namespace {self._kserve.namespace}"
        try:
            live = self._cluster.service(model)
            mode = self._mode(live)
            place = f"{place} ({mode})"
            if live is None:
                told = f"There is no InferenceService {model}: `roadworthy run {model}` makes one."
                return Standing(model, place, problem=told)
            now = inference_service.read(inference_service.ours(live, mode), mode)
            found = Standing(
                model,
                place,
                url=(live.get("status") or {}).get("url", ""),
                champion=now.champion.version if now.champion else 0,
                challenger=now.challenger.version if now.challenger else 0,
                share=now.share,
            )
        except RolloutError as error:
            return Standing(model, place, problem=str(error))
        try:
            self._check_kept(live)
            inference_service.read(live, mode)
            problem = self._problem(live, now, model)
        except RolloutError as error:
            problem = str(error)
        return replace(found, ready=not problem, problem=problem)

    def _problem(self, live: Json, now: Placed, model: str) -> str:
        """Return what is wrong with what is on the road, in a sentence; nothing if nothing is."""
        try:
            told = endpoints.answering(
                endpoints.common(live, self._kserve), model, self._settings.token
            )
        except NotYetError as error:
            more = diagnosis.conditions(live)
            return f"{model} does not answer: {error}{f' ({more})' if more else ''}."
        known = [release.version for release in now.releases]
        if told not in known:
            return f"{model} answers with version {told}, which is not on the road."
        if now.pinned:
            return (
                f"{model} answers with pods of an earlier revision, as the newest one has not come "
                f"up: `kubectl describe inferenceservice {model}` tells why."
            )
        return ""

    def _change(
        self,
        rollout: Rollout,
        project: Callable[[Placed], Placed],
        *,
        cover: int | None = None,
    ) -> None:
        self._apply(rollout.model, project, force=False, undisturbed=True, cover=cover)

    def _apply(
        self,
        model: str,
        project: Callable[[Placed], Placed],
        *,
        force: bool,
        undisturbed: bool = False,
        cover: int | None = None,
    ) -> None:
        """Apply what is made of what is on the road, unless that changes meanwhile: then again.

        Parameters
        ----------
        cover
            For how many percent of the traffic a challenger is to have pods of those that the
            champion has now, in the mode `Standard`; None for its share of those it had.
        """

        @self._again(StaleError, _random())
        def once() -> None:
            live = self._cluster.service(model)
            if undisturbed:  # asked after the road was read: who rolls back changes it after that
                self._check_undisturbed(model)
            mode = self._mode(live)
            before = inference_service.applied(live) if live else None
            if live is not None:
                self._check_kept(live)
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
                ready=self._ready(model, counted) if counted else 0,
                cover=cover or 0,
            )
            if live is not None:
                made["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
            self._cluster.apply_service(made, force=force)

        once()

    def _cover(
        self,
        model: str,
        version: int,
        share: int,
        meanwhile: Callable[[], None] = nothing,
        *,
        force: bool = False,
    ) -> None:
        """See that a challenger has the pods for a share, in the mode `Standard`.

        Knative itself makes pods as they are needed, and keeps requests until then.
        """
        live = self._cluster.service(model)
        if live is None or not share or self._mode(live) != "Standard":
            return
        challenger = inference_service.read(live, "Standard").challenger
        if challenger is None or challenger.version != version:
            return
        self._apply(model, lambda now: now, force=force, undisturbed=not force, cover=share)
        self._wait(
            model,
            lambda live: self._check_pods(live, challenger),
            meanwhile,
            version=version,
            what=f"Version {version} of {model} did not get the pods for {share} % of the traffic",
        )

    def _hand_over(self, model: str, version: int, *, force: bool = False) -> None:
        """Give a challenger everything before the champion goes, in the mode `Standard`.

        There KServe takes the champion's pods away as soon as it is not named any more.
        """
        live = self._cluster.service(model)
        if live is None or self._mode(live) != "Standard":
            return
        now = inference_service.read(live, "Standard")
        if now.challenger is None or now.challenger.version != version:
            return
        self._cover(model, version, _WHOLE, force=force)
        if now.share == _WHOLE:
            return
        self._apply(
            model, lambda now: replace(now, share=_WHOLE), force=force, undisturbed=not force
        )
        self._wait(
            model,
            lambda live: self._check_told(live, _WHOLE),
            version=version,
            what=f"Version {version} of {model} did not get everything",
        )

    def _take_off(self, model: str, off: set[int], *, first: bool, finish: bool) -> None:
        """Let the champion alone answer; without one, nobody.

        Parameters
        ----------
        first
            Whether there never was a champion before the version.
        finish
            Whether to wait, in the mode `Knative`, for the champion's own newest revision.
        """

        def without(now: Placed) -> Placed:
            if first and now.champion is not None and now.champion.version in off:
                return Placed(stopped=now.champion)
            gone = now.challenger is not None and now.challenger.version in off
            return replace(now, challenger=None, share=0) if gone else now

        live = self._cluster.service(model)
        if live is None and first:
            return
        if live is None or live["metadata"].get("deletionTimestamp"):
            told = "There is no" if live is None else "Somebody is deleting the"
            raise GoneError(
                f"{told} InferenceService {model}, so its champion answers nobody either: "
                f"`roadworthy run {model}` puts it on the road again."
            )
        mode = self._mode(live)
        now = inference_service.read(inference_service.ours(live, mode), mode)
        if mode == "Standard" or first:
            self._apply(model, without, force=True)
            self._wait_for_share(model, None)
            return
        if now.challenger is not None and now.challenger.version in off:
            # Knative goes back to the revision before only while the newest one is the one that
            # is bad. Another predictor is a newer one, which has to come up first.
            self._apply(model, lambda now: replace(now, share=0), force=True)
            self._wait_for_share(model, 0)
            self._apply(model, lambda now: replace(without(now), pinned=True), force=True)
        if finish:
            self._unpin(model)

    def _unpin(self, model: str) -> None:
        """Let the champion's newest revision have everything, once it answers.

        If it does not, the revision before goes on: that is no reason to fail.
        """
        now = self._placed(model)
        if not now.pinned or now.champion is None:
            return
        version = now.champion.version
        try:
            self._wait(
                model,
                lambda live: self._check_answers(live, version),
                version=version,
                what=f"The newest revision of version {version} of {model} did not come up",
            )
        except RolloutError as error:
            log.warning("%s The revision before it goes on to answer.", error)
            return
        self._apply(model, lambda now: replace(now, pinned=False), force=True)

    def _restore(self, model: str, release: Release) -> None:
        """Make a version the only one that is not on the road, or is one it follows."""
        live = self._live(model)
        now = self._placed(model)
        if self._mode(live) == "Knative" and self._has_returned(model, release, now, live):
            return
        what = f"Version {release.version} of {model} did not come up"

        def beside(now: Placed) -> Placed:
            return Placed(release) if now.champion is None else Placed(now.champion, release)

        self._apply(model, beside, force=True, cover=_WHOLE)
        self._wait(
            model,
            lambda live: self._check_answers(live, release.version),
            version=release.version,
            what=what,
        )
        self._hand_over(model, release.version, force=True)
        self._apply(model, lambda _: Placed(release), force=True)
        self._wait(
            model,
            lambda live: self._check_customers(live, release.version),
            version=release.version,
            what=what,
        )

    def _has_returned(self, model: str, release: Release, now: Placed, live: Json) -> bool:
        """Return whether Knative still had the version's revision, and went back to it at once."""
        before = inference_service.follows(live)
        plain = now.champion is not None and now.challenger is None and not now.pinned
        if not plain or before is None or before.version != release.version:
            return False
        bad = now.champion
        self._apply(model, lambda _: Placed(before, bad), force=True)
        try:
            self._wait(
                model,
                lambda live: self._check_customers(live, release.version),
                version=release.version,
                what=f"The revision of version {release.version} of {model} is not there any more",
                seconds=min(self._kserve.patience_seconds, self._settings.ready_seconds),
            )
        except RolloutError as error:
            log.warning("%s It is made anew.", error)
            self._apply(model, lambda _: Placed(bad), force=True)
            return False
        self._apply(model, lambda _: Placed(before, pinned=True), force=True)
        self._unpin(model)
        return True

    def _withdraw(self, left: Note) -> None:
        """Forget a rollback to a version that does not come up: whoever comes next goes on.

        What is the champion already stays, and so does the note: it is only to be recorded.
        """
        try:
            now = self._placed(left.model).champion
            if now is not None and now.version == left.champion:
                return
            self._take_off(left.model, {left.champion}, first=False, finish=True)
            self._annotate(left.model, lambda found: None if found == left else found)
        except RolloutError as error:
            log.error("The rollback is not forgotten: %s", error)  # noqa: TRY400 - a sentence

    def _have_champion(self, rollout: Rollout, meanwhile: Callable[[], None]) -> None:
        """Put the registry's champion on a road that lost it, such as a new cluster's."""
        model, number = rollout.model, rollout.champion
        if number in (0, rollout.version) or self._placed(model).champion is not None:
            return
        log.warning("%s has no champion here: version %d is put on the road.", model, number)
        release = self._release(model, number)
        self._change(rollout, lambda now: now if now.champion else Placed(release))
        self._wait(
            model,
            lambda live: self._check_customers(live, number),
            meanwhile,
            version=number,
            what=f"Version {number} of {model}, its champion, did not come up",
        )

    def _release(self, model: str, version: int) -> Release:
        digest = self._digests(model, version)
        return Release(version, store.address(self._settings.bundle_store, model, digest))

    def _live(self, model: str) -> Json:
        live = self._cluster.service(model)
        if live is None:
            raise ClusterError(
                f"There is no InferenceService {model} in the namespace {self._kserve.namespace}: "
                f"run `roadworthy run {model}`."
            )
        self._check_kept(live)
        return live

    def _placed(self, model: str) -> Placed:
        """Return what is on the road, as the way back sees it."""
        live = self._cluster.service(model)
        if live is None or live["metadata"].get("deletionTimestamp"):
            return Placed()
        mode = self._mode(live)
        return inference_service.read(inference_service.ours(live, mode), mode)

    def _mode(self, live: Json | None) -> Mode:
        told = ""
        if live is not None:
            told = (live["metadata"].get("annotations") or {}).get(MODE, "")
            told = told or (live.get("status") or {}).get("deploymentMode", "")
        told = told or self._cluster.default_mode()
        if told not in _MODES:
            raise RolloutError(
                f"KServe's mode {told} cannot split traffic between versions: set "
                f"defaultDeploymentMode to Knative or Standard in its ConfigMap "
                f"inferenceservice-config."
            )
        return _MODES[told]

    def _check_place(self) -> None:
        address, runtime = self._settings.bundle_store, self._kserve.runtime
        if "://" not in address:
            raise RolloutError(
                f"The pods of a cluster cannot read bundles from {address}, a directory here: name "
                f"a store such as s3://bucket/bundles in ROADWORTHY_BUNDLE_STORE."
            )
        if not self._cluster.has_runtime(runtime):
            raise RolloutError(
                f"The namespace {self._kserve.namespace} has no ServingRuntime {runtime}: "
                f"{APPLY} makes it."
            )

    def _check_split(self, mode: Mode) -> None:
        if mode == "Standard" and not self._cluster.has_gateway_api():
            raise RolloutError(
                "KServe splits no traffic here, and would ignore a canary's share: set "
                "enableGatewayApi to true under `ingress` in its ConfigMap "
                "kserve/inferenceservice-config (a KServe newer than 0.20 with the Gateway API), "
                "or use the mode Knative."
            )

    def _check_kept(self, live: Json) -> None:
        since = live["metadata"].get("deletionTimestamp")
        if since:
            name = live["metadata"]["name"]
            raise ClusterError(
                f"The InferenceService {name} is being deleted by somebody since {since}: wait "
                f"until `kubectl get inferenceservice {name}` does not show it any more, and run "
                f"`roadworthy run {name}`."
            )

    def _check_free(self, model: str, release: Release) -> None:
        """See that nobody else says what is to be said when the version is promoted.

        It would be known only then, when customers get its answers already.
        """
        live = self._cluster.service(model)
        if live is None:
            return
        self._check_kept(live)
        made = inference_service.manifest(
            model,
            Placed(release),
            mode=self._mode(live),
            settings=self._kserve,
            now=inference_service.applied(live),
        )
        self._cluster.check_service(made)

    def _check_unchanged(self, rollout: Rollout) -> None:
        """See that the road is still as the rollout made it."""
        model, live = rollout.model, self._cluster.service(rollout.model)
        self._check_undisturbed(model)  # asked then: who rolls back changes the road after that
        if live is None:
            raise RolloutError(
                f"Somebody deleted the InferenceService {model} during the rollout of version "
                f"{rollout.version}."
            )
        self._check_kept(live)
        now = inference_service.read(live, self._mode(live))
        number = now.challenger.version if now.challenger else 0
        if rollout.plan and (number, now.share) != (rollout.version, rollout.share):
            told = f"version {number} {now.share} %" if number else "the champion alone everything"
            raise RolloutError(
                f"Somebody changed the InferenceService {model}: it gives {told}, and the rollout "
                f"version {rollout.version} {rollout.share} %. Run the rollout again when nobody "
                f"else changes it."
            )

    def _check_undisturbed(self, model: str) -> None:
        found = self.left(model)
        if found is not None:
            raise RolledBackError(f"{found}")

    def _check_answers(self, live: Json, version: int) -> None:
        told = endpoints.answering(
            self._own(live, version), live["metadata"]["name"], self._settings.token, version
        )
        if told != version:
            raise NotYetError(f"version {told} answers at its address")

    def _check_customers(self, live: Json, version: int) -> None:
        """See that customers get the answers of one version, and of no other."""
        where = endpoints.common(live, self._kserve)
        for _ in range(_SURE):
            told = endpoints.answering(where, live["metadata"]["name"], self._settings.token)
            if told != version:
                raise NotYetError(f"customers still get answers of version {told}")

    def _check_pods(self, live: Json, release: Release) -> None:
        wanted = inference_service.pods_of_challenger(live)
        ready = self._ready(live["metadata"]["name"], release)
        if ready < wanted:
            raise NotYetError(f"{ready} of its {wanted} pods are ready")

    def _ready(self, model: str, release: Release) -> int:
        """Return how many pods of a version are ready."""
        found = self._cluster.pods(_selector(model, release.version))
        return sum(diagnosis.is_ready(pod) for pod in found)

    def _check_told(self, live: Json, share: int) -> None:
        told = inference_service.told_share(live, self._mode(live))
        if told != share:
            raise NotYetError(f"KServe tells a share of {told or 0} %")

    def _check_share(self, live: Json, rollout: Rollout) -> None:
        self._check_told(live, rollout.share)
        if rollout.share == _WHOLE:
            self._check_customers(live, rollout.version)

    def _own(self, live: Json, version: int) -> Address:
        mode = self._mode(live)
        return endpoints.own(live, mode, version, self._kserve, self._cluster.address)

    def _wait_for_share(self, model: str, share: int | None) -> None:
        """Wait until KServe tells that the newest version has no share, or that it is gone."""

        def check(live: Json) -> None:
            told = inference_service.told_share(live, self._mode(live))
            if told is not None and told != share:
                raise NotYetError(f"KServe tells a share of {told} %")

        what = f"KServe did not take the traffic from the newest version of {model}"
        self._wait(model, check, what=what)

    def _wait(
        self,
        model: str,
        check: Callable[[Json], None],
        meanwhile: Callable[[], None] = nothing,
        *,
        what: str,
        version: int = 0,
        seconds: float = 0,
    ) -> None:
        """Look at the InferenceService until it is as it must be, or it is known that it will not.

        Parameters
        ----------
        version
            The version whose pods are looked at; 0 for none.
        """
        long = seconds or self._settings.ready_seconds
        patience = _Patience(self._kserve.patience_seconds)

        @self._again(NotYetError, tenacity.wait_fixed(self._kserve.poll_seconds), long)
        def look() -> None:
            meanwhile()
            live = self._live(model)
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
                f"tells more."
            ) from error

    def _diagnose(self, live: Json, version: int) -> Finding | None:
        model = live["metadata"]["name"]
        if self._mode(live) == "Standard":
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

    def _keep_budget(self, model: str) -> None:
        version = self._cluster.budget_version
        self._cluster.apply_budget(inference_service.budget(model, self._kserve, version))

    def _leave(self, left: Note) -> None:
        """Write a note, unless there is another one."""
        if self._cluster.budget(left.model) is None:
            self._keep_budget(left.model)

        def written(found: Note | None) -> Note:
            if found not in (None, left):
                raise RolledBackError(f"{found}")
            return left

        self._annotate(left.model, written)

    def _annotate(self, model: str, change: Callable[[Note | None], Note | None]) -> None:
        """Change the note, unless it changes meanwhile: then again."""

        @self._again(StaleError, _random())
        def once() -> None:
            budget = self._cluster.budget(model)
            before = _note(model, budget)
            after = change(before)
            if budget is not None and after != before:
                told = None if after is None else json.dumps(asdict(after))
                self._cluster.annotate_budget(budget, NOTE, told)

        once()

    def _again(
        self, on: type[Exception], wait: tenacity.wait.wait_base, seconds: float = 0
    ) -> Callable[[Callable[[], None]], Callable[[], None]]:
        return tenacity.retry(
            stop=tenacity.stop_after_delay(seconds or self._settings.ready_seconds),
            wait=wait,
            retry=tenacity.retry_if_exception_type(on),
            reraise=True,
        )


@dataclass
class _Patience:
    """Gives what may pass some time, as long as it is the same."""

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


def _random() -> tenacity.wait.wait_base:
    return tenacity.wait_random_exponential(multiplier=0.05, max=_LONGEST_PAUSE)


def _note(model: str, budget: Json | None) -> Note | None:
    told = ((budget or {}).get("metadata", {}).get("annotations") or {}).get(NOTE)
    if not told:
        return None
    try:
        return Note.decode(told, model)
    except ValueError as error:
        raise RolloutError(
            f"The annotation {NOTE} of the PodDisruptionBudget {model}, which says what is still "
            f"to be recorded of a rollback, cannot be read ({error}). Delete the annotation, and "
            f"roll back again."
        ) from error
