"""The commands for rollouts: ``roadworthy rollout ...``, ``rollback`` and ``status``."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roadworthy.cli.arguments import AsJson, ModelName, named
from roadworthy.core.errors import ExitCode
from roadworthy.core.terminal import DEPLOYMENT, aside, console, print_json
from roadworthy.data.workplace import settings_here
from roadworthy.rollout.engine.state import RolloutError, Strategy, with_former_names

if TYPE_CHECKING:
    from roadworthy.core.settings import Settings
    from roadworthy.rollout.engine.state import Rollout, Verb
    from roadworthy.tracking.registry import Registry

steering_app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")


def _named_or_not(model: str) -> str:
    return named(model) if model else model


Model = Annotated[
    str,
    typer.Argument(
        help="The model; the one that is rolled out when left out.", callback=_named_or_not
    ),
]


def mount(app: typer.Typer) -> None:
    """Add these commands to the ``roadworthy`` command."""
    app.add_typer(
        steering_app,
        name="rollout",
        help="Show, pause, resume, promote, abort and start rollouts.",
        epilog="Examples:  roadworthy rollout status    roadworthy rollout abort fuel",
        rich_help_panel=DEPLOYMENT,
    )
    app.command(
        epilog="Examples:  roadworthy rollback fuel    roadworthy rollback fuel --to 3",
        rich_help_panel=DEPLOYMENT,
    )(rollback)
    app.command(
        "status",
        epilog="Examples:  roadworthy status    roadworthy status fuel --json",
        rich_help_panel=DEPLOYMENT,
    )(model_status)


@steering_app.command(
    epilog="Examples:  roadworthy rollout status    roadworthy rollout status fuel --json"
)
def status(model: Model = "", *, as_json: AsJson = False) -> None:
    """Show rollout status, or how the last rollouts ended."""
    settings, registry = _registry()
    found = _rollouts(settings, registry, [model] if model else registry.models())
    if as_json:
        print_json([_described(settings, rollout) for rollout in found])
    elif not found:
        console.print("There was no rollout yet. `roadworthy run fuel` makes the first.")
    for rollout in () if as_json else found:
        _print(settings, rollout)


@steering_app.command(epilog="Example:  roadworthy rollout pause fuel")
def pause(model: Model = "", *, as_json: AsJson = False) -> None:
    """Keep the traffic weight as it is, until `resume`. A failed analysis still rolls back."""
    _steer(model, "pause", as_json=as_json)


@steering_app.command(epilog="Example:  roadworthy rollout resume fuel")
def resume(model: Model = "", *, as_json: AsJson = False) -> None:
    """Continue a rollout that was paused, or whose run was killed."""
    _steer(model, "resume", as_json=as_json)


@steering_app.command(epilog="Example:  roadworthy rollout promote fuel")
def promote(model: Model = "", *, as_json: AsJson = False) -> None:
    """Make the version the champion now, without the remaining stages."""
    _steer(model, "promote", as_json=as_json)


@steering_app.command(epilog="Example:  roadworthy rollout abort fuel")
def abort(model: Model = "", *, as_json: AsJson = False) -> None:
    """Remove the version from service; the champion gets all traffic."""
    _steer(model, "abort", as_json=as_json)


@steering_app.command(
    epilog="Examples:  roadworthy rollout start fuel:3    "
    "roadworthy rollout start fuel:3 --strategy blue-green"
)
def start(
    version: Annotated[str, typer.Argument(help="MODEL:N.", show_default=False)],
    *,
    strategy: Annotated[Strategy, typer.Option(help="How the traffic is moved.")] = "canary",
    as_json: AsJson = False,
) -> None:
    """Roll out a version of the registry, stage by stage."""
    from roadworthy.rollout.actions import steering
    from roadworthy.rollout.actions.targets import target

    model, mark, number = version.partition(":")
    if not (mark and number.isdecimal()):
        raise typer.BadParameter(f"{version!r} names no version: write MODEL:N, e.g. fuel:3.")
    named(model)
    settings, registry = _registry()
    settings = _with_server(settings)
    served = target(settings, registry)
    ended = steering.start(settings, registry, served, model, int(number), strategy=strategy)
    _conclude(settings, ended, as_json=as_json)


def rollback(
    model: ModelName,
    *,
    to: Annotated[
        int | None,
        typer.Option(help="The version to go back to.", min=1, show_default="the one before"),
    ] = None,
    why: Annotated[str, typer.Option(help="The reason, for the registry.")] = "by hand",
    as_json: AsJson = False,
) -> None:
    """Deploy the previous champion again; during a rollout, abort it."""
    from roadworthy.core import process_id
    from roadworthy.rollout.actions.rollback import roll_back

    settings = settings_here(Path.cwd())
    undone = roll_back(settings, model, to=to or 0, why=why)
    url = undone.wait()
    seconds = process_id.age()
    told = undone.intent
    off = " and ".join(map(str, told.taken_off))
    after = "" if seconds is None else f" after {seconds:.1f} s"
    where = f"at {url}{after}" if url else "from the next start of a server on"
    if not as_json:
        console.print(
            f"Version {told.champion} of {model} answers {where}; version {off} is removed from "
            "service.",
            soft_wrap=True,
        )
    undone.record()
    if as_json:
        told_json = {"model": model, "version": told.champion, "taken_off": told.taken_off}
        print_json(told_json | {"server": url, "seconds": seconds, "why": told.why})


def model_status(
    model: Annotated[
        str, typer.Argument(help="The model; all of them when left out.", callback=_named_or_not)
    ] = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Show where each model is served, by which versions, and its rollout."""
    from roadworthy.core.terminal import facts
    from roadworthy.rollout.actions.status import statuses

    found = statuses(settings_here(Path.cwd()), model)
    if as_json:
        print_json([one.to_dict() for one in found])
    elif not found:
        console.print("There is no model yet. `roadworthy run fuel` makes the first version.")
    else:
        for number, one in enumerate(found):
            if number:
                console.print()
            console.print(facts((name, value) for name, value in one.told.items() if value))
    if any(one.problem for one in found):
        raise typer.Exit(ExitCode.FAILED)


def _steer(model: str, verb: Verb, *, as_json: bool) -> None:
    from roadworthy.rollout.actions import steering
    from roadworthy.rollout.actions.targets import target

    settings, registry = _registry()
    name = model or _only(settings, registry)
    settings = _with_server(settings) if verb in ("resume", "promote") else settings
    found = steering.steer(
        settings,
        registry,
        target(settings, registry),
        name,
        verb,
        tell=lambda told: aside.print(told, soft_wrap=True, markup=False),
    )
    wanted = {"abort": "rolled back"}.get(verb)
    _conclude(settings, found, as_json=as_json, wanted=wanted)


def _conclude(
    settings: Settings, found: Rollout, *, as_json: bool, wanted: str | None = None
) -> None:
    if as_json:
        print_json(_described(settings, found))
    else:
        _print(settings, found)
    if found.ended and found.state != (wanted or "promoted"):
        raise typer.Exit(ExitCode.FAILED if wanted else ExitCode.ROLLED_BACK)


def _rollouts(settings: Settings, registry: Registry, models: list[str]) -> list[Rollout]:
    """Return the rollout of each model that had one, the last one if none is under way."""
    from roadworthy.rollout.actions.targets import target
    from roadworthy.rollout.engine import finalising

    records = target(settings, registry).records
    for model in models:
        finalising.carry_over(settings, registry, records, model)
    found = [records.read(model).rollout for model in models]
    return [rollout for rollout in found if rollout is not None]


def _only(settings: Settings, registry: Registry) -> str:
    """Return the model that is rolled out, when only one is."""
    found = _rollouts(settings, registry, registry.models())
    active = [rollout.model for rollout in found if not rollout.ended]
    if len(active) == 1:
        return active[0]
    known = ", ".join(active) or "none"
    raise RolloutError(f"Name the model; rollouts under way: {known}.")


def _print(settings: Settings, rollout: Rollout) -> None:
    from roadworthy.core.terminal import facts, table

    told = str(rollout)
    console.print(f"{told[:1].upper()}{told[1:]}.", soft_wrap=True, markup=False)
    described = _described(settings, rollout)
    described["champion"] = described["champion"] or "none before this one"
    described["started"] = f"{datetime.fromisoformat(rollout.started):%Y-%m-%d %H:%M:%S %Z}"
    # After its end it does not matter whether the owner is alive.
    shown = ("strategy", "champion", "owner", *(() if rollout.ended else ("alive",)), "started")
    console.print(facts((name, described[name]) for name in shown))
    stages = (*rollout.stages, *([rollout.live] if rollout.live else []))
    if stages:
        columns = (">weight", ">seconds", ">requests", ">rows", "metrics", "problem")
        console.print(
            table(
                columns,
                (
                    (
                        f"{stage.weight} %",
                        f"{stage.seconds:.1f}",
                        stage.requests,
                        stage.rows,
                        ", ".join(
                            f"{metric.name} {metric.value:.3g}/{metric.limit:.3g}"
                            for metric in stage.metrics
                            if metric.value is not None
                        )
                        or stage.traffic,
                        stage.problem or ("running" if stage is rollout.live else ""),
                    )
                    for stage in stages
                ),
            )
        )


def _described(settings: Settings, rollout: Rollout) -> dict[str, Any]:
    from roadworthy.rollout.engine import lease

    alive = not rollout.ended and lease.is_alive(settings, rollout)
    told = rollout.verdict() | {"paused": rollout.paused, "alive": alive, "left": rollout.left}
    told["live"] = None if rollout.live is None else asdict(rollout.live)
    found: dict[str, Any] = with_former_names(told)
    return found


def _registry() -> tuple[Settings, Registry]:
    from roadworthy.tracking.registry import Registry

    settings = settings_here(Path.cwd())
    return settings, Registry.of(settings)


def _with_server(settings: Settings) -> Settings:
    """Return the settings with the server of this machine, where that is what is rolled out to."""
    if settings.target != "local":
        return settings
    from roadworthy.rollout.local import server

    url = server.address(settings)
    if not url:
        raise RolloutError(
            f"No server serves {settings.home}: start one with `roadworthy serve`, and run this "
            f"command again."
        )
    return settings.model_copy(update={"serving_url": url})
