"""The roads, written anew from the registry where they are lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from roadworthy import bundle, road
from roadworthy.bundle import BundleError
from roadworthy.data import releases
from roadworthy.errors import RoadworthyError
from roadworthy.models import contract
from roadworthy.road import Road, RoadError
from roadworthy.rollout import local
from roadworthy.settings import Settings

if TYPE_CHECKING:
    from roadworthy.registry import Version


def restore(settings: Settings) -> Iterator[str]:
    """Put each model's champion on the road whose road is empty or damaged; yield what was done.

    A road whose bundle is there is left alone; when every model has one, or no run ever made a
    registry, nothing is asked of it.

    Raises
    ------
    RoadworthyError
        No road is whole, and none could be written. As long as one is, the others' failures are
        only told: what can be served is served.
    """
    known = {*contract.available(), *road.models(settings.road)}
    whole = {model for model in known if _is_whole(settings, model)}
    if known == whole or not _has_registry(settings):
        return
    from roadworthy.registry import Registry

    problems: list[RoadworthyError] = []
    try:
        registry = Registry.of(settings)
        for model in sorted({*registry.models()} - whole):
            champion = registry.aliased(model, "champion")
            if champion is None:
                continue
            try:
                _restore(settings, champion)
            except RoadworthyError as error:
                problems.append(error)
                continue
            whole.add(model)
            yield f"Put {model} version {champion.number} on the road again, from the registry."
    except RoadworthyError as error:
        problems.append(error)
    if problems and not whole:
        raise problems[0]
    yield from map(str, problems)


def _restore(settings: Settings, champion: Version) -> None:
    with releases.fetch(settings, champion.model, champion.git_tag) as released:
        release = local.place(settings, released, champion.number)
    since = champion.tags.get("promoted_at", release.since)
    road.write(settings.road, Road(champion.model, champion=replace(release, since=since)))


def _is_whole(settings: Settings, model: str) -> bool:
    try:
        champion = road.read(settings.road, model).champion
        return champion is not None and bool(bundle.read(Path(champion.bundle), champion.digest))
    except (RoadError, BundleError):
        return False


def _has_registry(settings: Settings) -> bool:
    """Return whether there may be one: opening SQLite would make a new one, in seconds."""
    kind, _, path = settings.mlflow_tracking_uri.partition(":///")
    return kind != "sqlite" or Path(path).exists()
