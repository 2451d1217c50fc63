"""From a version to its origin: commit, data, run, metrics, gate, who promoted it and why."""

from __future__ import annotations

from typing import Any

from roadworthy.tracking.registry import Registry, Version


def lineage(registry: Registry, model: str, reference: str) -> dict[str, Any]:
    """Return the origin of a version as plain values, in the order of its way.

    Raises
    ------
    RegistryError
        There is no such version.
    """
    return describe(registry, registry.find(model, reference))


def describe(registry: Registry, version: Version) -> dict[str, Any]:
    """Return what the registry knows of a version as plain values."""
    tags = version.tags
    return {
        "model": version.model,
        "version": version.number,
        "aliases": list(version.aliases),
        "git_tag": version.git_tag,
        "commit": tags.get("commit", ""),
        "data_hash": tags.get("data_hash", ""),
        "candidate": tags.get("candidate", ""),
        "bundle": tags.get("digest", ""),
        "pipeline_run": tags.get("pipeline_run", ""),
        "trigger": tags.get("trigger", ""),
        "mlflow_run": version.run_id,
        "metrics": registry.metrics(version),
        "gate": tags.get("gate", ""),
        "gate_reasons": tags.get("gate_reasons", ""),
        "created": version.created.isoformat(timespec="seconds"),
        "promoted_by": tags.get("promoted_by", ""),
        "promoted_at": tags.get("promoted_at", ""),
        "promoted_why": tags.get("promoted_why", ""),
        "restored": tags.get("restored", ""),
        "rolled_back": tags.get("rolled_back", ""),
    }
