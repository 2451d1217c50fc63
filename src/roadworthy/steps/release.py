"""Release a bundle that passed the gate: a version in the registry, a tag in Git."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadworthy.bundles import bundle, releases
from roadworthy.core.settings import Settings
from roadworthy.rollout.actions.targets import target
from roadworthy.rollout.engine import starting
from roadworthy.rollout.engine.state import Strategy
from roadworthy.steps.recording import outcome, record
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
    settings: Settings,
    model: str,
    *,
    packed: Path,
    trained: Path,
    recipe: str,
    verdict: dict[str, Any],
    tags: dict[str, str],
    strategy: Strategy = "canary",
) -> Released:
    """Register a bundle, then push it to DVC's remote, and its commit and tag to Git's.

    Done again, it finishes what is missing and doubles nothing. The parameters are those of
    :func:`register`.

    Raises
    ------
    ConflictError
        Another version of the model is being rolled out.
    GitError, DvcError
        A remote refuses, or the tag names another bundle.
    """
    version = register(
        settings,
        model,
        packed=packed,
        trained=trained,
        recipe=recipe,
        verdict=verdict,
        tags=tags,
        strategy=strategy,
    )
    commit = releases.publish(settings, bundle.read(packed), version.git_tag)
    return Released(version.number, version.git_tag, commit)


def register(
    settings: Settings,
    model: str,
    *,
    packed: Path,
    trained: Path,
    recipe: str,
    verdict: dict[str, Any],
    tags: dict[str, str],
    strategy: Strategy = "canary",
) -> Version:
    """Return the version of the bundle, which is now the challenger: its rollout has begun.

    Every candidate is recorded as an MLflow run; the metrics and figures of the hold-out, the
    verdict, the manifest and the card are put beside the chosen one's, and the graph as a model
    that MLflow loads.

    Raises
    ------
    ConflictError
        Another version of the model is being rolled out.
    """
    registry = Registry.of(settings)
    candidate = bundle.read(packed)
    run_id = record(registry, model, trained, recipe=recipe, verdict=verdict, tags=tags)
    registry.log_metrics(run_id, candidate.manifest.metrics)
    # A version is made after its files: where it is there, they are.
    if all(made.tags.get("digest") != candidate.digest for made in registry.versions(model)):
        described = {name: (packed / name).read_bytes() for name in (bundle.MANIFEST, bundle.CARD)}
        loadable = onnx_model.files(packed / bundle.MODEL, candidate.golden.requests[0])
        registry.log_files(
            run_id,
            {
                f"bundles/{candidate.digest}/{name}": file
                for name, file in (loadable | described).items()
            }
            | {f"figures/{name}.png": png for name, png in candidate.figures.items()},
        )
    told = {
        "candidate": candidate.manifest.candidate,
        "recipe": recipe,
        **outcome(verdict),
        **tags,
    }
    version = registry.register(model, run_id=run_id, digest=candidate.digest, tags=told)
    run, trigger = tags["pipeline_run"], tags["trigger"]
    why = f"passed the gate and every stage of the rollout in run {run} ({trigger})"
    served = target(settings, registry)
    starting.start(
        settings, registry, served, version, strategy=strategy, owner=run, why=why, unique=True
    )
    registry.set_alias(version, "challenger")
    return version
