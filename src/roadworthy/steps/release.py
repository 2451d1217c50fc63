"""Release a bundle that passed the gate: a version in the registry, a tag in Git."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from roadworthy.bundles import bundle, releases
from roadworthy.bundles.bundle import Bundle
from roadworthy.core.settings import Settings
from roadworthy.rollout.actions.targets import target
from roadworthy.rollout.engine import starting
from roadworthy.rollout.engine.state import Strategy
from roadworthy.steps.recording import Attempt, record
from roadworthy.tracking import onnx_model
from roadworthy.tracking.registry import Registry, Version


@dataclass(frozen=True)
class Released:
    """The number of a version, its tag, and the commit that the tag names."""

    version: int
    tag: str
    commit: str

    def __str__(self) -> str:
        """Return it for the terminal."""
        return f"version {self.version}, tag {self.tag}"


def release(
    settings: Settings, attempt: Attempt, *, packed: Path, strategy: Strategy = "canary"
) -> Released:
    """Register a bundle, then push it to DVC's remote, and its commit and tag to Git's.

    Done again, it finishes what is missing and doubles nothing.

    Raises
    ------
    ConflictError
        Another version of the model is being rolled out.
    GitError, DvcError
        A remote refuses, or the tag names another bundle.
    """
    candidate = bundle.read(packed)
    version = challenge(settings, attempt, candidate, strategy)
    commit = releases.publish(settings, candidate, version.git_tag)
    return Released(version.number, version.git_tag, commit)


def register(
    settings: Settings, registry: Registry, attempt: Attempt, candidate: Bundle
) -> Version:
    """Return the version of the bundle, made if it does not exist.

    Every candidate is recorded as an MLflow run; the metrics and figures of the hold-out, the
    verdict, the manifest and the card are put beside the chosen one's, and the graph as a model
    that MLflow loads.
    """
    run_id = record(registry, attempt, repository=settings.git_remote)
    registry.log_metrics(run_id, candidate.manifest.metrics)
    # A version is made after its files: where it is there, they are.
    known = {made.tags.get("digest") for made in registry.versions(attempt.model)}
    if candidate.digest not in known:
        registry.log_files(run_id, _files(candidate))
    told = {
        "candidate": candidate.manifest.candidate,
        "source_fingerprint": attempt.source["fingerprint"],
        **attempt.outcome,
        **attempt.tags,
    }
    return registry.register(attempt.model, run_id=run_id, digest=candidate.digest, tags=told)


def challenge(
    settings: Settings, attempt: Attempt, candidate: Bundle, strategy: Strategy = "canary"
) -> Version:
    """Return the version of the bundle, which is now the challenger: its rollout has begun.

    Raises
    ------
    ConflictError
        Another version of the model is being rolled out.
    """
    registry = Registry.of(settings)
    version = register(settings, registry, attempt, candidate)
    # An earlier run may have registered it although the gate refused it.
    registry.tag(version, attempt.outcome)
    why = f"passed the gate and every stage of the rollout in run {attempt.run} ({attempt.trigger})"
    starting.start(
        settings,
        registry,
        target(settings, registry),
        version,
        strategy=strategy,
        owner=attempt.run,
        why=why,
        unique=True,
    )
    registry.set_alias(version, "challenger")
    return version


def _files(candidate: Bundle) -> dict[str, bytes]:
    """Return what MLflow keeps of a bundle: a model that it loads, the card and the figures."""
    loadable = onnx_model.files(candidate.path / bundle.MODEL, candidate.golden.requests[0])
    described = {
        name: (candidate.path / name).read_bytes() for name in (bundle.MANIFEST, bundle.CARD)
    }
    kept = loadable | described
    return {f"bundles/{candidate.digest}/{name}": file for name, file in kept.items()} | {
        f"figures/{name}.png": png for name, png in candidate.figures.items()
    }
