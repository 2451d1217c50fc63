"""The roads, written anew from the registry where they are lost."""

from __future__ import annotations

from collections.abc import Iterator

from roadworthy import bundle, road
from roadworthy.bundle import BundleError
from roadworthy.data import releases
from roadworthy.road import Road, RoadError
from roadworthy.rollout import local
from roadworthy.settings import Settings


def restore(settings: Settings) -> Iterator[str]:
    """Put each model's champion on the road whose road is empty or damaged; yield what was done.

    A road whose bundles are there is left alone, and then the registry is not asked.
    """
    database = settings.mlflow_tracking_uri.removeprefix("sqlite:///")
    known = road.models(settings.road)
    whole = [model for model in known if _is_whole(settings, model)]
    if known == whole and (known or not (settings.home / "mlflow").exists()):
        return
    if database.startswith("/") and not (settings.home / "mlflow").exists():
        return
    from roadworthy.registry import Registry

    registry = Registry(settings.mlflow_tracking_uri, settings.mlflow_artifacts)
    for model in registry.models():
        champion = registry.aliased(model, "champion")
        if model in whole or champion is None:
            continue
        with releases.fetch(settings, model, champion.git_tag) as released:
            release = local.place(settings, released, champion.number)
        road.write(settings.road, Road(model, champion=release))
        yield f"Put {model} version {champion.number} on the road again, from the registry."


def _is_whole(settings: Settings, model: str) -> bool:
    from pathlib import Path

    try:
        champion = road.read(settings.road, model).champion
        return champion is not None and bool(bundle.read(Path(champion.bundle)))
    except (RoadError, BundleError):
        return False
