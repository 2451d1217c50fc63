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
from roadworthy.road import Release, Road, RoadError
from roadworthy.rollout import local, note
from roadworthy.settings import Settings

if TYPE_CHECKING:
    from roadworthy.registry import Registry, Version


def restore(settings: Settings) -> Iterator[str]:
    """Put each model on the road again whose road is empty or damaged; yield what was done.

    During a rollout that is the champion and the challenger with its share. A road whose bundles
    are there is left alone, but what a kill left half done is finished; when every model has one
    and nothing was left, or no run ever made a registry, nothing is asked of it.

    Raises
    ------
    RoadworthyError
        No road is whole, and none could be written. As long as one is, the others' failures are
        only told: what can be served is served.
    """
    known = {*contract.available(), *road.models(settings.road)}
    whole = {model for model in known if _is_whole(settings, model)}
    open_ = {model for model in whole if _is_open(settings, model)}
    if (known == whole and not open_) or not settings.has_registry:
        return
    from roadworthy.registry import Registry
    from roadworthy.rollout import closing

    problems: list[RoadworthyError] = []
    try:
        registry = Registry.of(settings)
        for model in sorted({*registry.models()} - whole | open_):
            try:
                if model not in whole:
                    yield from _put_back(settings, registry, model)
                    whole.add(model)
                if settings.target == "local":  # else a cluster's rollouts are not of here
                    closing.catch_up(settings, registry, local.LocalTarget(settings), model)
            except RoadworthyError as error:
                problems.append(error)
    except RoadworthyError as error:
        problems.append(error)
    if problems and not whole:
        raise problems[0]
    yield from map(str, problems)


def placed(settings: Settings, version: Version) -> Release:
    """Return the release of a version, its bundle fetched and in its place.

    Raises
    ------
    RoadworthyError
        It was not released, or cannot be fetched.
    """
    with releases.fetch(settings, version.model, version.git_tag) as released:
        return local.place(settings, released, version.number)


def _put_back(settings: Settings, registry: Registry, model: str) -> Iterator[str]:
    """Write the road of a model: its champion and, during a rollout, its challenger."""
    from roadworthy.rollout import lease

    champion = registry.aliased(model, "champion")
    if champion is None:
        return
    since = champion.tags.get("promoted_at", "")
    release = placed(settings, champion)
    release = replace(release, since=since or release.since)
    with note.changing(settings, model):
        road.write(settings.road, Road(model, champion=release))
    yield f"Put {model} version {champion.number} on the road again, from the registry."
    rollout = lease.read(registry, model) if settings.target == "local" else None
    if rollout is None or rollout.ended or rollout.champion != champion.number:
        return
    try:
        challenger = placed(settings, registry.version(model, rollout.version))
    except RoadworthyError as error:  # not pushed yet, perhaps: the champion answers alone
        yield f"Version {rollout.version} of {model}, which is rolled out, stays off: {error}"
        return
    with note.changing(settings, model):
        now = road.read(settings.road, model)
        road.write(settings.road, local.projected(now, rollout, challenger))
    yield f"Put {rollout} beside it, as its rollout left it."


def _is_open(settings: Settings, model: str) -> bool:
    """Return whether a rollout is on, or was left half done: the registry knows more of it."""
    try:
        left = note.read(settings, model) is not None
        return left or road.read(settings.road, model).challenger is not None
    except RoadworthyError:
        return False


def _is_whole(settings: Settings, model: str) -> bool:
    try:
        now = road.read(settings.road, model)
        for one in (now.champion, now.challenger):
            if one is not None:
                bundle.read(Path(one.bundle), one.digest)
    except (RoadError, BundleError):
        return False
    return now.champion is not None
