"""Commands of a model whose data grows: ingest what is new, and simulate its days."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from roadworthy.cli.arguments import AsJson, ModelName
from roadworthy.core.errors import ExitCode
from roadworthy.core.terminal import HERE, MODELS, aside, console, print_json
from roadworthy.data.workplace import settings_here


def mount(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command(epilog="Example:  roadworthy ingest MODEL", rich_help_panel=HERE)(ingest)
    app.command(
        epilog="Examples:  roadworthy simulate MODEL --days 60    "
        "roadworthy simulate MODEL --training-window 30 --training-window 1000",
        rich_help_panel=MODELS,
    )(simulate)


def ingest(
    model: ModelName,
    *,
    now: Annotated[
        datetime | None,
        typer.Option(
            help="The time of the clock, UTC.",
            show_default="the system's",
            formats=["%Y-%m-%dT%H:%M"],
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add what is new outside to a model's raw data, and publish its newest request.

    If the source fails or its answer cannot be trusted, the data stays as it is and the command
    fails.
    """
    from roadworthy.data.git import inspect
    from roadworthy.models import contract
    from roadworthy.steps.ingest import ingest as add

    if not hasattr(contract.load(model), "ingest"):
        raise typer.BadParameter(f"{model} gets no data from outside: it has no `ingest`.")
    root = inspect(Path.cwd()).root
    clock = now.replace(tzinfo=UTC) if now else datetime.now(UTC)
    done = add(settings_here(Path.cwd()), model, root, clock)
    if as_json:
        print_json(asdict(done))
    else:
        console.print(str(done), markup=False)
        if done.added:
            pointer = contract.load(model).data
            console.print(f"Commit {pointer}, then: roadworthy run {model} --trigger data")
    if done.warning:
        aside.print(f"[yellow]Warning:[/yellow] {escape(done.warning)}", soft_wrap=True)
        raise typer.Exit(ExitCode.FAILED)


def simulate(
    model: ModelName,
    *,
    days: Annotated[int, typer.Option(help="How many dates to go through.", min=1)] = 60,
    anchor_offset: Annotated[
        int | None,
        typer.Option(
            help="Days before the end of the data to begin.", min=1, show_default="the model's"
        ),
    ] = None,
    training_window: Annotated[
        list[int],
        typer.Option(
            help="Days to train on; repeatable, each is tried.",
            show_default="the model's",
            default_factory=list,
        ),
    ],
    evaluation_window: Annotated[
        int | None, typer.Option(help="Days to evaluate on.", min=1, show_default="the model's")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Live through known data day by day: train, evaluate forward, promote by the gate.

    Each day's candidates are MLflow runs of the experiment MODEL-simulation. The ledger of
    promotions and a figure are written to .roadworthy/simulations/. Nothing is deployed.
    """
    from roadworthy.data.git import inspect
    from roadworthy.review import simulation
    from roadworthy.steps.ingest import known_rows
    from roadworthy.tracking.registry import Registry

    settings = settings_here(Path.cwd())
    chosen = simulation.load(model)
    windows = chosen.windows  # type: ignore[attr-defined]
    windows = replace(
        windows,
        anchor_offset=anchor_offset or windows.anchor_offset,
        training=tuple(training_window) or windows.training,
        evaluation=evaluation_window or windows.evaluation,
    )
    raw = known_rows(chosen, inspect(Path.cwd()).root)
    registry = Registry.of(settings)
    name = f"{model}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    place = settings.home / "simulations" / name
    place.mkdir(parents=True)
    metric = chosen.criteria.metric
    seen, promotions = [], 0
    with (place / "ledger.jsonl").open("w", encoding="utf-8") as ledger:
        for day in simulation.simulate(chosen, raw, windows, days):
            run = simulation.record(registry, model, name, day, windows)
            seen.append(day)
            if day.promotion:
                promotions += 1
                ledger.write(simulation.entry(model, day, windows, run) + "\n")
                ledger.flush()
            if not as_json:
                console.print(simulation.line(day, metric), markup=False, soft_wrap=True)
    figure = place / "figure.png"
    figure.write_bytes(simulation.figure(chosen, seen))
    chance = sum(bool(day.promotion and day.promotion.holds_zero) for day in seen)
    if as_json:
        print_json(
            {"name": name, "days": len(seen), "promotions": promotions, "may_be_chance": chance}
            | {"ledger": str(place / "ledger.jsonl"), "figure": str(figure)}
        )
        return
    console.print(
        f"{len(seen)} days, {promotions} promotions; the paired interval of {chance} holds zero.\n"
        f"Ledger: {place / 'ledger.jsonl'}\nFigure: {figure}",
        markup=False,
        soft_wrap=True,
    )
