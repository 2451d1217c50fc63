"""The target of the settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from roadworthy.core.settings import Settings
from roadworthy.rollout.engine.state import RolloutError
from roadworthy.rollout.engine.target import Target
from roadworthy.rollout.local.local_target import LocalTarget

if TYPE_CHECKING:
    from roadworthy.tracking.registry import Registry, Version


def target(settings: Settings, registry: Registry | None = None) -> Target:
    """Return the target of the settings.

    Parameters
    ----------
    registry
        The registry with the digests of versions, if it is open already; else it is opened when a
        digest is needed, as that takes seconds.

    Raises
    ------
    RolloutError
        It cannot be used from here.
    """
    if settings.target == "local":
        return LocalTarget(settings)
    # here: only this target needs the client of Kubernetes
    from roadworthy.rollout.kserve.kserve_target import KServeTarget

    return KServeTarget.of(settings, digests(settings, registry))


def digests(settings: Settings, registry: Registry | None = None) -> Callable[[str, int], str]:
    """Return a function that returns the digest of the bundle of a model's version."""

    def digest(model: str, number: int) -> str:
        nonlocal registry
        if registry is None:
            from roadworthy.tracking.registry import Registry

            registry = Registry.of(settings)
        return digest_of(registry.version(model, number))

    return digest


def digest_of(version: Version) -> str:
    """Return the digest of the bundle of a version.

    Raises
    ------
    RolloutError
        The registry does not have it.
    """
    found = version.tags.get("digest", "")
    if not found:
        raise RolloutError(
            f"Version {version.number} of {version.model} has no tag `digest` in the registry, so "
            f"its bundle is unknown. Release another version."
        )
    return found
