"""Restore lost routing files from the registry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from roadworthy.core.errors import RoadworthyError
from roadworthy.core.settings import Settings
from roadworthy.models import contract
from roadworthy.rollout.local import local_target
from roadworthy.rollout.local.local_records import LocalRecords, changing
from roadworthy.rollout.local.placement import is_whole, placed
from roadworthy.routing import routes
from roadworthy.routing.routes import Routing, RoutingError

if TYPE_CHECKING:
    from roadworthy.tracking.registry import Registry


def restore(settings: Settings) -> Iterator[str]:
    """Restore each routing file that is missing or damaged; yield what was done.

    During a rollout that is the champion and the challenger with its weight. An interrupted rollout
    or rollback of a model is finished. Without anything to do the registry is not opened.

    Raises
    ------
    RoadworthyError
        No file is whole, and none could be written. As long as one is, other failures are only
        yielded, so that the rest is served.
    """
    known = {*contract.available(), *routes.models(settings.routing)}
    whole = {model for model in known if _is_whole(settings, model)}
    open_ = {model for model in whole if _is_open(settings, model)}
    if (known == whole and not open_) or not settings.has_registry:
        return
    from roadworthy.rollout.engine import finalising
    from roadworthy.tracking.registry import Registry

    problems: list[RoadworthyError] = []
    try:
        registry = Registry.of(settings)
        for model in sorted({*registry.models()} - whole | open_):
            try:
                if model not in whole:
                    yield from _put_back(settings, registry, model)
                    whole.add(model)
                if settings.target == "local":  # a cluster has its own records
                    target = local_target.LocalTarget(settings)
                    finalising.catch_up(settings, registry, target, model)
            except RoadworthyError as error:
                problems.append(error)
    except RoadworthyError as error:
        problems.append(error)
    if problems and not whole:
        raise problems[0]
    yield from map(str, problems)


def _put_back(settings: Settings, registry: Registry, model: str) -> Iterator[str]:
    """Write the routing file of a model: its champion and, during a rollout, its challenger.

    What is fetched is written only if the file is as it was before: a run may write it meanwhile.
    """
    records = LocalRecords(settings)
    record, before = records.read(model), _content(settings, model)
    number = record.champion
    champion = registry.version(model, number) if number else registry.aliased(model, "champion")
    if champion is None:
        return
    since = champion.tags.get("promoted_at", "")
    release = placed(settings, champion)
    release = replace(release, since=since or release.since)
    with changing(settings, model):
        if _content(settings, model) != before:
            return
        routes.write(settings.routing, Routing(model, champion=release))
        before = _content(settings, model)
    yield f"Put {model} version {champion.number} in service again, from the registry."
    rollout = record.rollout if settings.target == "local" else None
    if rollout is None or rollout.ended or rollout.champion != champion.number:
        return
    try:
        challenger = placed(settings, registry.version(model, rollout.version))
    except RoadworthyError as error:  # perhaps not pushed yet: the champion answers alone
        yield f"Version {rollout.version} of {model}, which is rolled out, is not deployed: {error}"
        return
    with changing(settings, model):
        if _content(settings, model) != before or records.read(model).rollout != rollout:
            return
        now = routes.read(settings.routing, model)
        routes.write(settings.routing, local_target.projected(now, rollout, challenger))
    yield f"Put {rollout} beside it."


def _content(settings: Settings, model: str) -> Routing | str:
    """Return what a routing file holds, or why it cannot be read."""
    try:
        return routes.read(settings.routing, model)
    except RoutingError as error:
        return str(error)


def _is_open(settings: Settings, model: str) -> bool:
    """Return whether a rollout is under way or not finalised."""
    try:
        record = LocalRecords(settings).read(model)
        if record.intent is not None or routes.read(settings.routing, model).challenger is not None:
            return True
    except RoadworthyError:
        return False
    return record.rollout is not None and record.rollout.ended and not record.rollout.settled


def _is_whole(settings: Settings, model: str) -> bool:
    try:
        now = routes.read(settings.routing, model)
    except RoutingError:
        return False
    deployed = [one for one in (now.champion, now.challenger) if one is not None]
    whole = all(is_whole(one.bundle, one.digest) for one in deployed)
    return whole and now.champion is not None
