"""Make a version of a bundle that passed the gate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from roadworthy import bundle
from roadworthy.registry import Registry, Version
from roadworthy.settings import Settings


def register(
    settings: Settings,
    model: str,
    *,
    packed: Path,
    run_id: str,
    recipe: str,
    verdict: dict[str, Any],
    tags: dict[str, str],
) -> Version:
    """Return the version of the bundle, which is now the challenger.

    The verdict, the manifest, the card and the figures are put beside its MLflow run.
    """
    registry = Registry(settings.mlflow_tracking_uri, settings.mlflow_artifacts)
    candidate = bundle.read(packed)
    names = [bundle.MANIFEST, bundle.CARD, bundle.MODEL]
    registry.log_files(
        run_id,
        {f"bundle/{name}": (packed / name).read_bytes() for name in names}
        | {f"figures/{name}.png": png for name, png in candidate.figures.items()}
        | {"gate/verdict.json": json.dumps(verdict, indent=2).encode()},
    )
    told = {
        "commit": candidate.manifest.commit,
        "data_hash": candidate.manifest.data_hash,
        "candidate": candidate.manifest.candidate,
        "recipe": recipe,
        "gate": "passed",
        "gate_reasons": f"all {len(verdict['checks'])} checks passed",
        **tags,
    }
    version = registry.register(model, run_id=run_id, digest=candidate.digest, tags=told)
    registry.set_alias(version, "challenger")
    return version
