"""The commands of Kubeflow: ``roadworthy submit``, ``schedule`` and ``runs``.

What asks Kubeflow is imported within the commands: kfp takes a second or two.
"""

from __future__ import annotations

from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from roadworthy.cli.arguments import AsJson, CandidateName, ModelName, Trigger, known
from roadworthy.core.errors import ExitCode
from roadworthy.core.terminal import KUBEFLOW, aside, console, harmless, print_json
from roadworthy.data.workplace import settings_here
from roadworthy.rollout.engine.state import Strategy

if TYPE_CHECKING:
    from roadworthy.engines.kubeflow.client import Client
    from roadworthy.engines.kubeflow.following import State
    from roadworthy.engines.kubeflow.scheduling import Schedule
    from roadworthy.engines.local.runs import Listed


def mount(app: typer.Typer) -> None:
    """Add these commands to the ``roadworthy`` command."""
    app.command(
        epilog="Examples:  roadworthy submit fuel    "
        "roadworthy submit fuel --trigger data --timestamp 2026-11-21T10:00:00Z",
        rich_help_panel=KUBEFLOW,
    )(submit)
    app.command(
        epilog='Examples:  roadworthy schedule fuel --cron "0 3 * * 1"    '
        "roadworthy schedule fuel --remove",
        rich_help_panel=KUBEFLOW,
    )(schedule)
    app.command(
        epilog="Examples:  roadworthy runs    roadworthy runs --model fuel --json",
        rich_help_panel=KUBEFLOW,
    )(runs)


def submit(
    model: ModelName,
    *,
    trigger: Annotated[Trigger, typer.Option(help="What triggered the run.")] = "manual",
    timestamp: Annotated[
        datetime | None,
        typer.Option(
            help="When it was triggered, with its offset; part of its name.",
            formats=[f"%Y-%m-%dT%H:%M:%S{fraction}%z" for fraction in ("", ".%f")],
            metavar="YYYY-MM-DDTHH:MM:SSZ",
            show_default="now",
        ),
    ] = None,
    commit: Annotated[str, typer.Option(help="The commit to run. [the one checked out]")] = "",
    image: Annotated[
        str, typer.Option(help="The image of that commit. [ROADWORTHY_IMAGE]", show_default=False)
    ] = "",
    strategy: Annotated[Strategy, typer.Option(help="How traffic moves to it.")] = "canary",
    candidate: CandidateName = "",
    force: Annotated[bool, typer.Option(help="Train although nothing is new.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait for its end, and exit as it ended.")] = True,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds to wait at most.", min=0, show_default="none")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run the production pipeline of a commit on Kubeflow.

    Repeated with the same timestamp, it follows the run of before, unless that failed: a job can be
    retried. Ctrl-C stops the waiting, not the run.
    """
    from roadworthy.engines.kubeflow import submission
    from roadworthy.engines.kubeflow.client import Client
    from roadworthy.engines.kubeflow.following import conclude
    from roadworthy.engines.kubeflow.packaging import package
    from roadworthy.engines.kubeflow.settings import required

    if candidate:
        known(model, candidate)
    moment = (timestamp or datetime.now(UTC)).astimezone(UTC)
    kubeflow, settings = required(), settings_here(Path.cwd())
    made = package(settings, Path.cwd(), model, commit=commit, image=image)
    arguments: dict[str, Any] = {"commit": made.commit, "trigger": trigger}
    arguments |= {"force": True} if force else {}
    arguments |= {"strategy": strategy} if strategy != "canary" else {}
    arguments |= {"candidate": candidate} if candidate else {}
    name = submission.run_name(trigger, moment)
    client = Client(kubeflow)
    with redirect_stdout(StringIO()):  # kfp prints the address of each object that it makes
        submitted = submission.submit(client, made, name, arguments)
    shown = Console(quiet=True) if as_json else console

    def say(sentence: str) -> None:
        shown.print(harmless(sentence), soft_wrap=True, markup=False)

    verb = "Found" if submitted.found else "Started"
    say(f"{verb} the run {name} of {model} at commit {made.commit[:12]}.")
    say(f"See {submitted.address}")
    told = {
        "run": submitted.run,
        "name": name,
        "model": model,
        "commit": made.commit,
        "image": made.image,
        "version": made.version,
        "address": submitted.address,
        "found": submitted.found,
    }
    if not wait:
        _finish(told, as_json=as_json, code=ExitCode.DONE)
    try:
        state = _follow(shown, client, submitted.run, timeout)
        verdict = conclude(settings, submitted.run, state)
    except KeyboardInterrupt:
        aside.print(
            f"The run continues. See {submitted.address}, or run the same command with "
            f"--timestamp {submission.timestamp(moment)} to wait for its end.",
            soft_wrap=True,
            markup=False,
        )
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    style = "green" if verdict.exit_code == ExitCode.DONE else "red"
    shown.print((verdict.outcome or "done").capitalize(), style=style, end="")
    say(f": {verdict.why}")
    say(f"See {submitted.address}")
    told |= {"state": state.state, "outcome": verdict.outcome, "why": verdict.why}
    _finish(told, as_json=as_json, code=verdict.exit_code)


def schedule(
    model: ModelName,
    *,
    cron: Annotated[
        str, typer.Option(help="When: the five fields of crontab, or six with the second first.")
    ] = "",
    trigger: Annotated[Trigger, typer.Option(help="The trigger of its runs.")] = "data",
    remove: Annotated[bool, typer.Option("--remove", help="Delete the schedule.")] = False,
    as_json: AsJson = False,
) -> None:
    """Schedule the pipeline of a model on Kubeflow, or show its schedule.

    --cron makes or changes the schedule, --remove deletes it. Each run takes the latest submitted
    version of the pipeline, and the tip of the branch. The clock is that of Kubeflow's controller:
    UTC unless its CRON_SCHEDULE_TIMEZONE is set.
    """
    from roadworthy.engines.kubeflow import scheduling
    from roadworthy.engines.kubeflow.client import Client
    from roadworthy.engines.kubeflow.settings import required

    if cron and remove:
        raise typer.BadParameter(
            "--cron makes a schedule and --remove deletes it: give one of them."
        )
    client = Client(required())
    found: Schedule | None
    with redirect_stdout(StringIO()):  # kfp prints the address of each object that it makes
        if cron:
            found = scheduling.put(client, model, cron=cron, trigger=trigger)
        elif remove:
            found = scheduling.remove(client, model)
        else:
            found = scheduling.current(client, model)
    if as_json:
        print_json({"model": model, "schedule": found and found.to_dict(), "removed": remove})
    else:
        told = _scheduled(model, found, removed=remove)
        console.print(harmless(told), soft_wrap=True, markup=False)


def runs(
    *,
    model: Annotated[str, typer.Option(help="List its runs only.", show_default=False)] = "",
    limit: Annotated[int, typer.Option(help="List at most so many.", min=1)] = 20,
    as_json: AsJson = False,
) -> None:
    """List the latest runs on Kubeflow; without ROADWORTHY_KFP_URL, those of this machine."""
    from roadworthy.engines.kubeflow.settings import from_environment

    kubeflow, now = from_environment(), datetime.now(UTC)
    if kubeflow.url:
        from roadworthy.engines.kubeflow.client import Client
        from roadworthy.engines.kubeflow.listing import on_kubeflow

        found = on_kubeflow(Client(kubeflow), model, limit, now)
    else:
        from roadworthy.engines.local.runs import on_this_machine

        found = on_this_machine(settings_here(Path.cwd()), model, limit, now)
    if as_json:
        print_json([run.to_dict() for run in found])
    elif not found:
        console.print("There are no runs yet. `roadworthy run fuel` starts one here.")
    else:
        _print_runs(found)


def _follow(shown: Console, client: Client, run: str, timeout: float | None) -> State:
    """Print what a run's steps do until it has ended."""
    from roadworthy.engines.kubeflow.following import State, watch

    def tell(sentence: str) -> None:
        aside.print(harmless(sentence), soft_wrap=True, markup=False)

    last = State("PENDING")
    with shown.status("The run is pending.") as status:
        for state in watch(client, run, timeout=timeout, tell=tell):
            for step, task in state.tasks.items():
                if str(last.tasks.get(step, "")) == str(task):
                    continue
                told = harmless(task)
                status.update(escape(told))
                # A terminal shows what is running in the line that changes.
                if not (shown.is_terminal and task.state in ("PENDING", "RUNNING")):
                    shown.print(told, soft_wrap=True, markup=False)
            last = state
    return last


def _finish(told: dict[str, Any], *, as_json: bool, code: ExitCode) -> None:
    if as_json:
        print_json(told | {"exit_code": int(code)})
    raise typer.Exit(code)


def _scheduled(model: str, found: Schedule | None, *, removed: bool) -> str:
    if found is None:
        return (
            f"{model} has no schedule. Make one with `roadworthy schedule {model} --cron "
            f'"0 3 * * 1"`.'
        )
    what = f"{found.cron} (trigger {found.trigger})"
    if removed:
        return f"Deleted the schedule of {model}: {what}."
    return f"{model} runs at {what}{'' if found.active else ', but is disabled in Kubeflow'}."


def _print_runs(found: list[Listed]) -> None:
    """Print a line for each: on a terminal its name is a link, elsewhere it ends in its address."""
    from rich.text import Text

    from roadworthy.core.terminal import table

    on_terminal = console.is_terminal
    columns = ("name", "model", "trigger", "state", "started", ">duration")
    console.print(
        table(
            columns if on_terminal else (*columns, "address"),
            (
                (
                    Text(harmless(run.name), style=f"link {run.address}" if on_terminal else ""),
                    run.model,
                    run.trigger,
                    run.state,
                    run.started.strftime("%Y-%m-%d %H:%M:%S") if run.started else "",
                    "" if run.seconds is None else str(timedelta(seconds=round(run.seconds))),
                    *(() if on_terminal else (run.address,)),
                )
                for run in found
            ),
        )
    )
